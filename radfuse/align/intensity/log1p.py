"""Logarithm of uptake: SUV of tumours spread over orders of magnitude."""

from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat

from radfuse.align.intensity import NOTHING_DRAWN, Intensity, Regions, Rescale
from radfuse.align.intensity.tissue import finite_values
from radfuse.data.volume import Volume


class Log1p(Intensity):
    """Take ``ln(1 + v / unit_value)``; the unit becomes ln(1+SUV), or that of whatever is given.

    Reconstruction leaves values slightly below zero; the function goes on there as an odd one, ``-ln(1 - v)``, so that
    it stays smooth and strictly increasing. Bin widths and windows in SUV no longer hold afterwards.
    """

    method: Literal["log1p"] = "log1p"
    unit_value: PositiveFloat = Field(1.0, description="The uptake at which the result is ln 2, in the volume's unit.")

    def build(self) -> Rescale:
        """Give the function."""

        def rescale(volume: Volume, regions: Regions = NOTHING_DRAWN) -> Volume:
            values = finite_values(volume) / self.unit_value
            logarithm = np.copysign(np.log1p(np.abs(values)), values)
            measure = volume.unit if self.unit_value == 1.0 else f"{volume.unit}/{self.unit_value:g}"
            return volume.with_array(logarithm.astype(np.float32), f"ln(1+{measure})")

        return rescale
