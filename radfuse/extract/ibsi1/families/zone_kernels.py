"""Compiled loops for zones: how far from the border each voxel is, and level, size and distance of every zone."""

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled

Levels = npt.NDArray[np.int16]
Places = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]


@compiled
def border_distances(inside: npt.NDArray[np.bool_], flat: bool) -> Places:
    """Count the steps over voxel faces from each voxel to the nearest voxel outside, 1 at the border, 0 outside.

    One sweep forward and one backward are exact for steps over faces [Rosenfeld & Pfaltz 1966,
    doi:10.1145/321356.321357]. What lies beyond the array is outside.

    Parameters
    ----------
    inside : the region, (z, y, x).
    flat : step within slices only.
    """
    nz, ny, nx = inside.shape
    steps = np.zeros((nz + 2, ny + 2, nx + 2), np.int32)
    for z in range(1, nz + 1):
        for y in range(1, ny + 1):
            for x in range(1, nx + 1):
                if inside[z - 1, y - 1, x - 1]:
                    least = min(steps[z, y - 1, x], steps[z, y, x - 1])
                    steps[z, y, x] = 1 + (least if flat else min(least, steps[z - 1, y, x]))
    for z in range(nz, 0, -1):
        for y in range(ny, 0, -1):
            for x in range(nx, 0, -1):
                least = min(steps[z, y + 1, x], steps[z, y, x + 1])
                if not flat:
                    least = min(least, steps[z + 1, y, x])
                steps[z, y, x] = min(steps[z, y, x], 1 + least)
    return steps[1:-1, 1:-1, 1:-1]


@compiled
def zones_with_distances(
    bits: npt.NDArray[np.uint16], rows: Levels, distances: Places, places: Places, steps: Ints,
    best: npt.NDArray[np.int8], covered: npt.NDArray[np.uint16],
) -> tuple[Levels, Ints, Ints]:  # fmt: skip
    """Give the row, the size and the least distance of every connected zone [Tarjan 1975, doi:10.1145/321879.321884].

    Parameters
    ----------
    bits : in which directions each voxel has the level of the one behind, see `radfuse.extract.kernels.runs`.
    rows, distances : of every voxel of the padded box, flat.
    places : the voxels of the region, rising.
    steps : what the bits stand for.
    best, covered : which neighbours need be joined, see `radfuse.extract.kernels.runs.shortcuts`.
    """
    ring = 1
    while ring <= steps.max():
        ring *= 2
    numbers = np.zeros(ring, np.int32)
    parents = np.empty(places.size, np.int32)
    for index in range(places.size):
        place = places[index]
        numbers[place & (ring - 1)] = index
        parents[index] = index
        root = index
        left = bits[place]
        while left != 0:
            direction = best[left]
            left &= ~covered[direction]
            top = numbers[(place - steps[direction]) & (ring - 1)]
            while parents[top] != top:
                parents[top] = parents[parents[top]]
                top = parents[top]
            # The first voxel of a zone stands for it.
            if top < root:
                parents[root] = top
                root = top
            elif root < top:
                parents[top] = root
    count = 0
    sizes = np.zeros(places.size, np.int64)
    least = np.zeros(places.size, np.int64)
    zone_rows = np.zeros(places.size, np.int16)
    for index in range(places.size):
        top = parents[index]
        if top == index:
            # From here on the parents say which zone: a parent comes before its children.
            parents[index] = count
            zone_rows[count] = rows[places[index]]
            least[count] = distances[places[index]]
            count += 1
        else:
            parents[index] = parents[top]
        zone = parents[index]
        sizes[zone] += 1
        least[zone] = min(least[zone], distances[places[index]])
    return zone_rows[:count], sizes[:count], least[:count]


@compiled
def tone_sums(
    greys: npt.NDArray[np.float64], shares: npt.NDArray[np.float64], sums: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Give the double sums over grey levels of the neighbourhood grey tone difference features.

    Parameters
    ----------
    greys : grey levels that occur.
    shares, sums : of each its share of the voxels, and the sum of differences to the mean of the neighbours.

    Returns
    -------
    four sums over all pairs: ``p_i p_j (i - j)^2``, ``|i p_i - j p_j|``, ``|i - j| (p_i s_i + p_j s_j) / (p_i + p_j)``
    and ``(p_i + p_j) (i - j)^2``.
    """
    found = np.zeros(4)
    for one in range(greys.size):
        for other in range(one):
            apart = abs(greys[one] - greys[other])
            both = shares[one] + shares[other]
            found[0] += shares[one] * shares[other] * apart * apart
            found[1] += abs(greys[one] * shares[one] - greys[other] * shares[other])
            found[2] += apart * (shares[one] * sums[one] + shares[other] * sums[other]) / both
            found[3] += both * apart * apart
    return 2.0 * found
