"""Bring every modality to one scale before fusing: affine, per volume, invertible, never clipped."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from radfuse.component import Frozen
from radfuse.data.volume import Volume
from radfuse.errors import DataError
from radfuse.fuse import Array


@dataclass(frozen=True)
class Affine:
    """The map of one volume, ``normalised = (value - low) / width``; its inverse is exact.

    Parameters
    ----------
    low : the value that becomes 0: background.
    width : how much of the volume's unit makes 1. A bin width b of fused features is b * width in this unit.
    unit : the volume's unit.
    """

    low: float
    width: float
    unit: str

    def apply(self, array: np.ndarray[Any, Any]) -> Array:
        """Normalise."""
        return ((array.astype(np.float64) - self.low) / self.width).astype(np.float32)

    def invert(self, array: np.ndarray[Any, Any]) -> Array:
        """Give back the volume's own unit."""
        return (array.astype(np.float64) * self.width + self.low).astype(np.float32)

    def record(self) -> dict[str, Any]:
        """The parameters, to be stored beside the result."""
        return asdict(self)


class Window(Frozen):
    """A fixed window, the same for every volume: the right choice where the unit is physical."""

    kind: Literal["window"] = "window"
    low: float = Field(description="Value that becomes 0; air or no uptake.")
    high: float = Field(description="Value that becomes 1; nothing is clipped beyond it.")

    @model_validator(mode="after")
    def _ordered(self) -> "Window":
        if not self.low < self.high:
            raise ValueError(f"a window goes from low to high, found {self.low:g} to {self.high:g}")
        return self

    def measure(self, volume: Volume) -> Affine:
        """Give the map; the volume's values do not matter."""
        return Affine(self.low, self.high - self.low, volume.unit)


class Spread(Frozen):
    """The volume's own spread, for arbitrary units such as MR: a z-score shifted so that background becomes 0.

    ``width`` is a number of standard deviations of the tissue: voxels more than a tenth of the way from the
    volume's minimum to its 99th percentile, as is the mean of the 27 around them. Single voxels of air that noise
    lifts over that line do not count, or the width would follow how much air a scan shows. A volume that is in
    standard deviations already (unit z) is taken at its word. The lesion's mask plays no part, so a new contour
    never changes a fused volume.
    """

    TISSUE: ClassVar[float] = 0.1

    kind: Literal["spread"] = "spread"
    deviations: PositiveFloat = Field(5.0, description="Standard deviations of tissue that make 1.")

    def measure(self, volume: Volume) -> Affine:
        """Measure the map on a volume."""
        from scipy.ndimage import uniform_filter

        values = volume.array.astype(np.float64)
        low = float(values.min())
        deviation = 1.0
        if volume.unit != "z":
            line = low + self.TISSUE * (np.percentile(values, 99) - low)
            tissue = values[(values > line) & (uniform_filter(values, 3) > line)]
            deviation = float(tissue.std()) if tissue.size else 0.0
        if deviation <= 0:
            # A constant volume has no spread to measure; any width maps it to 0.
            deviation = 1.0
        return Affine(low, self.deviations * deviation, volume.unit)


Normalisation = Annotated[Window | Spread, Field(discriminator="kind")]

# One fused step stands for the customary bin width of each unit: 1/80 is 25 HU and 0.25 SUV (and 1/16 of a standard
# deviation of MR). A window up to 3071 HU would leave fat and muscle 0.03 apart, below the noise of PET in a lesion.
DEFAULTS: dict[str, Window | Spread] = {
    "CT": Window(low=-1024, high=976),
    "PET": Window(low=0, high=20),
    "PT": Window(low=0, high=20),
    "default": Spread(),
}


def normalisation_for(modality: str, given: dict[str, Window | Spread]) -> Window | Spread:
    """Choose by modality, then by the part of its name before the first underscore, then ``default``.

    Examples
    --------
    >>> normalisation_for("MR_T1", DEFAULTS).kind, normalisation_for("PET_late", DEFAULTS).kind
    ('spread', 'window')
    """
    return given.get(modality) or given.get(modality.partition("_")[0]) or given["default"]


def normalise(volume: Volume, normalisation: Window | Spread) -> tuple[Array, Affine]:
    """Normalise a volume, and say how.

    Raises `DataError` where a voxel is not a finite number.
    """
    if not np.isfinite(volume.array).all():
        bad = int(volume.array.size - np.isfinite(volume.array).sum())
        raise DataError(
            f"{volume.modality} holds {bad} voxels that are not finite numbers",
            hint="Look at the image: a failed conversion or resampling leaves NaN.",
        )
    affine = normalisation.measure(volume)
    return affine.apply(volume.array), affine
