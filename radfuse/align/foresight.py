"""What becomes of a region on the common grid, told without opening an image."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from radfuse.align.grid import carry, field_of_view, inside_share
from radfuse.data.box import box_of, widened
from radfuse.data.geometry import Geometry
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask

PAD_VOXELS = 2
"""Interpolation looks one voxel beyond; one more for the rounding of places."""


def foresee(mask: Mask, grid: Geometry, margin_mm: float = 0.0, supersampling: int = 1) -> Mask:
    """Carry a region to the part of a grid around it, as the headers place it.

    The voxels are those of `carry` onto the whole grid; a registration that moves the image on which it is drawn
    comes on top.

    Parameters
    ----------
    mask : the region, not empty.
    grid : the common grid.
    margin_mm : how much of the grid is wanted around the region.
    supersampling : see `carry`.
    """
    box = widened(box_of(mask.inside), (PAD_VOXELS,) * 3, mask.array.shape)
    small = Mask(mask.array[box].copy(), mask.geometry.part(box), mask.label)
    corners = np.linalg.inv(grid.index_to_physical) @ np.c_[small.geometry.corners_mm, np.ones(8)].T
    pad = PAD_VOXELS + np.ceil(margin_mm / np.asarray(grid.spacing_mm))
    first = np.clip(np.floor(corners[:3].min(axis=1) - pad), 0, np.asarray(grid.size) - 1)
    last = np.clip(np.ceil(corners[:3].max(axis=1) + pad), first, np.asarray(grid.size) - 1)
    x, y, z = (slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    return carry(small, grid.part((z, y, x)), Transform.identity(), supersampling)


def shown_by(region: Mask, scans: Iterable[Geometry]) -> Mask:
    """Cut a region to what scans cover by their headers; the region itself where each covers all of it.

    Parameters
    ----------
    region : on a part of the common grid.
    scans : the grids of the images as they were read.
    """
    if not region.voxels:
        return region
    corners = region.geometry.part(box_of(region.inside)).corners_mm
    for scan in scans:
        # Without the outer voxels, where rounding decides what is inside.
        z, y, x = (slice(1, max(2, n - 1)) for n in scan.shape)
        if min(scan.size) < 3 or inside_share(corners, scan.part((z, y, x))) < 1:
            region = region.within(field_of_view(scan, region.geometry, Transform.identity()))
    return region
