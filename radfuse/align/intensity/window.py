"""Window: what lies outside of the range of interest is brought to its ends."""

from typing import Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from radfuse.align.intensity import NOTHING_DRAWN, Intensity, Regions, Rescale
from radfuse.align.intensity.tissue import finite_values
from radfuse.data.volume import Volume


class Window(Intensity):
    """Clip to a range in the volume's own unit, which stays; `scaled` maps the range to 0..1 in a.u.

    The voxels of the scan are clipped before they are resampled, so that metal and air do not reach their neighbours.
    Brighter stays at least as bright; beyond the ends all become alike.
    """

    method: Literal["window"] = "window"
    low: FiniteFloat = Field(-160.0, description="Lower end; the default is the soft-tissue window of CT, in HU.")
    high: FiniteFloat = Field(240.0, description="Upper end.")
    scaled: bool = Field(False, description="Map low to 0 and high to 1; the unit is then a.u.")

    @model_validator(mode="after")
    def _in_order(self) -> "Window":
        if self.low >= self.high:
            raise ValueError(f"low must be below high, found low {self.low:g} and high {self.high:g}")
        return self

    def build(self) -> Rescale:
        """Give the function."""

        def rescale(volume: Volume, regions: Regions = NOTHING_DRAWN) -> Volume:
            values = np.clip(finite_values(volume), self.low, self.high)
            if not self.scaled:
                return volume.with_array(values.astype(np.float32))
            return volume.with_array(((values - self.low) / (self.high - self.low)).astype(np.float32), "a.u.")

        return rescale
