"""The surface between region and background: cubes by case, and the farthest points of the surface."""

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@compiled
def cube_cases(inside: npt.NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """Count the cubes between voxel centres by which of their 8 corners are inside, and sum up where they are.

    Corner (dz, dy, dx) is bit ``4 dz + 2 dy + dx``.

    Parameters
    ----------
    inside : 0 or 1, (z, y, x), with an empty border.

    Returns
    -------
    counts : 256 numbers of cubes.
    sums : (256, 3) sums of the cubes' first corners along z, y, x.
    """
    counts = np.zeros(256, np.int64)
    sums = np.zeros((256, 3), np.int64)
    for z in range(inside.shape[0] - 1):
        for y in range(inside.shape[1] - 1):
            a, b, c, d = inside[z, y], inside[z, y + 1], inside[z + 1, y], inside[z + 1, y + 1]
            left = a[0] | b[0] << 2 | c[0] << 4 | d[0] << 6
            for x in range(1, inside.shape[2]):
                right = a[x] | b[x] << 2 | c[x] << 4 | d[x] << 6
                case = left | right << 1
                left = right
                if case == 0 or case == 255:
                    continue
                counts[case] += 1
                sums[case, 0] += z
                sums[case, 1] += y
                sums[case, 2] += x - 1
    return counts, sums


@compiled
def surface_extremes(inside: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Find the outermost surface points of every line along x and along y, in half voxels.

    A surface point lies halfway between a voxel inside and its neighbour outside along one axis.

    Parameters
    ----------
    inside : 0 or 1, (z, y, x), with an empty border.

    Returns
    -------
    along_x : (2 z, 2 y, 2): least and greatest 2 x; -1 where the line has no point.
    along_y : (2 z, 2 x, 2): least and greatest 2 y.
    """
    nz, ny, nx = inside.shape
    along_x = np.full((2 * nz, 2 * ny, 2), -1, np.int32)
    along_y = np.full((2 * nz, 2 * nx, 2), -1, np.int32)
    for z in range(nz - 1):
        for y in range(ny - 1):
            for x in range(nx - 1):
                here = inside[z, y, x]
                for axis in range(3):
                    dz, dy, dx = axis == 0, axis == 1, axis == 2
                    if inside[z + dz, y + dy, x + dx] == here:
                        continue
                    pz, py, px = 2 * z + dz, 2 * y + dy, 2 * x + dx
                    if along_x[pz, py, 0] < 0 or px < along_x[pz, py, 0]:
                        along_x[pz, py, 0] = px
                    along_x[pz, py, 1] = max(along_x[pz, py, 1], px)
                    if along_y[pz, px, 0] < 0 or py < along_y[pz, px, 0]:
                        along_y[pz, px, 0] = py
                    along_y[pz, px, 1] = max(along_y[pz, px, 1], py)
    return along_x, along_y


@compiled
def plane_hulls(lines: npt.NDArray[np.int32], row_mm: float, column_mm: float) -> tuple[Flags, float]:
    """Find the corners of the convex hull of every plane, and the largest squared distance within any plane.

    Parameters
    ----------
    lines : (plane, row, 2): least and greatest column of every row, in half voxels; -1 where there is none.
    row_mm, column_mm : voxel size between rows and between columns.

    Returns
    -------
    corners : like ``lines``: which of the points are corners of their plane's hull.
    largest_mm2 : the square of the largest distance between two points of one plane.
    """
    corners = np.zeros(lines.shape, np.bool_)
    largest = 0.0
    rows = np.empty(2 * lines.shape[1] + 2, np.int64)
    columns = np.empty(2 * lines.shape[1] + 2, np.int64)
    for plane in range(lines.shape[0]):
        found = 0
        for side in range(2):
            # One half of the hull by Andrew's monotone chain [1979, doi:10.1016/0020-0190(79)90072-3].
            sign = 1 if side == 0 else -1
            start = found
            for row in range(lines.shape[1]):
                column = lines[plane, row, side]
                if column < 0:
                    continue
                while found - start >= 2:
                    cross = (rows[found - 1] - rows[found - 2]) * (column - columns[found - 2]) - (
                        columns[found - 1] - columns[found - 2]
                    ) * (row - rows[found - 2])
                    if sign * cross > 0:
                        break
                    found -= 1
                rows[found], columns[found] = row, column
                found += 1
            for index in range(start, found):
                corners[plane, rows[index], side] = True
        for one in range(found):
            for other in range(one):
                across = 0.5 * (rows[one] - rows[other]) * row_mm
                along = 0.5 * (columns[one] - columns[other]) * column_mm
                largest = max(largest, across * across + along * along)
    return corners, largest


@compiled
def largest_distance(points_mm: npt.NDArray[np.float64]) -> float:
    """Give the largest squared distance between any two points (n, 3)."""
    largest = 0.0
    for one in range(points_mm.shape[0]):
        for other in range(one):
            dz = points_mm[one, 0] - points_mm[other, 0]
            dy = points_mm[one, 1] - points_mm[other, 1]
            dx = points_mm[one, 2] - points_mm[other, 2]
            largest = max(largest, dz * dz + dy * dy + dx * dx)
    return largest
