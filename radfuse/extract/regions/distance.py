"""How far voxels lie from a region: exact Euclidean distances in millimetres, from voxel centre to voxel centre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from radfuse.data.box import Box, box_of, widened

Inside = npt.NDArray[np.bool_]

ROUNDING_MM = 1e-6
"""Spacings such as 0.9765625 mm make a distance of 3 voxels a little more or less than it is."""


def distance_mm(inside: Inside, spacing_mm: Sequence[float]) -> npt.NDArray[np.float64]:
    """Give the distance from each voxel's centre to the nearest centre in a region; 0 inside it.

    Centres, and not the surfaces of voxels: on a ball the corners that stick out of a voxelised surface would make a
    ring 0.6 voxels too thick, while centres make it 0.2 voxels too thin (measured on balls of 12 and 20 mm).

    Parameters
    ----------
    inside : the region, (z, y, x), not empty.
    spacing_mm : voxel size along x, y, z.

    Examples
    --------
    >>> distance_mm(np.array([[[True, False, False]]]), (2.0, 1.0, 1.0)).tolist()
    [[[0.0, 2.0, 4.0]]]
    """
    from scipy import ndimage

    distance: npt.NDArray[np.float64] = ndimage.distance_transform_edt(~inside, sampling=tuple(spacing_mm)[::-1])
    return distance


def depth_mm(inside: Inside, spacing_mm: Sequence[float]) -> npt.NDArray[np.float64]:
    """Give the distance from each voxel's centre in a region to the nearest centre outside, which is 0 itself.

    Beyond the array is outside.
    """
    return distance_mm(np.pad(~inside, 1, constant_values=True), spacing_mm)[1:-1, 1:-1, 1:-1]


def box_around(inside: Inside, spacing_mm: Sequence[float], margin_mm: float) -> Box:
    """Give the box (z, y, x) around a region with a margin, as far as the array goes; of nothing, nothing."""
    box = box_of(inside)
    if not inside[box].size:
        return box
    return widened(box, [int(np.ceil(margin_mm / size_mm)) + 1 for size_mm in reversed(spacing_mm)], inside.shape)
