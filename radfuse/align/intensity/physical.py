"""Physical: Hounsfield units and SUV already mean the same everywhere."""

from typing import ClassVar, Literal

from radfuse.align.intensity import NOTHING_DRAWN, Intensity, Regions, Rescale
from radfuse.data.volume import Volume


class Physical(Intensity):
    """Keep the numbers and their unit."""

    linear: ClassVar[bool] = True

    method: Literal["physical"] = "physical"

    def build(self) -> Rescale:
        """Give the identity."""
        return _keep


def _keep(volume: Volume, regions: Regions = NOTHING_DRAWN) -> Volume:
    return volume
