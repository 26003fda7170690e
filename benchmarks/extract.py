"""Time the fast extractor against PyRadiomics, patient by patient: ``python benchmarks/extract.py --data .../sts``.

Every measurement runs in a process of its own on one thread, compiled code being loaded beforehand. ``--check``
compares all patients and modalities instead, and prints the largest difference of each feature class.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_mask, read_volume
from radfuse.data.volume import Mask, Volume
from radfuse.extract.agreement import differences, tolerance
from radfuse.extract.extractor import Extractor, Measured
from radfuse.extract.native.shape import _remembered

FILTERS = {"Original": {}, "LoG": {"sigma": [1.0, 2.0, 3.0]}, "Wavelet": {}}
SETS: dict[str, dict[str, Any]] = {
    "original": {"imageType": {"Original": {}}, "setting": {"binWidth": 25}},
    "every": {
        "imageType": {
            "Original": {},
            "LoG": {"sigma": [2.0, 3.0], "binCount": 32},
            "Wavelet": {"binCount": 32},
            **{name: {"binCount": 32} for name in ("Square", "SquareRoot", "Logarithm", "Exponential", "Gradient")},
        },
        "setting": {"binWidth": 15},
    },
    "filters": {"imageType": FILTERS, "setting": {"binWidth": 25, "resampledPixelSpacing": [1, 1, 1]}},
}
# The widths that give 10 to 128 grey levels in the raw units of the cohort's images.
WIDTHS = {"CT": 15.0, "PET": 0.25, "MR_T1": 20.0}
PATIENTS = ("STS_008", "STS_003", "STS_047", "STS_048", "STS_005", "STS_022", "STS_020")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def scan(data: Path, patient: str, modality: str, whole: bool) -> tuple[Volume, Mask]:
    """Read an image and its region; ``whole`` puts them into 512 x 512 x 130 voxels of noisy air."""
    volume = read_volume(data / patient / f"{modality}_image.nii.gz", modality, "")
    mask = read_mask(data / patient / f"{modality}_mask.nii.gz", 1)
    return padded(volume, mask) if whole else (volume, mask)


def padded(volume: Volume, mask: Mask, shape: tuple[int, int, int] = (130, 512, 512)) -> tuple[Volume, Mask]:
    """Put a cropped scan into the middle of a whole one of air and noise."""
    noise = np.random.default_rng(0).normal(-1000, 10, shape)
    image, labels = noise.round().astype(volume.array.dtype), np.zeros(shape, mask.array.dtype)
    place = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(shape, volume.array.shape, strict=True))
    image[place], labels[place] = volume.array, mask.array
    grid = Geometry(shape[::-1], volume.geometry.spacing_mm)
    return Volume(image, grid, volume.modality, volume.unit), Mask(labels, grid)


def one(arguments: argparse.Namespace) -> None:
    """Measure one region with one extractor; print seconds, peak memory and values as JSON."""
    volume, mask = scan(arguments.data, arguments.one, arguments.modality, arguments.whole)
    measure = Extractor.choose(arguments.method).build(SETS[arguments.set], arguments.device)
    small = Volume(volume.array[:8, :8, :8].copy(), Geometry((8, 8, 8), (1.0, 1.0, 1.0)), "CT", "HU")
    warm = small.with_array(np.arange(512, dtype=volume.array.dtype).reshape(8, 8, 8))
    measure(warm, Mask(np.ones((8, 8, 8), np.uint8), warm.geometry))
    taken = []
    for _ in range(arguments.repeats):
        _remembered.cache_clear()  # the shape of the mask: each time from the start
        began = time.perf_counter(), time.process_time()
        found = measure(volume, mask)
        taken.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer = {"wall_s": [wall for wall, _ in taken], "cpu_s": [cpu for _, cpu in taken], "peak_mb": peak_mb}
    answer |= {"voxels": mask.voxels, "values": dict(found.values), "handed_over": handed_over(found)}
    print(json.dumps(answer))


def handed_over(found: Measured) -> str:
    """Say how many columns PyRadiomics itself computed."""
    return found.diagnostics.get("diagnostics_radfuse_HandedOver", "")


def asked(arguments: argparse.Namespace, patient: str, method: str, repeats: int) -> dict[str, Any]:
    """Run `one` in a process of its own."""
    command = [sys.executable, __file__, "--data", str(arguments.data), "--one", patient, "--method", method]
    command += ["--modality", arguments.modality, "--set", arguments.set, "--repeats", str(repeats)]
    command += ["--device", arguments.device if method == "fast" else "cpu"]
    command += ["--whole"] if arguments.whole else []
    done = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def table(arguments: argparse.Namespace) -> None:
    """Print a line for each patient."""
    print(
        "patient    voxels  PyRadiomics s (cpu)   fast s (cpu)   times  MB     MB  columns  largest difference  native"
    )
    for patient in arguments.patients or PATIENTS:
        slow = asked(arguments, patient, "pyradiomics", 1)
        fast = asked(arguments, patient, "fast", arguments.repeats)
        apart = differences(fast["values"], slow["values"])
        seconds = [statistics.median(fast[clock]) for clock in ("wall_s", "cpu_s")]
        # A GPU's work is not the processor's: there it is the clock on the wall that counts.
        times = slow["cpu_s"][0] / seconds[1] if arguments.device == "cpu" else slow["wall_s"][0] / seconds[0]
        print(
            f"{patient:8} {fast['voxels']:8} {slow['wall_s'][0]:9.2f} ({slow['cpu_s'][0]:6.2f}) {seconds[0]:9.3f} "
            f"({seconds[1]:6.3f}) {times:6.1f} {slow['peak_mb']:5.0f} {fast['peak_mb']:5.0f} "
            f"{len(apart):6} {max(apart.values()):12.1e}        {fast['handed_over']} by PyRadiomics",
            flush=True,
        )


def check(arguments: argparse.Namespace) -> int:
    """Compare every patient and modality; print the largest difference by feature class."""
    largest: dict[str, tuple[float, str]] = defaultdict(lambda: (-1.0, ""))
    count, wrong, seconds = 0, 0, [0.0, 0.0]
    patients = arguments.patients or [found.parent.name for found in sorted(arguments.data.glob("*/CT_mask.nii.gz"))]
    for patient in patients:
        for modality, width in WIDTHS.items():
            parameters = {**SETS[arguments.set], "setting": {**SETS[arguments.set]["setting"], "binWidth": width}}
            volume, mask = scan(arguments.data, patient, modality, whole=False)
            answers = []
            for index, method in enumerate(("pyradiomics", "fast")):
                measure = Extractor.choose({"method": method, "max_bins": 10**4}).build(parameters)
                began = time.process_time()
                answers.append(measure(volume, mask))
                seconds[index] += time.process_time() - began
            apart = differences(answers[1].values, answers[0].values)
            wrong += sum(not apart[name] <= tolerance(name) for name in apart)
            wrong += answers[0].problems != answers[1].problems
            count += len(apart)
            for name, size in apart.items():
                kind = "glcm MCC" if name.endswith("_MCC") else name.split("_")[1]
                largest[kind] = max(largest[kind], (size, f"{patient} {modality} {name}"))
            print(f"{patient} {modality}: {max(apart.values()):.1e}  {handed_over(answers[1])}", flush=True)
    for kind, (size, where) in sorted(largest.items()):
        print(f"{kind:12} {size:.2e}  {where}")
    print(f"{count} values of {len(patients)} patients, {wrong} beyond tolerance; "
          f"PyRadiomics {seconds[0]:.0f} s, fast {seconds[1]:.0f} s of processor")  # fmt: skip
    return int(wrong > 0)


def main() -> int:
    """Print the table, or the check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sarcoma cohort")
    parser.add_argument("--patients", nargs="+", help="default: small to large, or all for --check")
    parser.add_argument("--modality", default="CT")
    parser.add_argument("--set", choices=SETS, default="filters", help="original: 107 features; filters: 1,130")
    parser.add_argument("--whole", action="store_true", help="inside a CT of 512 x 512 x 130 voxels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where texture is counted")
    parser.add_argument("--check", action="store_true", help="compare all patients and modalities")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--method", default="fast", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments)
    elif arguments.check:
        return check(arguments)
    else:
        table(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
