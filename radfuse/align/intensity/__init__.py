"""Intensity: the scale that a modality's numbers are brought to. Each file is one method."""

from abc import abstractmethod
from collections.abc import Callable

from radfuse.component import Component
from radfuse.data.volume import Volume

Rescale = Callable[[Volume], Volume]


class Intensity(Component):
    """Bring the voxels of a modality to a scale that means the same in every patient."""

    @abstractmethod
    def build(self) -> Rescale:
        """Give the function: the same grid, finite voxels, and the unit they are in afterwards."""
