"""What becomes of a region on the common grid, told without opening an image."""

from __future__ import annotations

import numpy as np

from radfuse.align.grid import carry
from radfuse.data.geometry import Geometry
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask

PAD_VOXELS = 2
"""Interpolation looks one voxel beyond; one more for the rounding of places."""


def foresee(mask: Mask, grid: Geometry, margin_mm: float = 0.0) -> Mask:
    """Carry a region to the part of a grid around it, as the headers place it.

    The voxels are those of `carry` onto the whole grid; a registration that moves the image on which it is drawn
    comes on top.

    Parameters
    ----------
    mask : the region, not empty.
    grid : the common grid.
    margin_mm : how much of the grid is wanted around the region.
    """
    small = _box(mask)
    corners = np.linalg.inv(grid.index_to_physical) @ np.c_[small.geometry.corners_mm, np.ones(8)].T
    pad = PAD_VOXELS + np.ceil(margin_mm / np.asarray(grid.spacing_mm))
    first = np.clip(np.floor(corners[:3].min(axis=1) - pad), 0, np.asarray(grid.size) - 1)
    last = np.clip(np.ceil(corners[:3].max(axis=1) + pad), first, np.asarray(grid.size) - 1)
    return carry(small, _part(grid, first.astype(int), last.astype(int)), Transform.identity())


def _box(mask: Mask) -> Mask:
    where = np.argwhere(mask.inside)[:, ::-1]
    first = np.maximum(where.min(axis=0) - PAD_VOXELS, 0)
    last = np.minimum(where.max(axis=0) + PAD_VOXELS, np.asarray(mask.geometry.size) - 1)
    cut = tuple(slice(a, b + 1) for a, b in zip(first[::-1], last[::-1], strict=True))
    return Mask(mask.array[cut].copy(), _part(mask.geometry, first, last), mask.label)


def _part(grid: Geometry, first: np.ndarray, last: np.ndarray) -> Geometry:
    x, y, z = (int(n) for n in last - first + 1)
    origin = (grid.index_to_physical @ [*first, 1.0])[:3]
    return Geometry((x, y, z), grid.spacing_mm, tuple(float(v) for v in origin), grid.direction)  # type: ignore[arg-type]
