"""Closed contours onto a grid: a voxel is inside when its centre is, by the even-odd rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.errors import GeometryError

Points = npt.NDArray[np.float64]

OFF_SLICE_STEPS = 0.25  # a contour this far from every slice was drawn on other slices


def draw(contours: Sequence[Points], grid: Geometry) -> npt.NDArray[np.bool_]:
    """Give the voxels whose centres lie within an odd number of the contours of their slice.

    Contours inside contours are holes, and islands in holes count again; a keyhole contour, which runs into its hole
    and back on one path, needs no special care. Slices without a contour stay empty: nothing is interpolated.

    Parameters
    ----------
    contours : closed polygons, each (points, 3) in LPS millimetres; the last point need not repeat the first.
    grid : where to draw; contours have to lie in its slices.
    """
    to_index = np.linalg.inv(grid.index_to_physical)
    inside = np.zeros(grid.shape, dtype=bool)
    for contour in contours:
        index = contour @ to_index[:3, :3].T + to_index[:3, 3]
        _flip_inside(inside[_slice_of(index[:, 2], grid)], index[:, :2])
    return inside


def _slice_of(heights: Points, grid: Geometry) -> int:
    """The slice a contour lies in."""
    k = round(float(np.mean(heights)))
    off = float(np.abs(heights - k).max())
    if off > OFF_SLICE_STEPS:
        raise GeometryError(
            f"a contour lies {off:.2f} slices from the nearest slice of the image, expected less than "
            f"{OFF_SLICE_STEPS}",
            hint="The structure was drawn on another series: give that series too.",
        )
    if not 0 <= k < grid.size[2]:
        raise GeometryError(
            f"a contour lies beyond the image, {-k if k < 0 else k - grid.size[2] + 1} slices from its end",
            hint="Slices are missing at an end of the series: send the whole series again.",
        )
    return k


def _flip_inside(plane: npt.NDArray[np.bool_], polygon: Points) -> None:
    """Turn over every pixel of a slice (y, x) whose centre a ray along x leaves an odd number of times.

    An edge counts for the rows that it starts below or on and ends above (half open), so that a vertex on a row
    counts once (Shimrat 1962, ACM Algorithm 112, with Hacker's certification).
    """
    start, end = polygon, np.roll(polygon, -1, axis=0)
    first = max(0, int(np.floor(polygon[:, 1].min())))
    last = min(plane.shape[0] - 1, int(np.ceil(polygon[:, 1].max())))
    columns = np.arange(plane.shape[1])
    for row in range(first, last + 1):
        crosses = (start[:, 1] <= row) != (end[:, 1] <= row)
        if not crosses.any():
            continue
        a, b = start[crosses], end[crosses]
        at = np.sort(a[:, 0] + (row - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0]))
        beyond = len(at) - np.searchsorted(at, columns, side="right")
        plane[row] ^= (beyond % 2).astype(bool)
