"""Partial volume: what a scanner's point spread took from small hot regions. Each file is one method."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from radfuse.align.resolution import Triple
from radfuse.component import Component
from radfuse.data.continuation import gone_on
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


def corrected(correct: Correct, volume: Volume, drawn: Mapping[str, Mask], fwhm_mm: Triple, view: Mask) -> Volume:
    """Correct a volume as far as its scan covers the grid.

    Activity goes on beyond the edge of a scan and spills over it: image and regions are gone on with alike.

    Parameters
    ----------
    drawn : the regions, whole; see `Correct` for these, ``volume`` and ``fwhm_mm``.
    view : what the scan covers.
    """
    regions = {region: replace(mask, array=gone_on(mask.array, view.inside)) for region, mask in drawn.items()}
    found = correct(volume.gone_on(view), regions, fwhm_mm)
    return found.with_array(np.where(view.inside, found.array, volume.array))
