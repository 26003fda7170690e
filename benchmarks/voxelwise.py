"""Time voxel-wise maps against PyRadiomics' voxel mode: ``python benchmarks/voxelwise.py --data .../sts``.

Both run on the same crop of a patient's scan, in one process and on one thread, and the best of ``--repeats`` runs
counts, in seconds of processor time, or of the clock on the wall with ``--device cuda``. Compiling (once for each
installation) and loading compiled code (once for each process) are printed apart. Every voxel of every map is compared
where PyRadiomics has a number.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import radiomics
import SimpleITK as sitk
from radiomics.featureextractor import RadiomicsFeatureExtractor

from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_mask, read_volume
from radfuse.data.volume import Mask, Volume
from radfuse.extract.agreement import scale_of, tolerance
from radfuse.extract.containment import contained
from radfuse.extract.feature_names import feature_names
from radfuse.extract.voxelwise.kernels import kernels_on
from radfuse.extract.voxelwise.maps import Surroundings, computed, voxel_maps

CLASSES = ("firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
WIDTHS = {"CT": 15.0, "PET": 0.25, "MR_T1": 20.0}


class Reporter(radiomics._DummyProgressReporter):  # type: ignore[misc]
    """The installed build calls its own reporter with a keyword that it does not take; nothing is reported."""

    def __init__(self, iterable: Any = None, desc: str = "", total: Any = None) -> None:
        super().__init__(iterable, desc)


def crop(data: Path, patient: str, modality: str, side: int) -> tuple[Volume, Mask]:
    """Cut a cube out of a scan, around the middle of its region."""
    volume = read_volume(data / patient / f"{modality}_image.nii.gz", modality, "")
    mask = read_mask(data / patient / f"{modality}_mask.nii.gz", 1)
    middle = np.argwhere(mask.inside).mean(0).astype(int)
    part = tuple(slice(max(0, at - side // 2), at - side // 2 + side) for at in middle)
    shape = volume.array[part].shape
    grid = Geometry(shape[::-1], volume.geometry.spacing_mm)
    return Volume(volume.array[part].copy(), grid, modality, ""), Mask(mask.array[part].copy(), grid)


def library(volume: Volume, mask: Mask, parameters: dict[str, Any], radius: int, batch: int) -> dict[str, Any]:
    """Give PyRadiomics' maps."""
    voxel = {"kernelRadius": radius, "initValue": float("nan")}
    with contained():
        extractor = RadiomicsFeatureExtractor({**parameters, "voxelSetting": voxel})
        extractor.settings["voxelBatch"] = batch
        found: dict[str, Any] = extractor.execute(volume.to_sitk(), mask.to_sitk(), voxelBased=True)
    return {name: image for name, image in found.items() if not name.startswith("diagnostics")}


def ours(volume: Volume, mask: Mask, parameters: dict[str, Any], around: Surroundings) -> dict[str, Volume]:
    """Give our maps of the same features."""
    names = [name for name in feature_names(json.dumps(parameters)) if computed(name)]
    return dict(voxel_maps(volume, mask, parameters, names, around))


def timed(work: Any, repeats: int, clock: Callable[[], float] = time.process_time) -> tuple[Any, float]:
    """Run something; give its answer and the least time it took."""
    best = np.inf
    for _ in range(repeats):
        began = clock()
        answer = work()
        best = min(best, clock() - began)
    return answer, best


def differing(volume: Volume, mask: Mask, expected: dict[str, Any], found: dict[str, Volume]) -> tuple[int, int, float]:
    """Count values, and those beyond tolerance where PyRadiomics has a number; give the largest difference."""
    count, wrong, largest = 0, 0, 0.0
    spread = float(np.ptp(volume.array[mask.inside].astype(float)))
    for name, image in expected.items():
        grid = found[name].to_sitk()
        moved = sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, float("nan"), sitk.sitkFloat64)
        there, here = sitk.GetArrayFromImage(moved)[mask.inside], found[name].array[mask.inside].astype(float)
        known = ~np.isnan(there)
        scale = scale_of(name, {"original_firstorder_Range": spread})
        apart = np.abs(here[known] - there[known]) / np.maximum(np.abs(there[known]), scale)
        count += int(known.sum())
        wrong += int((~(apart <= tolerance(name))).sum())
        if not name.endswith("_MCC"):
            largest = max(largest, float(apart.max(initial=0.0)))
    return count, wrong, largest


def compile_s() -> float:
    """Say how long the first call of a fresh installation takes, in a process and a cache of its own."""
    code = (
        "import json, time, numpy as np\n"
        "from radfuse.data.geometry import Geometry\nfrom radfuse.data.volume import Mask, Volume\n"
        "from radfuse.extract.feature_names import feature_names\n"
        "from radfuse.extract.voxelwise.maps import Surroundings, computed, voxel_maps\n"
        "grid = Geometry((4, 4, 4), (1.0, 1.0, 1.0))\n"
        "volume = Volume(np.arange(64, dtype=np.int16).reshape(4, 4, 4), grid, 'CT', 'HU')\n"
        "mask = Mask(np.ones((4, 4, 4), np.uint8), grid)\n"
        "parameters = {'imageType': {'Original': {}}, 'setting': {'binWidth': 8}}\n"
        "names = [n for n in feature_names(json.dumps(parameters)) if computed(n)]\n"
        "began = time.process_time()\nlist(voxel_maps(volume, mask, parameters, names, Surroundings()))\n"
        "print(time.process_time() - began)\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> int:
    """Print the table."""
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):  # libraries read these when they load
        return subprocess.run([sys.executable, *sys.argv], env={**os.environ, **ONE_THREAD}, check=False).returncode
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sarcoma cohort")
    parser.add_argument("--patient", default="STS_003")
    parser.add_argument("--modality", default="CT", choices=list(WIDTHS))
    parser.add_argument("--side", type=int, default=14, help="of the crop, in voxels")
    parser.add_argument("--radius", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--batch", type=int, default=500, help="PyRadiomics' voxelBatch; all at once takes its memory")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where our maps are computed")
    parser.add_argument("--no-compile", action="store_true", help="do not measure the compilation")
    arguments = parser.parse_args()
    radiomics._DummyProgressReporter = Reporter
    volume, mask = crop(arguments.data, arguments.patient, arguments.modality, arguments.side)
    around = Surroundings(arguments.radius, kernels=kernels_on(arguments.device))
    width, clock = WIDTHS[arguments.modality], time.process_time if arguments.device == "cpu" else time.perf_counter
    settings = {"imageType": {"Original": {}}, "setting": {"binWidth": width}}
    values = volume.array[mask.inside]
    levels = int(np.floor(values.max() / width) - np.floor(values.min() / width)) + 1
    print(f"{arguments.patient} {arguments.modality}, {mask.voxels} voxels, {levels} grey levels, "
          f"radius {arguments.radius}, one thread, voxelBatch {arguments.batch}")  # fmt: skip
    if not arguments.no_compile:
        print(f"first call of a fresh installation, compiling: {compile_s():.1f} s")
    _, loading = timed(lambda: ours(volume, mask, settings, around), 1)
    _, warm = timed(lambda: ours(volume, mask, settings, around), 1)
    print(f"first call of a process, loading: {max(0.0, loading - warm):.2f} s more")
    print("class       maps  PyRadiomics s    ours s  times   values  beyond tolerance  largest difference, MCC apart")
    sums = np.zeros(2)
    for kind in CLASSES:
        parameters = {**settings, "featureClass": {kind: None}}
        found, fast = timed(lambda p=parameters: ours(volume, mask, p, around), max(3, arguments.repeats), clock)
        expected, slow = timed(
            lambda p=parameters: library(volume, mask, p, arguments.radius, arguments.batch),
            arguments.repeats,
            clock,
        )
        count, wrong, largest = differing(volume, mask, expected, found)
        sums += slow, fast
        times = f"{slow:14.3f} {fast:9.4f} {slow / fast:6.0f}"
        print(f"{kind:11} {len(found):4} {times} {count:8} {wrong:17} {largest:.1e}", flush=True)
    print(f"{'all':11}      {sums[0]:14.3f} {sums[1]:9.4f} {sums[0] / sums[1]:6.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
