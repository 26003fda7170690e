"""Every voxel's neighbours: GLCM, GLDM and NGTDM."""

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled

Ints = npt.NDArray[np.int64]
Levels = npt.NDArray[np.int16]
Counts = npt.NDArray[np.int32]

PIECE = 2048


@compiled
def pair_counts(rows: Levels, places: npt.NDArray[np.int32], offsets: Ints, grey: int) -> Counts:
    """Count pairs of neighbours per direction.

    Outside is counted as a level of its own, the first, and left out of the answer: that is faster than to ask.

    Parameters
    ----------
    rows : the grey level of each voxel of the padded box, flat, numbered from 1 among those that occur; 0 outside
        the region. The pad is the longest offset.
    places : where in ``rows`` the voxels of the region are, rising.
    offsets : steps in ``rows``, one per direction.
    grey : how many grey levels occur.

    Returns
    -------
    pairs : (direction, row of the voxel, row of the neighbour).
    """
    wide = np.uint64(grey + 1)
    pairs = np.zeros((offsets.size, (grey + 1) * (grey + 1)), np.int32)
    starts = np.empty(PIECE, np.uint64)
    # In pieces that stay in the nearest cache from one direction to the next.
    for first in range(0, places.size, PIECE):
        piece = places[first : first + PIECE]
        for index in range(piece.size):
            starts[index] = np.uint64(rows[piece[index]]) * wide
        for direction in range(offsets.size):
            table = pairs[direction]
            step = offsets[direction]
            for index in range(piece.size):
                table[starts[index] + np.uint64(rows[np.uint64(piece[index] + step)])] += 1
    return pairs.reshape(offsets.size, grey + 1, grey + 1)[:, 1:, 1:]


@compiled
def surroundings(
    levels: Levels, rows: Levels, counts: npt.NDArray[np.uint16], width: int, offsets: Ints, alpha: int, grey: int
) -> tuple[Counts, npt.NDArray[np.float64]]:
    """Count dependent neighbours, and sum up the differences to the neighbours' mean.

    Works line by line over the whole box, the same for every voxel, so that the processor takes many at once.

    Parameters
    ----------
    levels, rows : grey levels and their numbers in the padded box, flat; 0 outside.
    counts : how many neighbours of each voxel are in the region.
    width : voxels of a line of the padded box; no step from a line with voxels of the region leads out of the box.
    offsets : steps to one neighbour of each opposite pair.
    alpha : neighbours that differ by no more than this are dependent.
    grey : how many grey levels occur.

    Returns
    -------
    dependences : (row, number of dependent neighbours).
    differences : (row, 2): how many voxels, and the sum of their differences to the mean of their neighbours.
    """
    dependences = np.zeros((grey, 2 * offsets.size + 1), np.int32)
    differences = np.zeros((grey, 2))
    dependent = np.zeros(width, np.int16)
    totals = np.zeros(width, np.int32)
    for start in range(0, levels.size, width):
        line = levels[start : start + width]
        if line.max() == 0:
            continue
        dependent[:] = 0
        totals[:] = 0
        for step in offsets:
            for sign in (-1, 1):
                other = levels[start + sign * step : start + sign * step + width]
                if alpha == 0:
                    for x in range(width):
                        dependent[x] += np.int16(other[x] == line[x])
                        totals[x] += other[x]
                else:
                    for x in range(width):
                        near = (other[x] > 0) & (abs(np.int32(other[x]) - line[x]) <= alpha)
                        dependent[x] += np.int16(near)
                        totals[x] += other[x]
        for x in range(width):
            if line[x] == 0:
                continue
            row = rows[start + x] - 1
            count = counts[start + x]
            dependences[row, dependent[x]] += 1
            differences[row, 0] += 1.0
            if count > 0:
                differences[row, 1] += abs(line[x] - totals[x] / count)
    return dependences, differences


@compiled
def neighbour_counts(inside: npt.NDArray[np.uint8], width: int, offsets: Ints) -> npt.NDArray[np.uint16]:
    """Count each voxel's neighbours that are in the region; arguments as for `surroundings`."""
    counts = np.zeros(inside.size, np.uint16)
    for start in range(0, inside.size, width):
        if inside[start : start + width].max() == 0:
            continue
        out = counts[start : start + width]
        for step in offsets:
            for sign in (-1, 1):
                other = inside[start + sign * step : start + sign * step + width]
                for x in range(width):
                    out[x] += other[x]
    return counts
