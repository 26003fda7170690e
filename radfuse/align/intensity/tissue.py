"""Which voxels a scale looks at, and refusing an image that has no scale."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from radfuse.align.intensity import Regions
from radfuse.data.region import MAIN
from radfuse.data.volume import Volume
from radfuse.errors import DataError

Values = npt.NDArray[np.float64]

BODY, OUTSIDE = "body", "outside"

OVER = (
    "Where to look: `body` (by `threshold`), `outside` (the body without the main region, so that a large tumour does "
    "not set its own scale), or the name of a region of the study, such as `muscle` or `brain`; `main` is the main one."
)
THRESHOLD = (
    "Body is what exceeds this share of the way from the minimum to the 99th percentile. "
    "Otsu's threshold would split fat from muscle where a limb fills the image."
)
LEGAL = r"^[A-Za-z][A-Za-z0-9_-]{0,31}$"


def finite_values(volume: Volume) -> Values:
    """Give the voxels as float64, all of them finite."""
    values: Values = volume.array.astype(np.float64)
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise DataError(f"{volume.modality} has {count} voxels that are not finite, expected none")
    return values


def voxels_over(volume: Volume, values: Values, regions: Regions, over: str, threshold: float) -> npt.NDArray[np.bool_]:
    """Give which voxels are looked at, (z, y, x).

    Parameters
    ----------
    values : the volume's, as float64.
    over, threshold : see `OVER` and `THRESHOLD`.
    """
    if over not in (BODY, OUTSIDE):
        return _drawn(volume, regions, over)
    free = ~_drawn(volume, regions, MAIN) if over == OUTSIDE else None
    seen = values if free is None else values[free]
    low, high = (float(seen.min()), float(np.percentile(seen, 99))) if seen.size else (np.inf, np.inf)
    body: npt.NDArray[np.bool_] = values > low + threshold * (high - low)
    return body if free is None else body & free


def require_spread(volume: Volume, values: Values, count: int, spread: float, where: str) -> None:
    """Raise a DataError when the voxels looked at are all alike: there is no scale to tell.

    Parameters
    ----------
    values : of the whole volume.
    count : of the voxels looked at.
    spread : their standard deviation, or the distance between two of their percentiles.
    where : in words.
    """
    if spread <= 1e-6 * max(1e-30, float(np.abs(values).max())):
        raise DataError(
            f"{volume.modality} has zero variance over {count} {where} voxels, expected an image",
            hint="Is the scan blank? Set align.intensity for this modality to physical to keep it.",
        )


def _drawn(volume: Volume, regions: Regions, name: str) -> npt.NDArray[np.bool_]:
    if name not in regions:
        there = ", ".join(sorted(regions)) or "none"
        raise DataError(
            f"{volume.modality} has no region {name!r} for its intensity scale; there are: {there}",
            hint="Draw it (the manifest's column `region`), or set `over: body` for this modality.",
        )
    return regions[name].inside
