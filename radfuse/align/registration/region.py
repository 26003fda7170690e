"""Where to look: the surroundings of a region, instead of the whole image."""

from __future__ import annotations

import numpy as np

from radfuse.align.grid import carry
from radfuse.data.geometry import Geometry
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask


def around(region: Mask | None, grid: Geometry, margin_mm: float | None) -> Mask | None:
    """Give the points of a grid within a distance of a region; None, which means everywhere, without either.

    Parameters
    ----------
    region : anywhere in the grid's space.
    margin_mm : how far from the region's surface the metric still looks; inside it looks everywhere.
    """
    from scipy.ndimage import distance_transform_edt

    if region is None or margin_mm is None:
        return None
    inside = carry(region, grid, Transform.identity()).inside
    if not inside.any():
        return None
    near = distance_transform_edt(~inside, sampling=grid.spacing_mm[::-1]) <= margin_mm
    return Mask(near.astype(np.uint8), grid)


def carried(look: Mask | None, grid: Geometry, found: Transform) -> Mask | None:
    """Take where to look over to the moving image's grid, for the way back."""
    if look is None:
        return None
    there = carry(look, grid, found.inverse)
    return there if there.voxels else None
