"""Intensity statistics and the histogram of grey levels."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def statistics(values: Floats) -> dict[str, float]:
    """Describe how values are distributed, IBSI family UHIW (manual 3.3); grey levels too, family ZVCW (3.4).

    Percentiles are interpolated linearly. Where all values are equal, skewness and kurtosis are 0. A coefficient of
    variation about a mean of 0, and a quartile coefficient about quartiles that cancel, are NaN.

    Parameters
    ----------
    values : at least one.
    """
    mean = float(values.mean())
    off = values - mean
    squares = off * off  # a product is many times faster than a power
    variance = float(squares.mean())
    low, p10, p25, median, p75, p90, high = np.percentile(values, [0, 10, 25, 50, 75, 90, 100]).tolist()
    core = values[(values >= p10) & (values <= p90)]
    flat = low == high
    return {
        "mean": mean,
        "var": 0.0 if flat else variance,
        "skew": 0.0 if flat else float((squares * off).mean()) / variance**1.5,
        "kurt": 0.0 if flat else float((squares * squares).mean()) / variance**2 - 3.0,
        "median": median,
        "min": low,
        "p10": p10,
        "p90": p90,
        "max": high,
        "iqr": p75 - p25,
        "range": high - low,
        "mad": float(np.mean(np.abs(off))),
        "rmad": float(np.mean(np.abs(core - core.mean()))) if core.size else np.nan,
        "medad": float(np.mean(np.abs(values - median))),
        "cov": _ratio(variance**0.5, mean),
        "qcod": _ratio(p75 - p25, p75 + p25),
    }


def intensity_statistics(values: Floats) -> dict[str, float]:
    """Give `statistics` of intensities with energy and root mean square (N8CA, 5ZWQ)."""
    energy = float((values * values).sum())
    return statistics(values) | {"energy": energy, "rms": (energy / values.size) ** 0.5}


def histogram(levels: npt.NDArray[np.int32]) -> dict[str, float]:
    """Describe the histogram of grey levels, family ZVCW (manual 3.4).

    The gradient takes differences of the two neighbouring bins, at the ends of one; of equal gradients the lower
    grey level counts. Of several modes the one nearest the mean counts.

    Parameters
    ----------
    levels : from 1, one per voxel of the region.
    """
    found = statistics(levels.astype(np.float64))
    counts = np.bincount(levels)[1:].astype(np.float64)
    shares = counts[counts > 0] / levels.size
    modes = np.flatnonzero(counts == counts.max()) + 1
    slope = np.gradient(counts) if counts.size > 1 else np.zeros(1)
    return found | {
        "mode": float(modes[np.argmin(np.abs(modes - found["mean"]))]),
        "entropy": float(-(shares * np.log2(shares)).sum()) + 0.0,
        "uniformity": float((shares**2).sum()),
        "max_grad": float(slope.max()),
        "max_grad_g": float(slope.argmax() + 1),
        "min_grad": float(slope.min()),
        "min_grad_g": float(slope.argmin() + 1),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole != 0 else np.nan
