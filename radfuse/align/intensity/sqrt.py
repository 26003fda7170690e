"""Square root of uptake or counts: it evens out Poisson noise, whose variance grows with the mean."""

from typing import Literal

import numpy as np

from radfuse.align.intensity import NOTHING_DRAWN, Intensity, Regions, Rescale
from radfuse.align.intensity.tissue import finite_values
from radfuse.data.volume import Volume


class Sqrt(Intensity):
    """Take the square root; the unit becomes sqrt(SUV), or that of whatever is given.

    Of counts, twice the root has a variance of about 1 whatever the mean [Bartlett, J R Stat Soc Suppl 3:68, 1936].
    Below zero, where reconstruction may stray, it is ``-sqrt(-v)``: odd and strictly increasing.
    """

    method: Literal["sqrt"] = "sqrt"

    def build(self) -> Rescale:
        """Give the function."""
        return _root


def _root(volume: Volume, regions: Regions = NOTHING_DRAWN) -> Volume:
    values = finite_values(volume)
    root = np.copysign(np.sqrt(np.abs(values)), values)
    return volume.with_array(root.astype(np.float32), f"sqrt({volume.unit})")
