"""Interpolation as IBSI has it: a grid with the same centre, nearest voxels beyond the border, parts of the mask."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.data.box import Box
from radfuse.data.geometry import Geometry

Floats = npt.NDArray[np.float64]
Inside = npt.NDArray[np.bool_]

# Half a voxel counts as inside, also where the sum of the weights is a rounding error short of it.
ROUNDING = 1e-9

# The cubic spline's pole is 0.27: this many voxels on, nothing of a coefficient is left, not one bit.
SPLINE_REACH = 48


def grid_for(geometry: Geometry, spacing_mm: Sequence[float] | None) -> Geometry:
    """Give the grid to interpolate on: same centre, n' = ceil(n d / s) voxels (manual 2.4.1).

    Parameters
    ----------
    geometry : the image's grid.
    spacing_mm : wanted voxel size along x, y, z; 0 keeps an axis, None keeps all.
    """
    if spacing_mm is None:
        return geometry
    x, y, z = (new or old for new, old in zip(spacing_mm, geometry.spacing_mm, strict=True))
    return geometry.with_spacing_mm(x, y, z)


def positions_of(grid: Geometry, geometry: Geometry) -> list[Floats]:
    """Say where a grid's voxels lie in an image with the same centre, in its voxels along z, y, x, kept inside it."""
    found = []
    ratios = np.array(grid.spacing_mm[::-1]) / np.array(geometry.spacing_mm[::-1])
    for new, old, ratio in zip(grid.shape, geometry.shape, ratios, strict=True):
        place = (np.arange(new) - (new - 1) / 2) * ratio + (old - 1) / 2
        whole = np.rint(place)
        place = np.where(np.abs(place - whole) < ROUNDING, whole, place)
        found.append(np.clip(place, 0, old - 1))
    return found


def sampled(array: npt.NDArray[Any], positions: Sequence[Floats], interpolator: str) -> Floats:
    """Interpolate at the crossings of positions along z, y, x.

    Parameters
    ----------
    array : (z, y, x), any real type.
    positions : in voxels, none beyond the first or the last.
    interpolator : ``linear`` or ``bspline`` (cubic).
    """
    reach = SPLINE_REACH if interpolator == "bspline" else 0
    cut, places = [], []
    for place, size in zip(positions, array.shape, strict=True):
        part = slice(max(0, int(place[0]) - reach), min(size, int(np.ceil(place[-1])) + 1 + reach))
        cut.append(part)
        places.append(place - part.start)
    values = np.array(array[tuple(cut)], dtype=np.float64)
    for axis, place in enumerate(places):
        # Where every position is a voxel, interpolation along that axis gives the voxels back.
        if np.array_equal(place, np.rint(place)):
            values = np.take(values, place.astype(np.int64), axis)
        elif interpolator == "bspline":
            values = _spline(values, place, axis)
        else:
            values = _linear(values, place, axis)
    return values


def _linear(values: Floats, place: Floats, axis: int) -> Floats:
    last = values.shape[axis] - 1
    below = np.minimum(np.floor(place).astype(np.int64), max(last - 1, 0))
    above = np.minimum(below + 1, last)
    share = _along(place - below, axis)
    return np.asarray(np.take(values, below, axis) * (1 - share) + np.take(values, above, axis) * share)


def _spline(values: Floats, place: Floats, axis: int) -> Floats:
    """Cubic B-spline with a mirror at the border [Unser 1999, doi:10.1109/79.799930]."""
    from scipy.ndimage import spline_filter1d

    size = values.shape[axis]
    coefficients = spline_filter1d(values, order=3, axis=axis, mode="mirror")
    base = np.floor(place).astype(np.int64)
    w = place - base
    weights = ((1 - w) ** 3 / 6, 2 / 3 - w**2 + w**3 / 2, 2 / 3 - (1 - w) ** 2 + (1 - w) ** 3 / 2, w**3 / 6)
    total = np.zeros([place.size if other == axis else count for other, count in enumerate(values.shape)])
    for step, weight in zip((-1, 0, 1, 2), weights, strict=True):
        index = np.abs(base + step)
        index = np.where(index > size - 1, 2 * (size - 1) - index, index)
        total += np.take(coefficients, index, axis) * _along(weight, axis)
    return total


def _along(values: Floats, axis: int) -> Floats:
    shape = [1, 1, 1]
    shape[axis] = values.size
    return values.reshape(shape)


def window(inside: Inside, positions: Sequence[Floats], reach_mm: float, geometry: Geometry) -> Box:
    """Say which part of the new grid holds the region and what lies around it.

    Parameters
    ----------
    inside : the region on the image's grid, not empty.
    positions : of the new grid's voxels in the image.
    reach_mm : how far around the region.
    geometry : the image's grid.
    """
    parts = []
    for axis, (place, spacing) in enumerate(zip(positions, geometry.spacing_mm[::-1], strict=True)):
        rows = np.flatnonzero(inside.any(tuple(other for other in range(3) if other != axis)))
        step = place[1] - place[0] if len(place) > 1 else 0.0
        reach = reach_mm / spacing + max(step, 1.0)
        near = np.flatnonzero((place >= rows[0] - reach) & (place <= rows[-1] + reach))
        parts.append(slice(int(near[0]), int(near[-1]) + 1))
    return parts[0], parts[1], parts[2]
