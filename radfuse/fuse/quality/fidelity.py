"""How near the fused image stays to its sources, voxel by voxel: CC, MSE, PSNR, SCD."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from radfuse.fuse.quality.unmeasurable import Unmeasurable

Image = npt.NDArray[np.float64]

FLAT = 1e-6
"""A standard deviation below this, on the [0, 1] scale, is the rounding of float32 and not a picture."""


def correlation(one: Image, other: Image, flat: float = FLAT) -> float:
    """Give Pearson's r; 0 where either image is flat.

    Examples
    --------
    >>> correlation(np.array([0.0, 0.5, 1.0]), np.array([3.0, 2.0, 1.0])), correlation(np.ones(3), np.arange(3.0))
    (-1.0, 0.0)
    """
    a, b = one - one.mean(), other - other.mean()
    # einsum and not a dot product, whose last bits would depend on the number of threads.
    spread_a, spread_b = math.sqrt((a * a).mean()), math.sqrt((b * b).mean())
    if spread_a < flat or spread_b < flat:
        return 0.0
    return float(np.clip((a * b).mean() / (spread_a * spread_b), -1.0, 1.0))


def mean_correlation(fused: Image, sources: Sequence[Image]) -> float:
    """Give CC, the mean over sources of r(source, fused)."""
    return float(np.mean([correlation(source, fused) for source in sources]))


def mean_squared_error(fused: Image, sources: Sequence[Image]) -> float:
    """Give MSE, the mean over sources of the mean squared difference."""
    return float(np.mean([((source - fused) ** 2).mean() for source in sources]))


def peak_signal_to_noise(fused: Image, sources: Sequence[Image]) -> float:
    """Give PSNR = 10 log10(1 / MSE) in dB, for images on [0, 1]."""
    error = mean_squared_error(fused, sources)
    if error == 0:
        raise Unmeasurable("the fused image equals its sources, so PSNR has no bound")
    return -10 * math.log10(error)


def correlated_differences(fused: Image, sources: Sequence[Image]) -> float:
    """Give SCD, how much of each source is in what the others did not bring [Aslantas & Bendes, AEU 69:1890, 2015].

    r(F - B, A) + r(F - A, B); a difference that is flat counts 0. With more than two sources, the sum over sources
    of r(F minus the mean of the others, source).
    """
    together = np.sum(sources, axis=0)
    return sum(correlation(fused - (together - source) / (len(sources) - 1), source) for source in sources)
