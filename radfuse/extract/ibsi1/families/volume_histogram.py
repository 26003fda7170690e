"""Which fraction of a region has at least some intensity, IBSI family P88C (manual 3.5)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VolumeHistogram:
    """The fraction of the volume with at least each intensity.

    Parameters
    ----------
    intensities : evenly spaced, rising.
    step : between them.
    fractions : of the voxels that have at least this intensity.
    """

    intensities: Floats
    step: float
    fractions: Floats

    def volume_at(self, fraction: float) -> float:
        """Give the largest volume that has at least this fraction of the intensity range; NaN without a range."""
        last = self.intensities.size - 1
        if last == 0:
            return np.nan
        return float(self.fractions[np.arange(last + 1) / last >= fraction][0])

    def intensity_at(self, fraction: float) -> float:
        """Give the least intensity that at most this fraction of the volume has; a step above the range if none."""
        few = np.flatnonzero(self.fractions <= fraction)
        return float(self.intensities[few[0]] if few.size else self.intensities[-1] + self.step)

    @property
    def area(self) -> float:
        """Area under the curve, intensities from 0 to 1; NaN without a range."""
        if self.intensities.size == 1:
            return np.nan
        return float(np.trapezoid(self.fractions, dx=1 / (self.intensities.size - 1)))


def volume_histogram(
    values: Floats, limits: tuple[float, float] | None, bin_width: float | None, bin_count: int | None
) -> VolumeHistogram:
    """Count voxels with at least each intensity.

    A number of bins numbers them from 1; equal intensities have one bin. A width makes bins from the lower limit on,
    each standing for its centre. Neither takes whole numbers as they are, a level for each.

    Parameters
    ----------
    values : intensities of the region, at least one; whole numbers where there is neither width nor count.
    limits : range of resegmentation; None, or an infinite end, stands for what the region has.
    bin_width, bin_count : the count wins.
    """
    low, high = float(values.min()), float(values.max())
    if bin_count is not None:
        if low == high:
            return _counted(np.zeros(values.size, np.int64), 1, 1.0, 1.0)
        places = np.floor((values - low) * (bin_count / (high - low))).astype(np.int64)
        return _counted(places, bin_count, 1.0, 1.0)
    if limits is not None:
        low = limits[0] if np.isfinite(limits[0]) else low
        high = limits[1] if np.isfinite(limits[1]) else high
    if bin_width is None:
        low, high = float(np.ceil(low)), float(np.floor(high))
        return _counted((values - low).astype(np.int64), int(high - low) + 1, low, 1.0)
    count = max(1, int(np.ceil((high - low) / bin_width)))
    places = np.floor((values - low) / bin_width).astype(np.int64)
    return _counted(places, count, low + 0.5 * bin_width, bin_width)


def _counted(places: npt.NDArray[np.int64], count: int, first: float, step: float) -> VolumeHistogram:
    """Make the histogram of levels; the greatest intensity belongs to the last."""
    counts = np.bincount(np.minimum(places, count - 1), minlength=count)
    below = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return VolumeHistogram(first + step * np.arange(count, dtype=np.float64), step, 1.0 - below / places.size)


def features(histogram: VolumeHistogram) -> dict[str, float]:
    """Give volumes at 10 and 90 % intensity, intensities at 10 and 90 % volume, their differences, and the area."""
    v10, v90 = histogram.volume_at(0.1), histogram.volume_at(0.9)
    i10, i90 = histogram.intensity_at(0.1), histogram.intensity_at(0.9)
    return {
        "v10": v10,
        "v90": v90,
        "i10": i10,
        "i90": i90,
        "diff_v10_v90": v10 - v90,
        "diff_i10_i90": i10 - i90,
        "auc": histogram.area,
    }
