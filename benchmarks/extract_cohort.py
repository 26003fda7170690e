"""Measure a whole cohort on one core and on two: ``python benchmarks/extract_cohort.py --data .../sts``.

Four volumes of each patient (CT, PET, T1 MR, and the mean of CT and PET on the grid of CT), 1,130 features each at
1 mm. The floor is what reading, resampling and filtering take with a single statistic measured: no extractor that
filters with the same libraries can be faster. Workers are warm and have one thread each.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
WIDTHS = {"CT": 15.0, "PET": 0.25, "MR_T1": 20.0, "fused": 0.02}
IMAGES: dict[str, Any] = {"Original": {}, "LoG": {"sigma": [1.0, 2.0, 3.0]}, "Wavelet": {}}
ONE_STATISTIC = {"firstorder": ["Minimum"]}


def patient(task: tuple[Path, bool]) -> int:
    """Measure the four volumes of a patient; give how many values came out."""
    import numpy as np
    import SimpleITK as sitk

    from radfuse.data.reading.images import read_mask, read_volume
    from radfuse.data.volume import Volume, reference_image
    from radfuse.extract.extractor import Extractor

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    folder, floor = task
    count = 0
    scans = {
        name: (read_volume(folder / f"{name}_image.nii.gz", name, ""), read_mask(folder / f"{name}_mask.nii.gz", 1))
        for name in ("CT", "PET", "MR_T1")
    }
    ct, region = scans["CT"]
    pet = sitk.GetArrayFromImage(sitk.Resample(scans["PET"][0].to_sitk(), reference_image(ct.geometry)))
    mean = (np.clip((ct.array + 1024) / 2000, 0, 1) + np.clip(pet / 20, 0, 1)) / 2
    scans["fused"] = Volume(mean.astype(np.float32), ct.geometry, "fused", "fused"), region
    for name, (volume, mask) in scans.items():
        parameters: dict[str, Any] = {
            "imageType": {kind: dict(asked) for kind, asked in IMAGES.items()},
            "setting": {"binWidth": WIDTHS[name], "resampledPixelSpacing": [1, 1, 1]},
        }
        if floor:
            parameters["featureClass"] = ONE_STATISTIC
        count += len(Extractor.choose({"method": "fast", "max_bins": 10**4}).build(parameters)(volume, mask).values)
    return count


def timed(folders: list[Path], workers: int, floor: bool) -> tuple[float, int]:
    """Give the seconds and the number of values of all patients, workers being warm."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(patient, [(min(folders), floor)] * workers))
        began = time.perf_counter()
        counts = list(pool.map(patient, [(folder, floor) for folder in folders]))
        return time.perf_counter() - began, sum(counts)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sarcoma cohort")
    parser.add_argument("--patients", type=int, default=1000, help="at most so many")
    arguments = parser.parse_args()
    os.environ |= dict.fromkeys(THREADS, "1")
    folders = sorted(found.parent for found in arguments.data.glob("*/CT_mask.nii.gz"))[: arguments.patients]
    seconds = {}
    print(f"{len(folders)} patients, four volumes each")
    for floor in (False, True):
        for workers in (1, 2):
            seconds[floor, workers], count = timed(folders, workers, floor)
            what = "reading and filtering" if floor else f"{count} values"
            print(f"{what:24} {workers} worker(s) {seconds[floor, workers]:8.1f} s", flush=True)
    print(f"two workers: {seconds[False, 1] / seconds[False, 2]:.2f} times one; "
          f"the floor is {seconds[True, 1] / seconds[False, 1]:.0%} of it all")  # fmt: skip


if __name__ == "__main__":
    main()
