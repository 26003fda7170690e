"""An image and its region after IBSI's image processing: what every IBSI-1 feature is computed from."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError
from radfuse.extract.ibsi1.interpolation import ROUNDING, grid_for, positions_of, sampled, window

Floats = npt.NDArray[np.float64]
Inside = npt.NDArray[np.bool_]
Levels = npt.NDArray[np.int32]

# The manual's number of levels of the intensity-volume histogram for intensities of arbitrary unit.
ARBITRARY_LEVELS = 1000


@dataclass(frozen=True)
class Processing:
    """IBSI's image processing, in its order.

    Parameters
    ----------
    spacing_mm : voxel size along x, y, z to interpolate to; 0 keeps an axis, None keeps the grid.
    interpolator : of the image; the mask is always interpolated linearly and kept from one half on.
    rounding : round intensities to whole numbers, as for CT, whether or not there was anything to interpolate.
    resegment : keep only intensities of this range, ends included; an end may be infinite.
    outlier_sigma : then keep only the mean plus and minus this many standard deviations.
    bin_width : fixed bin size, from the lower end of the range.
    bin_count : fixed bin number; wins over the width.
    ivh_bin_width, ivh_bin_count : the same for the intensity-volume histogram; with neither, see `ivh_bins`.
    """

    spacing_mm: tuple[float, float, float] | None = None
    interpolator: Literal["linear", "bspline"] = "linear"
    rounding: bool = False
    resegment: tuple[float, float] | None = None
    outlier_sigma: float | None = None
    bin_width: float | None = None
    bin_count: int | None = None
    ivh_bin_width: float | None = None
    ivh_bin_count: int | None = None

    @property
    def ivh_bins(self) -> tuple[float | None, int | None]:
        """Bin width and number of bins of the intensity-volume histogram (manual 3.5).

        Where nothing is asked for, rounded intensities are levels as they are, neither, and others get 1000 bins. The
        settings decide, never the data, so that a column has one unit in every subject.
        """
        if self.ivh_bin_count is None and self.ivh_bin_width is None and not self.rounding:
            return None, ARBITRARY_LEVELS
        return self.ivh_bin_width, self.ivh_bin_count


@dataclass(frozen=True, eq=False)
class Conformed:
    """What IBSI-1 features are computed from; all arrays are (z, y, x), on one grid, and read-only.

    Parameters
    ----------
    image : interpolated intensities, around the region too.
    geometry : the grid, a part of ``whole``.
    intensity : the intensity mask: the region after resegmentation.
    morphology : the morphological mask: the region before it.
    levels : grey levels from 1 in the intensity mask, 0 outside.
    limits : lowest and highest intensity that resegmentation left in, None where it was not asked for.
    anchor : the intensity where the first bin begins.
    bin_width : width of a bin, also where their number was fixed.
    unit : of the intensities: HU, SUV, ...
    whole : the grid of the whole interpolated image.
    processing : how it was made.
    """

    image: Floats
    geometry: Geometry
    intensity: Inside
    morphology: Inside
    levels: Levels
    limits: tuple[float, float] | None
    anchor: float
    bin_width: float
    unit: str
    whole: Geometry
    processing: Processing

    def __post_init__(self) -> None:
        for array in (self.image, self.intensity, self.morphology, self.levels):
            array.setflags(write=False)

    @property
    def spacing_mm(self) -> Floats:
        """Voxel size along z, y, x."""
        return np.array(self.geometry.spacing_mm[::-1])

    @property
    def values(self) -> Floats:
        """Intensities of the intensity mask, in order."""
        return self.image[self.intensity]


def conform(volume: Volume, mask: Mask, processing: Processing, around_mm: float = 10.0) -> Conformed:
    """Interpolate, round, resegment and discretise (manual, chapter 2).

    Parameters
    ----------
    volume, mask : on one grid; the region is not empty and the image finite.
    processing : what to do.
    around_mm : how much of the image around the region is kept; ``numpy.inf`` keeps all of it.
    """
    whole = grid_for(volume.geometry, processing.spacing_mm)
    positions = positions_of(whole, volume.geometry)
    part = window(mask.inside, positions, around_mm, volume.geometry)
    places = [place[piece] for place, piece in zip(positions, part, strict=True)]
    image = sampled(volume.array, places, processing.interpolator)
    morphology = sampled(mask.inside, places, "linear") >= 0.5 - ROUNDING
    if not morphology.any():
        raise DataError(
            f"the region of {volume.modality} ({mask.voxels} voxels) is lost on voxels of {whole.spacing_mm} mm",
            hint="Interpolate to smaller voxels, or leave the subject out.",
        )
    if processing.rounding:
        image = np.rint(image)
    intensity, limits = resegmented(image, morphology, processing, volume.modality)
    values = image[intensity]
    anchor, width = bins_for(values, processing.resegment, volume.unit, processing.bin_width, processing.bin_count)
    levels = np.zeros(image.shape, np.int32)
    levels[intensity] = discretised(values, anchor, width, processing.bin_count)
    geometry = whole.part(part)
    return Conformed(
        image, geometry, intensity, morphology, levels, limits, anchor, width, volume.unit, whole, processing
    )


def resegmented(
    image: Floats, region: Inside, processing: Processing, modality: str
) -> tuple[Inside, tuple[float, float] | None]:
    """Take voxels outside of the range out of the region, then those far from the mean of what is left (manual 2.5).

    The standard deviation is that of the population.
    """
    if processing.resegment is None and processing.outlier_sigma is None:
        return region, None
    low, high = processing.resegment or (-np.inf, np.inf)
    inside = region & (image >= low) & (image <= high)
    if processing.outlier_sigma is not None and inside.any():
        values = image[inside]
        mean, spread = float(values.mean()), processing.outlier_sigma * float(values.std())
        low, high = max(low, mean - spread), min(high, mean + spread)
        inside &= (image >= low) & (image <= high)
    if not inside.any():
        values = image[region]
        raise DataError(
            f"no voxel of the region of {modality} lies between {low:g} and {high:g}; "
            f"its intensities are {values.min():g} to {values.max():g}",
            hint="Widen setting.resegmentRange.",
        )
    return inside, (low, high)


def bins_for(
    values: Floats, asked: tuple[float, float] | None, unit: str, bin_width: float | None, bin_count: int | None
) -> tuple[float, float]:
    """Say where the first bin begins, and how wide bins are (manual 2.7).

    Bins of a fixed size begin at the lower end of the range that was asked for, else at 0 SUV, else at the lowest
    intensity of the region; never where outliers of this one subject end. A fixed number of bins covers the
    intensities of the region.
    """
    least = float(values.min())
    if bin_count is not None:
        return least, (float(values.max()) - least) / bin_count
    anchor = min(0.0, least) if unit == "SUV" else least
    if asked is not None and np.isfinite(asked[0]):
        anchor = asked[0]
    return anchor, float(bin_width or 25.0)


def discretised(values: Floats, anchor: float, bin_width: float, bin_count: int | None) -> Levels:
    """Give the grey levels of intensities, from 1."""
    if bin_width == 0.0:  # a flat region in a fixed number of bins
        return np.ones(values.shape, np.int32)
    levels = np.floor((values - anchor) / bin_width).astype(np.int32) + 1
    return levels if bin_count is None else np.minimum(levels, np.int32(bin_count))
