"""The compiled loop of registration: mutual information of two images under an affine map, at given points."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

F = TypeVar("F", bound=Callable[..., Any])
Array = npt.NDArray[Any]


def compiled(function: F) -> F:
    """Compile at the first call and keep the machine code on disk, where a cache folder can be written."""
    try:
        return cast(F, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(F, numba.njit(nogil=True)(function))


@compiled
def information(points: Array, rows: Array, bins: int, moving: Array, matrix: Array) -> tuple[float, int]:
    """Give the mutual information in nats, and how many points fell inside the moving image.

    A moving value is shared between the two nearest bins in proportion (a first-order B-spline as Parzen window, which
    makes the measure a smooth function of the map) [Thevenaz & Unser 2000, doi:10.1109/83.887976]. The bias of a
    histogram of few points is taken off, for it would favour maps that keep few inside: (cells - rows - columns + 1)
    / 2n of those in use [Miller 1955; Roulston 1999, doi:10.1016/S0167-2789(98)00269-3, eq. 12].

    Parameters
    ----------
    points : places (n, 3) of the fixed image, any coordinates.
    rows : the fixed image's bin (n,) at each.
    moving : (z, y, x), scaled to 0 .. bins - 1.
    matrix : (3, 4), from those coordinates to the moving image's indices x, y, z.
    """
    depth, height, width = moving.shape
    joint = np.zeros((bins, bins))
    inside = 0
    for n in range(points.shape[0]):
        a, b, c = points[n, 0], points[n, 1], points[n, 2]
        x = matrix[0, 0] * a + matrix[0, 1] * b + matrix[0, 2] * c + matrix[0, 3]
        y = matrix[1, 0] * a + matrix[1, 1] * b + matrix[1, 2] * c + matrix[1, 3]
        z = matrix[2, 0] * a + matrix[2, 1] * b + matrix[2, 2] * c + matrix[2, 3]
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5 and -0.5 <= z <= depth - 0.5):
            continue
        inside += 1
        x = min(max(x, 0.0), width - 1.0)
        y = min(max(y, 0.0), height - 1.0)
        z = min(max(z, 0.0), depth - 1.0)
        i, j, k = int(x), int(y), int(z)
        i1, j1, k1 = min(i + 1, width - 1), min(j + 1, height - 1), min(k + 1, depth - 1)
        u, v, w = x - i, y - j, z - k
        near = (moving[k, j, i] * (1 - u) + moving[k, j, i1] * u) * (1 - v) + (
            moving[k, j1, i] * (1 - u) + moving[k, j1, i1] * u
        ) * v
        far = (moving[k1, j, i] * (1 - u) + moving[k1, j, i1] * u) * (1 - v) + (
            moving[k1, j1, i] * (1 - u) + moving[k1, j1, i1] * u
        ) * v
        value = near * (1 - w) + far * w
        column = int(value)
        share = value - column
        joint[rows[n], column] += 1.0 - share
        if share > 0.0:
            joint[rows[n], min(column + 1, bins - 1)] += share
    if inside == 0:
        return 0.0, 0
    by_row, by_column = joint.sum(axis=1), joint.sum(axis=0)
    total, cells = 0.0, 0
    for r in range(bins):
        for s in range(bins):
            count = joint[r, s]
            if count > 0.0:
                cells += 1
                total += count * np.log(count * inside / (by_row[r] * by_column[s]))
    used = np.count_nonzero(by_row) + np.count_nonzero(by_column)
    return total / inside - (cells - used + 1) / (2.0 * inside), inside
