"""Regions drawn on images, from RTSTRUCT or SEG objects: which there are, which are meant, and their voxels."""

from __future__ import annotations

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask
from radfuse.errors import DataError


class Structures(ABC):
    """What one structure set or segmentation holds.

    Attributes
    ----------
    names : of the regions, as they are written; two may be the same.
    series : SeriesInstanceUIDs of the images they were drawn on.
    frame_of_reference : the frame that their coordinates are in.
    """

    names: tuple[str, ...]
    series: frozenset[str]
    frame_of_reference: str

    @abstractmethod
    def draw(self, region: int, grid: Geometry) -> npt.NDArray[np.bool_]:
        """Give the voxels (z, y, x) of one region on a grid."""


def choose(names: Sequence[str], rois: Sequence[str], *, join: bool = False) -> list[int]:
    """Decide which of the regions is meant.

    Parameters
    ----------
    names : the regions there are.
    rois : names, aliases or patterns (`GTV*`), in order of preference, without case; the first that fits anything
        decides. None given: there has to be one region only.
    join : whether several regions that fit become one.

    Examples
    --------
    >>> choose(["Body", "GTV_Mass_CT"], ["tumour", "gtv*"])
    [1]
    """
    listed = ", ".join(repr(name) for name in names) or "none"
    if not rois:
        if len(names) == 1:
            return [0]
        raise DataError(f"{len(names)} structures and none chosen: {listed}", hint="Choose with --roi NAME or 'GTV*'.")
    for roi in rois:
        fits = [i for i, name in enumerate(names) if fnmatch.fnmatchcase(name.casefold(), roi.casefold())]
        if len(fits) == 1 or (fits and join):
            return fits
        if fits:
            several = ", ".join(repr(names[i]) for i in fits)
            raise DataError(
                f"{roi!r} fits {len(fits)} structures: {several}",
                hint="Say which with --roi, or add --roi-join.",
            )
    raise DataError(
        f"no structure is named {' or '.join(map(repr, rois))}; there are {listed}", hint="Choose with --roi."
    )


def mask_of(structures: Structures, regions: Sequence[int], grid: Geometry, frame_of_reference: str) -> Mask:
    """Draw regions on an image's grid, joined; raise when frames differ or nothing is inside."""
    if structures.frame_of_reference and structures.frame_of_reference != frame_of_reference:
        raise DataError(
            "the structures are in another frame of reference (FrameOfReferenceUID) than the image",
            hint="Give the images that they were drawn on.",
        )
    inside = np.zeros(grid.shape, dtype=bool)
    for region in regions:
        inside |= structures.draw(region, grid)
    if not inside.any():
        named = ", ".join(repr(structures.names[region]) for region in regions)
        raise DataError(
            f"structure {named} has no voxel centre inside the image", hint="Is it empty, or drawn elsewhere?"
        )
    return Mask(inside.astype(np.uint8), grid)


def slices_skipped(mask: Mask) -> int:
    """How many slices between the first and the last of a region have none of it."""
    filled = np.flatnonzero(mask.inside.any(axis=(1, 2)))
    return int(filled[-1] - filled[0] + 1 - len(filled))
