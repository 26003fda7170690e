"""Boxes of voxels around regions: slices along z, y, x."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Box = tuple[slice, slice, slice]


def box_of(inside: npt.NDArray[np.bool_]) -> Box:
    """Give the least box that holds a region; of nothing, nothing.

    Examples
    --------
    >>> box_of(np.array([[[False, True, True, False]]]))
    (slice(0, 1, None), slice(0, 1, None), slice(1, 3, None))
    """
    planes = np.flatnonzero(inside.reshape(inside.shape[0], -1).any(1))
    if not len(planes):
        return slice(0, 0), slice(0, 0), slice(0, 0)
    within = inside[planes[0] : planes[-1] + 1]
    lines = (planes, np.flatnonzero(within.any((0, 2))), np.flatnonzero(within.any((0, 1))))
    z, y, x = (slice(int(found[0]), int(found[-1]) + 1) for found in lines)
    return z, y, x


def widened(box: Box, voxels: Sequence[int], shape: Sequence[int]) -> Box:
    """Give a box with a margin, as far as the array goes.

    Parameters
    ----------
    voxels : of the margin, along z, y, x.
    shape : of the array, (z, y, x).
    """
    z, y, x = (
        slice(max(0, part.start - int(pad)), min(int(size), part.stop + int(pad)))
        for part, pad, size in zip(box, voxels, shape, strict=True)
    )
    return z, y, x


def size_of(box: Box) -> tuple[int, int, int]:
    """Give the voxels of a box along x, y, z."""
    z, y, x = (part.stop - part.start for part in box)
    return x, y, z


def touches_border(inside: npt.NDArray[np.bool_]) -> bool:
    """Whether a region reaches the first or last voxel of its grid, where it may be cut off and filters end."""
    return any(bool(np.take(inside, end, axis=axis).any()) for axis in range(3) for end in (0, -1))
