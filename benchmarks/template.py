"""A brain brought to the MNI template: seconds, overlap of brains, and known affine maps found again.

The template is SPM12's mean of 152 subjects (T1) and its T2, with the intracranial mask of SPM12's tissue maps; the
patient is TCGA-FG-6692 (TCIA), four oblique sequences with 5.5 mm slices and a brain mask drawn on T1c by a tool that
knows no template. Run as ``python benchmarks/template.py DATA``.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from registration_trials import BRAIN, motion

from radfuse.align.grid import resample
from radfuse.align.registration.rigid import Rigid
from radfuse.align.template import Template
from radfuse.data.digest import sha256_of
from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_mask, read_volume
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Volume

IMAGES = {"T1": "canonical_avg152T1.nii.gz", "T2": "toolbox_OldNorm_T2.nii.gz"}
MASK = "tpm_mask_ICV.nii.gz"
LIKE = {"T1c": "T1", "T1": "T1", "T2": "T2", "FLAIR": "T2"}
METHODS = ("rigid", "affine", "bspline", "demons")
TRIALS, NOISE = 10, 0.03


def template(folder: Path, contrast: str, **settings: Any) -> Template:
    """Give a template with its files' hashes."""
    files = {"image": folder / IMAGES[contrast], "mask": folder / MASK}
    known = {"image": "sha256", "mask": "mask_sha256"}
    hashes = {known[what]: sha256_of(path.read_bytes()) for what, path in files.items()}
    return Template.model_validate({**{what: str(path) for what, path in files.items()}, **hashes, **settings})


def patient(data: Path) -> None:
    """Bring each sequence, or T1c by each method, and overlap the template's brain with the patient's on T1c."""
    stem = data / "brain_tumour_native"
    scans = {m: read_volume(stem / f"TCGA-FG-6692_{m}.nii.gz", m, "a.u.") for m in BRAIN}
    brain = read_mask(stem / "TCGA-FG-6692_T1c_brainmask.nii.gz", 1)
    subject = Subject("TCGA-FG-6692", scans)
    register = Rigid().build()
    within = {m: Transform.identity() if m == "T1c" else register(scans["T1c"], v).transform for m, v in scans.items()}
    print(f"{'sequence':9} {'template':9} {'method':8} {'s':>6} {'taken':6} {'back mm':>8} {'x volume':>9} {'Dice':>7}")
    for name, method in [*((m, "affine") for m in BRAIN), *(("T1c", each) for each in METHODS if each != "affine")]:
        chosen = template(data / "brain_mni", LIKE[name], modality=name, registration=method, refused="headers")
        began = time.process_time()
        placed = chosen.place(subject, "T1c", within)
        seconds, found = time.process_time() - began, placed.findings
        drawn = placed.atlas.drawn_on(brain.geometry, placed.motions["T1c"]).inside
        dice = 2.0 * (drawn & brain.inside).sum() / (drawn.sum() + brain.inside.sum())
        taken = found.get("bend", found)["accepted"]
        back = found["inverse_consistency_mm"]
        print(
            f"{name:9} {LIKE[name]:9} {method:8} {seconds:6.1f} {'yes' if taken else 'no':6} "
            f"{back if back is not None else float('nan'):8.1f} {found['volume_factor']:9.2f} {dice:7.3f}"
        )


def planted_map(centre: np.ndarray, rng: np.random.Generator) -> Transform:
    """Turn up to 15 degrees, shift up to 60 mm, stretch each axis by 0.8 to 1.1 and shear by up to 0.05."""
    turn = motion(centre, rng.uniform(0, 60), rng.uniform(0, 15), rng)
    stretch = np.diag(rng.uniform(0.8, 1.1, 3)) + np.triu(rng.uniform(-0.05, 0.05, (3, 3)), 1)
    return Transform.from_array(turn.array @ Transform.about(centre, stretch, (0, 0, 0)).array)


def planted(data: Path) -> None:
    """Stretch a template by a known map, add noise, and find the map again: error over the brain."""
    folder = data / "brain_mni"
    images = {name: read_volume(folder / path, name, "a.u.") for name, path in IMAGES.items()}
    brain = read_mask(folder / MASK, 1)
    points = brain.geometry.centres_mm[brain.inside.ravel()][::97]
    print(f"\n{'fixed':6} {'moving':7} {'taken':>6} {'median mm':>10} {'95 % mm':>8} {'worst mm':>9} {'s':>6}")
    for fixed, moving in (("T1", "T1"), ("T1", "T2")):
        chosen, errors, taken = template(folder, fixed, refused="headers"), [], 0
        began = time.process_time()
        for number in range(TRIALS):
            rng = np.random.default_rng([number, *moving.encode()])
            truth = planted_map(points.mean(axis=0), rng)
            placed = chosen.place(Subject("planted", {moving: _moved(images[moving], truth, rng)}), moving,
                                  {moving: Transform.identity()})  # fmt: skip
            taken += placed.findings["accepted"]
            errors.append(np.linalg.norm(placed.motions[moving].apply(points) - truth.apply(points), axis=1).mean())
        seconds = (time.process_time() - began) / TRIALS
        middle, most, worst = np.percentile(errors, (50, 95, 100))
        told = f"{taken}/{TRIALS}"
        print(f"{fixed:6} {moving:7} {told:>6} {middle:10.2f} {most:8.2f} {worst:9.2f} {seconds:6.1f}")


def _moved(image: Volume, truth: Transform, rng: np.random.Generator) -> Volume:
    """Scan the stretched brain on a grid of its own, of 1.1 x 1.1 x 3 mm."""
    there = truth.apply(image.geometry.corners_mm)
    low, size = there.min(axis=0) - 5.0, np.ptp(there, axis=0) + 10.0
    spacing = np.array([1.1, 1.1, 3.0])
    x, y, z = (int(n) for n in np.ceil(size / spacing))
    grid = Geometry((x, y, z), (1.1, 1.1, 3.0), (float(low[0]), float(low[1]), float(low[2])))
    sampled = resample(image, grid, truth.inverse)
    noise = rng.normal(0.0, NOISE * np.ptp(np.percentile(sampled.array, (1, 99))), sampled.array.shape)
    return sampled.with_array((sampled.array + noise).astype(np.float32))


if __name__ == "__main__":
    place = Path(sys.argv[1])
    patient(place)
    planted(place)
