"""First order features of every neighbourhood."""

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled
from radfuse.extract.kernels.matrices import EPSILON

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NAMES = (
    "Energy", "Entropy", "Minimum", "10Percentile", "90Percentile", "Maximum", "Mean", "Median",
    "InterquartileRange", "Range", "MeanAbsoluteDeviation", "RobustMeanAbsoluteDeviation", "RootMeanSquared",
    "StandardDeviation", "Skewness", "Kurtosis", "Variance", "Uniformity", "TotalEnergy",
)  # fmt: skip


@compiled
def intensity_maps(
    levels: npt.NDArray[np.int16], values: Floats, centres: Ints, steps: Ints, greatest: int, shift: float,
    voxel_mm3: float, out: Floats,
) -> None:  # fmt: skip
    """Fill ``out`` (voxel, 19) with first order features in the order of `NAMES`.

    Parameters
    ----------
    levels : grey levels of the padded box, flat; 0 where nothing counts.
    values : intensities at the same places.
    centres : the voxels.
    steps : the cells around each, in PyRadiomics' order.
    greatest : the greatest level.
    shift : is added to the values for energy and root mean square.
    voxel_mm3 : volume of a voxel.
    """
    counts = np.zeros(greatest + 1, np.int64)
    room, kept = np.empty(steps.size), np.empty(steps.size, np.int64)
    for voxel in range(centres.size):
        centre = centres[voxel]
        size, total, energy = 0, 0.0, 0.0
        for cell in range(steps.size):
            place = centre + steps[cell]
            if levels[place] > 0:
                room[size], kept[size] = values[place], levels[place]
                counts[levels[place]] += 1
                total += values[place]
                energy += (values[place] + shift) ** 2
                size += 1
        row = out[voxel]
        row[:] = 0.0
        for index in range(size):
            share = counts[kept[index]] / size
            if share > 0.0:
                row[1] -= share * np.log2(share + EPSILON)
                row[17] += share * share
                counts[kept[index]] = 0
        inside = room[:size]
        inside.sort()
        mean = total / size
        if inside[0] == inside[-1]:
            # All alike: what is left of them after taking the mean away is the rounding of PyRadiomics' sum.
            mean = _mean_of_alike(levels, inside[0], centre, steps, size)
        absolute, second, third, fourth = 0.0, 0.0, 0.0, 0.0
        for index in range(size):
            off = inside[index] - mean
            square = off * off
            absolute += abs(off)
            second += square
            third += square * off
            fourth += square * square
        second, third, fourth = second / size, third / size, fourth / size
        low, high = _percentile(inside, 0.1), _percentile(inside, 0.9)
        row[0], row[2], row[3], row[4], row[5] = energy, inside[0], low, high, inside[-1]
        row[6] = mean
        row[7] = (inside[(size - 1) // 2] + inside[size // 2]) / 2
        row[8] = _percentile(inside, 0.75) - _percentile(inside, 0.25)
        row[9] = inside[-1] - inside[0]
        row[10] = absolute / size
        row[11] = _robust(inside, low, high)
        row[12] = np.sqrt(energy / size)
        row[13] = np.sqrt(second)
        row[14] = third / second**1.5 if second != 0.0 else 0.0
        row[15] = fourth / second**2 if second != 0.0 else 0.0
        row[16] = second
        row[18] = energy * voxel_mm3


@compiled
def _percentile(ordered: Floats, part: float) -> float:
    """Interpolate as `numpy.percentile` does, from the nearer end."""
    place = (ordered.size - 1) * part
    below = int(place)
    share = place - below
    low, high = ordered[below], ordered[min(below + 1, ordered.size - 1)]
    return float(high - (high - low) * (1.0 - share) if share >= 0.5 else low + (high - low) * share)


@compiled
def _robust(ordered: Floats, low: float, high: float) -> float:
    """Give the mean absolute deviation of what lies between the percentiles; NaN where nothing does."""
    total, count = 0.0, 0
    for value in ordered:
        if low <= value <= high:
            total += value
            count += 1
    if count == 0:
        return np.nan
    mean, deviation = total / count, 0.0
    for value in ordered:
        if low <= value <= high:
            deviation += abs(value - mean)
    return deviation / count


@compiled
def _mean_of_alike(levels: npt.NDArray[np.int16], value: float, centre: int, steps: Ints, size: int) -> float:
    """Sum equal values in NumPy's order, eight sums side by side, and divide: the same rounding."""
    sums = np.zeros(8)
    whole = steps.size - steps.size % 8
    if steps.size >= 8:
        for cell in range(whole):
            if levels[centre + steps[cell]] > 0:
                sums[cell % 8] += value
    total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
    for cell in range(whole, steps.size):
        if levels[centre + steps[cell]] > 0:
            total += value
    return float(total / size)
