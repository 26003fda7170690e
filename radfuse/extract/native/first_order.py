"""First order features of one image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels.levels import moments, order_statistics, robust_deviation
from radfuse.extract.kernels.matrices import EPSILON
from radfuse.extract.native import HandOver

Floats = npt.NDArray[np.float64]

PERCENTILES = (10, 25, 50, 75, 90)

# A spread this small against the values is what their rounding left, and so would be skewness and kurtosis.
FLAT = 1e-12


def first_order(
    values: Floats, histogram: npt.NDArray[np.int64], settings: Mapping[str, Any], voxel_mm3: float
) -> dict[str, float]:
    """Give PyRadiomics' first order features.

    Parameters
    ----------
    values : the voxels of the region.
    histogram : how many of them there are in each grey level that occurs.
    settings : `voxelArrayShift` counts.
    voxel_mm3 : volume of a voxel.
    """
    least, greatest, (p10, p25, median, p75, p90) = quantiles(values)
    mean, energy, absolute, variance, third, fourth = moments(values, float(settings.get("voxelArrayShift", 0)))
    if variance <= (FLAT * max(abs(least), abs(greatest))) ** 2:
        raise HandOver("the region is flat but for rounding")
    robust = robust_deviation(values, p10, p90)
    if np.isnan(robust):
        raise HandOver("no value lies between the percentiles")
    shares = histogram / values.size
    return {
        "10Percentile": p10,
        "90Percentile": p90,
        "Energy": energy,
        "Entropy": float(-1.0 * np.sum(shares * np.log2(shares + EPSILON))),
        "InterquartileRange": p75 - p25,
        "Kurtosis": fourth / variance**2,
        "Maximum": greatest,
        "MeanAbsoluteDeviation": absolute,
        "Mean": mean,
        "Median": median,
        "Minimum": least,
        "Range": greatest - least,
        "RobustMeanAbsoluteDeviation": robust,
        "RootMeanSquared": float(np.sqrt(energy / values.size)),
        "Skewness": third / variance**1.5,
        "StandardDeviation": float(np.sqrt(variance)),
        "TotalEnergy": energy * voxel_mm3,
        "Uniformity": float(np.sum(shares**2)),
        "Variance": variance,
    }


def quantiles(values: Floats) -> tuple[float, float, list[float]]:
    """Give least, greatest, and the percentiles as NumPy's linear rule has them, the median as the middle."""
    last = values.size - 1
    wanted = [last * (percent / 100) for percent in PERCENTILES]
    below = [int(np.floor(place)) for place in wanted]
    ranks = sorted({0, last, *below, *(min(rank + 1, last) for rank in below), last // 2, (last + 1) // 2})
    found = dict(zip(ranks, order_statistics(values, np.array(ranks)).tolist(), strict=True))
    between = [_between(found[b], found[min(b + 1, last)], p - b) for p, b in zip(wanted, below, strict=True)]
    between[2] = (found[last // 2] + found[(last + 1) // 2]) / 2
    return found[0], found[last], between


def _between(low: float, high: float, part: float) -> float:
    """Interpolate as `numpy.percentile` does, from the nearer end, so that even the last digit agrees."""
    return high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part
