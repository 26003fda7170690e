"""Intensity: the scale that a modality's numbers are brought to. Each file is one method."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Protocol

from radfuse.component import Component
from radfuse.data.volume import Mask, Volume

Regions = Mapping[str, Mask]
"""What is drawn, by name, on the grid of the volume; the main region is `data.region.MAIN`."""

NOTHING_DRAWN: Regions = MappingProxyType({})


class Rescale(Protocol):
    """The function that a member builds."""

    def __call__(self, volume: Volume, regions: Regions = NOTHING_DRAWN) -> Volume:
        """Give the volume on the new scale; the regions are looked at by members that are told to."""


class Intensity(Component):
    """Bring the voxels of a modality to a scale that means the same in every patient.

    ``monotone`` says whether brighter stays at least as bright, which makes rank features comparable; ``linear``
    whether it is one gain and one offset for the whole image, so that resampling before or after is the same.
    """

    monotone: ClassVar[bool] = True
    linear: ClassVar[bool] = False

    reads: ClassVar[str] = ""
    """The setting that names a file which the scale needs; empty where it needs none."""

    @abstractmethod
    def build(self) -> Rescale:
        """Give the function: the same grid, finite voxels, and the unit they are in afterwards."""

    def require_after(self, before: Sequence[str]) -> None:
        """Raise a ConfigError where the scale was learned after other steps than these; most are not learned."""

    def looked_at(self) -> frozenset[str]:
        """Give the SHA-256 of the image files from which the scale was learned; none where nothing was."""
        return frozenset()
