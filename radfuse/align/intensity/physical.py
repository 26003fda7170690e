"""Physical: Hounsfield units and SUV already mean the same everywhere."""

from typing import Literal

from radfuse.align.intensity import Intensity, Rescale
from radfuse.data.volume import Volume


class Physical(Intensity):
    """Keep the numbers and their unit."""

    method: Literal["physical"] = "physical"

    def build(self) -> Rescale:
        """Give the identity."""
        return _keep


def _keep(volume: Volume) -> Volume:
    return volume
