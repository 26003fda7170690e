"""Partial volume: what a scanner's point spread took from small hot regions. Each file is one method."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol

from radfuse.align.resolution import Triple
from radfuse.component import Component
from radfuse.data.volume import Mask, Volume


class Correct(Protocol):
    """The function that a member builds."""

    def __call__(self, volume: Volume, regions: Mapping[str, Mask], fwhm_mm: Triple) -> Volume:
        """Give the corrected volume.

        Parameters
        ----------
        volume : linear in activity, on the common grid.
        regions : drawn on the anatomy, on the same grid, the main one first; an earlier one owns shared voxels.
        fwhm_mm : the point spread along x, y, z of the grid.
        """


class PartialVolume(Component):
    """Undo the blur of a region by its surroundings, guided by outlines; geometry, unit and far voxels stay.

    The correction is as good as the outline: drawn too small or large, it makes activity where there is none.
    """

    @abstractmethod
    def build(self) -> Correct:
        """Give the function."""
