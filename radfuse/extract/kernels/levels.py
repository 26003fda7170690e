"""Values of a region: their histogram, order statistics and moments."""

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled

Floats = npt.NDArray[np.float64]
Levels = npt.NDArray[np.int16]

# Bins of the coarse histogram that narrows a quantile down before anything is sorted.
COARSE = 4096


@compiled
def digitise(values: Floats, edges: Floats) -> Levels:
    """Give each value its grey level, 1 for the first bin, exactly as `numpy.digitize` does with rising edges.

    The edges are nearly even, so a guess and a step or two find the bin.
    """
    levels = np.empty(values.size, np.int16)
    last = edges.size - 1
    width = (edges[last] - edges[0]) / last
    scale = 1.0 / width if width > 0.0 else 0.0
    for index in range(values.size):
        value = values[index]
        guess = int((value - edges[0]) * scale)
        level = min(max(guess, 0), last)
        while level > 0 and edges[level] > value:
            level -= 1
        while level < last and edges[level + 1] <= value:
            level += 1
        levels[index] = level + 1 if edges[level] <= value else 0
    return levels


def order_statistics(values: Floats, ranks: npt.NDArray[np.int64]) -> Floats:
    """Give the values of these ranks (0 is the least). NaN is not expected."""
    least, greatest = values.min(), values.max()
    scale = (COARSE - 1) / (greatest - least) if greatest > least else np.inf
    if not np.isfinite(scale):
        return np.asarray(np.sort(values)[ranks])
    starts = np.concatenate([[0], np.cumsum(coarse_histogram(values, least, scale))])
    bins = np.searchsorted(starts, ranks, side="right") - 1
    # Only what lies in the few bins that hold a rank is collected and sorted.
    slots = np.full(COARSE, -1, np.int64)
    needed = np.unique(bins)
    slots[needed] = np.cumsum(np.concatenate([[0], starts[needed + 1] - starts[needed]]))[:-1]
    begins = slots.copy()
    kept = collect(values, least, scale, slots, int((starts[needed + 1] - starts[needed]).sum()))
    for bin_ in needed:
        kept[begins[bin_] : begins[bin_] + starts[bin_ + 1] - starts[bin_]].sort()
    return np.asarray(kept[begins[bins] + ranks - starts[bins]])


@compiled
def coarse_histogram(values: Floats, least: float, scale: float) -> npt.NDArray[np.int64]:
    """Count the values in `COARSE` even bins."""
    counts = np.zeros(COARSE, np.int64)
    for value in values:
        counts[int((value - least) * scale)] += 1
    return counts


@compiled
def collect(values: Floats, least: float, scale: float, slots: npt.NDArray[np.int64], room: int) -> Floats:
    """Put the values of some bins together.

    Parameters
    ----------
    values, least, scale : as for `coarse_histogram`.
    slots : for each bin the place of its first value, or -1; counted up.
    room : how many values there are in these bins.
    """
    kept = np.empty(room)
    for value in values:
        bin_ = int((value - least) * scale)
        if slots[bin_] >= 0:
            kept[slots[bin_]] = value
            slots[bin_] += 1
    return kept


@compiled
def moments(values: Floats, shift: float) -> Floats:
    """Give mean, energy of the shifted values, then mean absolute, second, third and fourth central moments."""
    total, energy = 0.0, 0.0
    for value in values:
        total += value
        energy += (value + shift) * (value + shift)
    mean = total / values.size
    # A second pass over the remainder takes the rounding of the first sum out again.
    rest = 0.0
    for value in values:
        rest += value - mean
    mean += rest / values.size
    absolute, second, third, fourth = 0.0, 0.0, 0.0, 0.0
    for value in values:
        off = value - mean
        square = off * off
        absolute += abs(off)
        second += square
        third += square * off
        fourth += square * square
    count = values.size
    return np.array([mean, energy, absolute / count, second / count, third / count, fourth / count])


@compiled
def robust_deviation(values: Floats, low: float, high: float) -> float:
    """Give the mean absolute deviation of the values from ``low`` to ``high``, both included; NaN if there is none."""
    total, count = 0.0, 0
    for value in values:
        if low <= value <= high:
            total += value
            count += 1
    if count == 0:
        return np.nan
    mean = total / count
    deviation = 0.0
    for value in values:
        if low <= value <= high:
            deviation += abs(value - mean)
    return deviation / count
