"""Pairs of real scans with a planted motion, for `registration.py`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from radfuse.align.grid import resample
from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_mask, read_volume
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume

Array = npt.NDArray[np.float64]

COHORT = ("CT", "PET", "MR_T1")
UNITS = {"CT": "HU", "PET": "SUV", "MR_T1": "a.u."}
BRAIN = ("T1c", "T1", "T2", "FLAIR")
NOISE = 0.01  # of the range between the 1st and 99th percentile


@dataclass(frozen=True, eq=False)
class Trial:
    """A pair, and where the points of the fixed image truly lie in the moving one.

    Parameters
    ----------
    name : patient, pair and number.
    kind : ``same`` one scan against itself on another grid with fresh noise; ``across`` two modalities.
    region : the lesion, or the brain, on the fixed grid.
    truth : from fixed to moving points; across modalities as good as the cohort's own alignment.
    """

    name: str
    kind: str
    fixed: Volume
    moving: Volume
    region: Mask
    truth: Transform

    @property
    def half_voxel_mm(self) -> float:
        """Half the edge of a cube as large as the larger of the two voxels."""
        volumes = (self.fixed.geometry.voxel_volume_ml, self.moving.geometry.voxel_volume_ml)
        return float(0.5 * np.cbrt(1000.0 * max(volumes)))

    @property
    def lesion_mm(self) -> Array:
        """Points of the region, at most 500."""
        index = np.argwhere(self.region.inside)[:, ::-1]
        index = index[:: max(1, len(index) // 500)]
        matrix = self.region.geometry.index_to_physical
        return np.asarray(index @ matrix[:3, :3].T + matrix[:3, 3])

    def errors_mm(self, found: Transform) -> tuple[float, float]:
        """Mean distance from the truth over the region, and over the fixed image's corners."""
        over = (self.lesion_mm, self.fixed.geometry.corners_mm)
        lesion, corners = (float(np.linalg.norm(found.apply(p) - self.truth.apply(p), axis=1).mean()) for p in over)
        return lesion, corners

    def dice(self, found: Transform) -> float:
        """Overlap of the region with itself, carried there by the truth and back by what was found."""
        from radfuse.align.grid import carry

        astray = Transform.from_array(np.linalg.inv(self.truth.array) @ found.array)
        moved = carry(self.region, self.region.geometry, astray).inside
        there = self.region.inside
        return float(2.0 * (moved & there).sum() / max(1, moved.sum() + there.sum()))


def motion(centre: Array, shift_mm: float, angle_deg: float, rng: np.random.Generator) -> Transform:
    """Turn by an angle about a random axis through a centre, then shift by a length in a random direction."""
    from scipy.spatial.transform import Rotation

    axis, way = (each / np.linalg.norm(each) for each in rng.normal(size=(2, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(angle_deg) * axis).as_matrix()
    matrix[:3, 3] = centre + shift_mm * way - matrix[:3, :3] @ centre
    return Transform.from_array(matrix)


def moved(volume: Volume, planted: Transform) -> Volume:
    """Move an image's place, not its voxels: a point of the old space lies at ``planted(point)`` of the new."""
    grid = volume.geometry
    direction = planted.array[:3, :3] @ np.asarray(grid.direction).reshape(3, 3)
    origin = planted.apply([grid.origin_mm])[0]
    return replace(
        volume,
        geometry=replace(grid, origin_mm=tuple(map(float, origin)), direction=tuple(map(float, direction.ravel()))),
    )


def again(volume: Volume, rng: np.random.Generator) -> Volume:
    """Scan the same once more: a grid turned a little and off by parts of a voxel, and fresh noise."""
    grid = volume.geometry
    turned = motion(grid.corners_mm.mean(axis=0), float(0.5 * min(grid.spacing_mm)), 3.0, rng)
    other: Geometry = moved(volume, turned).geometry
    there = resample(volume, other, Transform.identity())
    low, high = np.percentile(volume.array, (1, 99))
    noise = rng.normal(0.0, NOISE * (high - low), there.array.shape)
    return there.with_array((there.array + noise).astype(np.float32))


def cohort_pairs(data: Path, patients: list[str]) -> Iterator[tuple[str, str, Volume, Volume, Mask]]:
    """Give the pairs of the sarcoma cohort: CT against PET and MR, and each against itself."""
    for patient in patients:
        scans = {m: read_volume(data / patient / f"{m}_image.nii.gz", m, UNITS[m]) for m in COHORT}
        masks = {m: read_mask(data / patient / f"{m}_mask.nii.gz", 1) for m in COHORT}
        for m in COHORT[1:]:
            yield f"{patient}.CT-{m}", "across", scans["CT"], scans[m], masks["CT"]
        for m in COHORT:
            yield f"{patient}.{m}", "same", scans[m], scans[m], masks[m]


def brain_pairs(data: Path) -> Iterator[tuple[str, str, Volume, Volume, Mask]]:
    """Give the pairs of a brain's four oblique sequences: T1c against the others, and each against itself."""
    stem = "TCGA-FG-6692"
    scans = {m: read_volume(data / f"{stem}_{m}.nii.gz", m, "a.u.") for m in BRAIN}
    brain = read_mask(data / f"{stem}_T1c_brainmask.nii.gz", 1)
    from radfuse.align.grid import carry

    for m in BRAIN[1:]:
        yield f"brain.T1c-{m}", "across", scans["T1c"], scans[m], brain
    for m in BRAIN:
        yield f"brain.{m}", "same", scans[m], scans[m], carry(brain, scans[m].geometry, Transform.identity())


def trials(
    pairs: Iterator[tuple[str, str, Volume, Volume, Mask]], times: int, shift_mm: float, angle_deg: float
) -> Iterator[Trial]:
    """Plant motions up to a size in every pair; the first of the numbers 0, 1, ... is without motion."""
    for name, kind, fixed, moving, region in pairs:
        for number in range(times + 1):
            rng = np.random.default_rng([number, *name.encode()])
            size, turn = (0.0, 0.0) if number == 0 else (rng.uniform(5.0, shift_mm), rng.uniform(0.0, angle_deg))
            planted = motion(fixed.geometry.corners_mm.mean(axis=0), size, turn, rng)
            source = again(moving, rng) if kind == "same" else moving
            yield Trial(f"{name}.{number}", kind, fixed, moved(source, planted), region, planted)
