"""Runs and connected zones of equal grey levels."""

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled

Ints = npt.NDArray[np.int64]
Levels = npt.NDArray[np.int16]
Places = npt.NDArray[np.int32]


@compiled
def equal_behind(levels: Levels, width: int, offsets: Ints) -> npt.NDArray[np.uint16]:
    """Say for each voxel in which directions the voxel behind has the same level: bit ``d`` for ``offsets[d]``.

    Parameters
    ----------
    levels : grey levels of the padded box, flat; 0 outside the region, where the answer means nothing.
    width : voxels of a line of the padded box; no step from a line with voxels of the region leads out of the box.
    offsets : at most 16 positive steps.
    """
    bits = np.zeros(levels.size, np.uint16)
    for start in range(0, levels.size, width):
        line = levels[start : start + width]
        if line.max() == 0:
            continue
        out = bits[start : start + width]
        for direction in range(offsets.size):
            other = levels[start - offsets[direction] : start - offsets[direction] + width]
            bit = np.uint16(1 << direction)
            for x in range(width):
                out[x] |= bit if other[x] == line[x] else np.uint16(0)
    return bits


def run_lengths(
    levels: Levels, rows: Levels, places: Places, shape: tuple[int, int, int], angles: Ints, grey: int
) -> npt.NDArray[np.int32]:
    """Count runs by direction, row and length; arguments as for `lengths_reached`.

    Returns
    -------
    runs : (direction, row, length - 1).
    """
    longest = max(shape) + 1
    counts = lengths_reached(levels, rows, places, shape, angles, grey, longest)
    counts = counts.reshape(len(angles), grey + 1, longest)
    return np.asarray(counts[:, 1:, 1:-1] - counts[:, 1:, 2:])


@compiled
def lengths_reached(
    levels: Levels, rows: Levels, places: Places, shape: tuple[int, int, int], angles: Ints, grey: int, longest: int
) -> npt.NDArray[np.int32]:
    """Count the voxels that are the first, second, third of their run.

    A voxel whose neighbour behind has its level continues that one's run. As many runs are at least ``k`` long as
    there are voxels that are the ``k``-th of their run.

    Parameters
    ----------
    levels, rows : grey level of each voxel of the padded box and its number, flat; 0 outside the region.
    places : the voxels of the region, rising.
    shape : of the padded box, along z, y, x.
    angles : (direction, 3) steps of one voxel along z, y, x; the first that is not 0 is positive.
    grey : how many grey levels occur.
    longest : no run is as long.

    Returns
    -------
    reached : (direction, row and length); row 0 is empty, and so is length 0.
    """
    _, height, width = shape
    plane = height * width
    reached = np.zeros((angles.shape[0], (grey + 1) * longest), np.int32)
    # The lengths up to each voxel of this slice and of the one before, the two taking turns.
    room = 2 * plane + 2
    lengths = np.zeros(angles.shape[0] * room, np.int16)
    # Of the voxels of a line: where they are in it, and where the counts of their grey level start.
    columns, starts = np.empty(width, np.uint32), np.empty(width, np.uint64)
    done = 0
    while done < places.size:
        z, y = places[done] // plane, places[done] % plane // width
        start = z * plane + y * width
        line = levels[start : start + width]
        stop = done
        while stop < places.size and places[stop] < start + width:
            columns[stop - done] = places[stop] - start
            starts[stop - done] = rows[places[stop]] * longest
            stop += 1
        for direction in range(angles.shape[0]):
            dz, dy, dx = angles[direction]
            first = direction * room + (z & 1) * plane + y * width + 1
            own = lengths[first : first + width]
            if dz == 0 and dy == 0:
                for x in range(1, width):
                    own[x] = own[x - 1] + 1 if line[x] == line[x - 1] else 1
            else:
                step = (dz * height + dy) * width + dx
                other = levels[start - step : start - step + width]
                first = direction * room + ((z - dz) & 1) * plane + (y - dy) * width + 1 - dx
                behind = lengths[first : first + width]
                for x in range(width):
                    own[x] = behind[x] + np.int16(1) if other[x] == line[x] else np.int16(1)
            table = reached[direction]
            for index in range(stop - done):
                table[starts[index] + np.uint64(own[columns[index]])] += 1
        done = stop
    return reached


def shortcuts(angles: Ints) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint16]]:
    """Say which neighbours of a voxel need be joined to it.

    Two neighbours that touch each other are in one zone before the voxel is looked at; one of them is enough
    [Wu, Otoo & Suzuki 2009, doi:10.1007/s10044-008-0109-y].

    Parameters
    ----------
    angles : as for `run_lengths`, every direction in which voxels touch.

    Returns
    -------
    best : for each set of directions, as bits, the one to join first.
    covered : for each direction, the directions that it makes needless, as bits.
    """
    touching = {tuple(sign * angle) for angle in angles for sign in (-1, 0, 1)}
    covered = np.array(
        [sum(1 << other for other, angle in enumerate(angles) if tuple(angle - own) in touching) for own in angles],
        dtype=np.uint16,
    )
    best = np.full(1 << len(angles), -1, np.int8)
    for direction in sorted(range(len(angles)), key=lambda d: int(covered[d]).bit_count()):
        best[np.arange(best.size) >> direction & 1 == 1] = direction
    return best, covered


@compiled
def zones(
    bits: npt.NDArray[np.uint16], levels: Levels, places: Places, steps: Ints, best: npt.NDArray[np.int8],
    covered: npt.NDArray[np.uint16],
) -> tuple[Levels, Ints]:  # fmt: skip
    """Give the level and the size of every connected zone: union-find [Tarjan 1975, doi:10.1145/321879.321884].

    Parameters
    ----------
    bits : see `equal_behind`.
    levels : what is given back for each zone.
    places : the voxels of the region, rising.
    steps : what the bits stand for.
    best, covered : see `shortcuts`.
    """
    ring = 1
    while ring <= steps.max():
        ring *= 2
    last = ring - 1
    numbers = np.zeros(ring, np.int32)
    parents = np.empty(places.size, np.int32)
    for index in range(places.size):
        place = places[index]
        numbers[place & last] = index
        parents[index] = index
        root = index
        left = bits[place]
        while left != 0:
            direction = best[left]
            left &= ~covered[direction]
            top = numbers[(place - steps[direction]) & last]
            while parents[top] != top:
                parents[top] = parents[parents[top]]
                top = parents[top]
            # The first voxel of a zone stands for it.
            if top < root:
                parents[root] = top
                root = top
            elif root < top:
                parents[top] = root
    sizes = np.zeros(places.size, np.int32)
    count = 0
    for index in range(places.size):
        top = parents[parents[index]]
        parents[index] = top
        sizes[top] += 1
        count += top == index
    zone_levels = np.empty(count, np.int16)
    zone_sizes = np.empty(count, np.int64)
    filled = 0
    for index in range(places.size):
        if sizes[index] > 0:
            zone_levels[filled] = levels[places[index]]
            zone_sizes[filled] = sizes[index]
            filled += 1
    return zone_levels, zone_sizes
