"""Time the IBSI 2 filters on the CT phantom: ``python benchmarks/ibsi2.py --data .../ibsi``.

Prints, for the filters of phase 2 in three dimensions on 1 mm, seconds on the whole image and around the region, the
best of three, one thread; and then the scorecard of every reference map and value in the folder.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from radfuse.data.reading.images import read_mask, read_volume
from radfuse.extract.ibsi1.conformed import Processing, conform
from radfuse.extract.ibsi2.cropping import respond_in
from radfuse.extract.ibsi2.reference_tests import FEATURES
from radfuse.extract.native.region import box_of
from radfuse.run.ibsi2 import CT, scorecard


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Time something, the best of a few."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="The folder `ibsi` of the public data.")
    data: Path = parser.parse_args().data
    volume, mask = (
        read_volume(data / CT / "image/phantom.nii.gz", "CT", "HU"),
        read_mask(data / CT / "mask/mask.nii.gz"),
    )
    processing = Processing((1.0, 1.0, 1.0), "bspline", rounding=True, resegment=(-1000.0, 400.0))
    conformed = conform(volume, mask, processing, np.inf)
    image, spacing_mm, box = conformed.image, conformed.geometry.spacing_mm, box_of(conformed.intensity)
    sizes = [part.stop - part.start for part in box]
    print(
        f"image {image.shape}, region {sizes}, {conformed.intensity.sum()} voxels\n{'':6}{'whole':>8}{'region':>8}  s"
    )
    for test, chosen in FEATURES.items():
        if chosen is None or not test.endswith("B"):
            continue
        respond = chosen.build()
        whole = seconds(lambda respond=respond: respond(image, spacing_mm))
        around = seconds(lambda chosen=chosen: respond_in(box, chosen, image, spacing_mm))
        print(f"{test:6}{whole:8.2f}{around:8.2f}  {chosen.name}")
    start = time.perf_counter()
    rows = scorecard(data)
    elapsed_s = time.perf_counter() - start
    for kind in ("map", "feature"):
        count = Counter(row.passed for row in rows if row.kind == kind)
        print(f"{kind}s: {count[True]} pass, {count[False]} fail, {count[None]} without a reference")
    worst = max(rows, key=lambda row: row.value / row.tolerance if row.kind == "map" else 0.0)
    print(f"worst map {worst.test}: {worst.value / worst.tolerance:.2f} of its tolerance; scored in {elapsed_s:.1f} s")


if __name__ == "__main__":
    main()
