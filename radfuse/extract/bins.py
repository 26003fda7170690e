"""Which bin width gives a usable number of grey levels; asked of training subjects, never of those held out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError

# PyRadiomics' documentation (frequently asked questions, on the choice of binWidth): studies with 30 to 130 bins have
# shown good reproducibility and performance.
FEWEST, MOST = 30, 130
STEPS = (1.0, 2.0, 2.5, 5.0)
WIDTH, COUNT = "binWidth", "binCount"


@dataclass(frozen=True)
class Span:
    """The grey values of one image type in one region.

    Parameters
    ----------
    image_type : PyRadiomics' type, such as ``Original`` or ``Wavelet``, whose images share one width.
    least, greatest : after the resampling and resegmentation that the parameters ask for.
    width : the bin width that the parameters give.
    """

    image_type: str
    least: float
    greatest: float
    width: float


@dataclass(frozen=True)
class Levels:
    """How many grey levels a width makes of some regions.

    Parameters
    ----------
    width : in the unit of the values.
    fewest, median, most : over the regions.
    share : of the regions with 30 to 130.
    """

    width: float
    fewest: int
    median: float
    most: int
    share: float


@dataclass(frozen=True)
class Advice:
    """The width there is, and the one to take.

    Parameters
    ----------
    place : which parameters, such as ``CT`` or ``fused``.
    image_type : which images of theirs.
    regions : how many were looked at.
    present, advised : the two widths, and what they make of the regions.
    """

    place: str
    image_type: str
    regions: int
    present: Levels
    advised: Levels

    @property
    def yaml(self) -> str:
        """The line to paste into the PyRadiomics parameters."""
        line = f"{WIDTH}: {self.advised.width:g}"
        if self.image_type == "Original":
            return f"setting: {{{line}}}"
        return f"imageType: {{{self.image_type}: {{{line}}}}}"

    @property
    def keep(self) -> bool:
        """Whether the present width does as well."""
        return self.present.share >= self.advised.share and FEWEST <= self.present.median <= MOST


def spans(volume: Volume, mask: Mask, parameters: Mapping[str, Any]) -> list[Span]:
    """Give the range of grey values of every image that is cut by width; those cut into a fixed number need none.

    Parameters
    ----------
    volume, mask : on one grid.
    parameters : the contents of a PyRadiomics parameter file.
    """
    from radfuse.extract.containment import contained
    from radfuse.extract.measurement import PyRadiomicsMeasure
    from radfuse.extract.native import HandOver
    from radfuse.extract.native.filters import Source, filtered
    from radfuse.extract.native.region import prepare

    measure = PyRadiomicsMeasure(parameters, max_bins=1)
    measure.check(volume, mask)
    settings = {**measure.extractor.settings, "label": mask.label}
    own = {name: {**settings, **more} for name, more in measure.extractor.enabledImagetypes.items()}
    wide = {name: each for name, each in own.items() if each.get(COUNT) is None}
    found: list[Span] = []
    try:
        with contained():
            source = Source(prepare(volume, mask, settings, None), mask.label) if wide else None
            for name, each in wide.items():
                for image in filtered(source, name, each):  # type: ignore[arg-type]
                    low, high = float(image.values.min()), float(image.values.max())
                    found.append(Span(name, low, high, float(each.get(WIDTH, 25))))
    except (HandOver, ValueError, RuntimeError) as error:
        raise DataError(
            f"the grey values of {volume.modality} cannot be told: {error}", hint="Look at the region and its grid."
        ) from error
    return found


def levels(least: npt.ArrayLike, greatest: npt.ArrayLike, width: float) -> npt.NDArray[np.float64]:
    """Count the grey levels between values: PyRadiomics puts its edges at multiples of the width.

    Examples
    --------
    >>> levels([0.0, -1.0], [99.0, 1.0], 10.0).tolist()
    [10.0, 2.0]
    """
    counted: npt.NDArray[np.float64] = np.floor(np.asarray(greatest) / width) - np.floor(np.asarray(least) / width) + 1
    return counted


def advise(place: str, found: Sequence[Span]) -> Advice:
    """Find the round width (1, 2, 2.5 or 5 times a power of ten) that leaves most regions with 30 to 130 bins.

    Of widths that do so equally, the one whose median is nearest to the middle of that range, in proportion.

    Parameters
    ----------
    place : which parameters the regions are measured with.
    found : ranges of one image type, one per region and image.
    """
    least = np.array([span.least for span in found])
    greatest = np.array([span.greatest for span in found])
    reach = greatest - least
    if not found or not (reach > 0).any():
        raise ConfigError(
            f"no region of {place} has more than one grey value, so no width makes bins of it",
            hint="Look at the images and their units.",
        )
    widest, narrowest = float(reach.max()) / FEWEST, float(reach[reach > 0].min()) / MOST
    powers = range(math.floor(math.log10(narrowest)) - 1, math.ceil(math.log10(widest)) + 1)
    candidates = [_counted(least, greatest, float(f"{step}e{power}")) for power in powers for step in STEPS]
    middle = math.sqrt(FEWEST * MOST)
    best = max(candidates, key=lambda each: (each.share, -abs(math.log(each.median / middle))))
    return Advice(place, found[0].image_type, len(found), _counted(least, greatest, found[0].width), best)


def _counted(least: npt.NDArray[np.float64], greatest: npt.NDArray[np.float64], width: float) -> Levels:
    count = levels(least, greatest, width)
    share = float(((count >= FEWEST) & (count <= MOST)).mean())
    return Levels(width, int(count.min()), float(np.median(count)), int(count.max()), share)
