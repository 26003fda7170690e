"""GLDM, GLRLM, GLSZM and NGTDM of every neighbourhood.

What calls each other is in one file: compiled code is kept by file, and would not notice a change in another.
"""

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Grey = npt.NDArray[np.int16]
Places = npt.NDArray[np.uint16]

SIZES, TONES = 16, 5


@compiled
def dependence_maps(
    levels: Grey, centres: Ints, steps: Ints, greatest: int, first: Places, second: Places, alpha: int, out: Floats
) -> None:
    """Fill ``out`` (voxel, 16) with the features of the dependences [Sun & Wee 1983, doi:10.1016/0734-189X(83)90032-4].

    Parameters
    ----------
    levels, centres, steps : see `radfuse.extract.voxelwise.neighbourhood.Levels`.
    greatest : the greatest level.
    first, second : pairs of neighbours among the cells.
    alpha : neighbours that differ by no more than this are dependent.
    """
    cells = steps.size
    slots = np.full(greatest + 1, -1, np.int64)
    local, grey, values = np.empty(cells, np.int64), np.empty(cells, np.int64), np.empty((cells, 3))
    whole = np.maximum(np.arange(cells + 1.0), 1.0)
    small_areas, logs = whole**-2.0, whole * np.log2(whole)
    by_grey, by_size, table = np.zeros(cells), np.zeros(cells + 1), np.zeros(cells * (cells + 1))
    items, ones = np.empty((cells, 2), np.int64), np.ones(cells)
    dependent = np.empty(cells, np.int64)
    for voxel in range(centres.size):
        count = _localised(levels, centres[voxel], steps, slots, local, grey, values)
        dependent[:] = 1
        for pair in range(first.size):
            one, other = first[pair], second[pair]
            low, high = grey[one], grey[other]
            near = (low * high > 0) & (abs(low - high) <= alpha)
            dependent[one] += near
            dependent[other] += near
        found = 0
        for cell in range(cells):
            if local[cell] >= 0:
                items[found, 0], items[found, 1] = local[cell], dependent[cell]
                found += 1
        out[voxel] = 0.0
        _emphases(items, ones, found, values, small_areas, logs, by_grey, by_size, table, out[voxel])
        _forget(slots, values, count)


@compiled
def zone_maps(
    levels: Grey, centres: Ints, steps: Ints, greatest: int, first: Places, second: Places, out: Floats
) -> None:
    """Fill ``out`` (voxel, 16) with the features of the zones [Thibault et al. 2014, doi:10.1109/TBME.2013.2284600].

    Parameters
    ----------
    levels, centres, steps, greatest : as for `dependence_maps`.
    first, second : pairs of cells that touch.
    """
    cells = steps.size
    slots = np.full(greatest + 1, -1, np.int64)
    local, grey, values = np.empty(cells, np.int64), np.empty(cells, np.int64), np.empty((cells, 3))
    whole = np.maximum(np.arange(cells + 1.0), 1.0)
    small_areas, logs = whole**-2.0, whole * np.log2(whole)
    by_grey, by_size, table = np.zeros(cells), np.zeros(cells + 1), np.zeros(cells * (cells + 1))
    items, ones = np.empty((cells, 2), np.int64), np.ones(cells)
    parents, sizes = np.empty(cells, np.int64), np.empty(cells, np.int64)
    for voxel in range(centres.size):
        count = _localised(levels, centres[voxel], steps, slots, local, grey, values)
        for cell in range(cells):
            parents[cell] = cell
            sizes[cell] = 0
        for pair in range(first.size):
            if grey[first[pair]] == 0 or grey[first[pair]] != grey[second[pair]]:
                continue
            one, other = np.int64(first[pair]), np.int64(second[pair])
            if parents[one] != parents[other]:
                while parents[one] != one:
                    parents[one] = parents[parents[one]]
                    one = parents[one]
                while parents[other] != other:
                    parents[other] = parents[parents[other]]
                    other = parents[other]
                parents[other] = one
        for cell in range(cells):
            top = parents[cell]
            while parents[top] != top:
                top = parents[top]
            sizes[top] += 1
        found = 0
        for cell in range(cells):
            if local[cell] >= 0 and sizes[cell] > 0:
                items[found, 0], items[found, 1] = local[cell], sizes[cell]
                found += 1
        out[voxel] = 0.0
        _emphases(items, ones, found, values, small_areas, logs, by_grey, by_size, table, out[voxel])
        _forget(slots, values, count)


@compiled
def run_maps(
    levels: Grey, centres: Ints, steps: Ints, greatest: int, line_cells: Places, lines: Ints, directions: Ints,
    weights: Floats, out: Floats,
) -> None:  # fmt: skip
    """Fill ``out`` (voxel, 16) with the features of the runs [Galloway 1975, doi:10.1016/S0146-664X(75)80008-6].

    The mean over the directions that have a line of two voxels or more; NaN where none has.

    Parameters
    ----------
    levels, centres, steps, greatest : as for `dependence_maps`.
    line_cells, lines, directions : see `radfuse.extract.voxelwise.neighbourhood.Neighbourhood.lines`.
    weights : of the directions in one common matrix; empty where each has a matrix of its own.
    """
    cells = steps.size
    number = directions.size - 1
    weighted = weights.size > 0
    room = cells * number if weighted else cells
    slots = np.full(greatest + 1, -1, np.int64)
    local, grey, values = np.empty(cells, np.int64), np.empty(cells, np.int64), np.empty((cells, 3))
    whole = np.maximum(np.arange(cells + 1.0), 1.0)
    small_areas, logs = whole**-2.0, whole * np.log2(whole)
    if weighted:
        logs = np.empty(0)
    by_grey, by_size, table = np.zeros(cells), np.zeros(cells + 1), np.zeros(cells * (cells + 1))
    items, shares = np.empty((room, 2), np.int64), np.ones(room)
    for voxel in range(centres.size):
        count = _localised(levels, centres[voxel], steps, slots, local, grey, values)
        out[voxel] = 0.0
        found, used = 0, 0
        for direction in range(number):
            began = found
            several = False
            for line in range(directions[direction], directions[direction + 1]):
                going, length, voxels = np.int64(-1), 0, 0
                for place in range(lines[line], lines[line + 1]):
                    level = local[line_cells[place]]
                    if level != going:
                        if going >= 0:
                            items[found, 0], items[found, 1] = going, length
                            found += 1
                        going, length = level, 0
                    length += 1
                    voxels += level >= 0
                if going >= 0:
                    items[found, 0], items[found, 1] = going, length
                    found += 1
                several |= voxels > 1
            if not several:
                found = began
            elif weighted:
                shares[began:found] = weights[direction]
            else:
                used += _emphases(items, shares, found, values, small_areas, logs, by_grey, by_size, table, out[voxel])
                found = 0
            if not weighted:
                found = 0
        if weighted and found > 0:
            used += _emphases(items, shares, found, values, small_areas, logs, by_grey, by_size, table, out[voxel])
        for feature in range(SIZES):
            out[voxel, feature] = out[voxel, feature] / used if used > 0 else np.nan
        _forget(slots, values, count)


@compiled
def tone_maps(
    levels: Grey, centres: Ints, steps: Ints, greatest: int, first: Places, second: Places, out: Floats
) -> None:
    """Fill ``out`` (voxel, 5) with coarseness, contrast, busyness, complexity and strength.

    As in Amadasun & King [1989, doi:10.1109/21.44046]. The sums are PyRadiomics' own, since a divisor that is nothing
    but rounding decides busyness there.

    Parameters
    ----------
    levels, centres, steps, greatest, first, second : as for `dependence_maps`.
    """
    cells = steps.size
    slots = np.full(greatest + 1, -1, np.int64)
    local, grey, values = np.empty(cells, np.int64), np.empty(cells, np.int64), np.empty((cells, 3))
    totals, neighbours = np.empty(cells, np.int64), np.empty(cells, np.int64)
    shares, differences = np.empty(cells), np.empty(cells)
    for voxel in range(centres.size):
        count = _localised(levels, centres[voxel], steps, slots, local, grey, values)
        totals[:] = 0
        neighbours[:] = 0
        for pair in range(first.size):
            one, other = first[pair], second[pair]
            low, high = grey[one], grey[other]
            totals[one] += high
            totals[other] += low
            neighbours[one] += high > 0
            neighbours[other] += low > 0
        shares[:count] = 0.0
        differences[:count] = 0.0
        present = 0.0
        for cell in range(cells):
            if local[cell] >= 0:
                present += 1.0
                shares[local[cell]] += 1.0
                if neighbours[cell] > 0:
                    differences[local[cell]] += abs(values[local[cell], 0] - totals[cell] / neighbours[cell])
        emphasis, differing = 0.0, 0.0
        for number in range(count):
            shares[number] /= present
            emphasis += shares[number] * differences[number]
            differing += differences[number]
        contrast, spread, complexity, strength = 0.0, 0.0, 0.0, 0.0
        for one in range(count):
            for other in range(one):
                apart = abs(values[one, 0] - values[other, 0])
                both = shares[one] + shares[other]
                contrast += shares[one] * shares[other] * apart * apart
                spread += abs(values[one, 0] * shares[one] - values[other, 0] * shares[other])
                busy = shares[one] * differences[one] + shares[other] * differences[other]
                complexity += apart * busy / both
                strength += both * apart * apart
        out[voxel, 0] = 1.0 / emphasis if emphasis != 0.0 else 1e6
        pairs = count * (count - 1)
        out[voxel, 1] = 2.0 * contrast * differing / present / pairs if pairs > 0 else 0.0
        out[voxel, 2] = emphasis / (2.0 * spread) if spread != 0.0 else 0.0
        out[voxel, 3] = 2.0 * complexity / present
        out[voxel, 4] = 2.0 * strength / differing if differing != 0.0 else 0.0
        _forget(slots, values, count)


@compiled
def _localised(levels: Grey, centre: int, steps: Ints, slots: Ints, local: Ints, grey: Ints, values: Floats) -> int:
    """Number the grey levels of one neighbourhood from 0, so that its matrices are tiny.

    Parameters
    ----------
    levels, centre, steps : see `radfuse.extract.voxelwise.neighbourhood.Levels`.
    slots : by grey level, -1; filled for those found, to be put back with `_forget`.
    local : filled by cell with the level's number, -1 where nothing counts.
    grey : filled by cell with the level itself.
    values : (level, 3), filled by number with the level, its square, and one over that.

    Returns
    -------
    count : how many levels there are.
    """
    count = 0
    for cell in range(steps.size):
        level = levels[np.uint64(centre + steps[cell])]
        grey[cell] = level
        if level == 0:
            local[cell] = -1
            continue
        if slots[level] < 0:
            slots[level] = count
            square = float(level) * float(level)
            values[count, 0], values[count, 1], values[count, 2] = level, square, 1.0 / square
            count += 1
        local[cell] = slots[level]
    return count


@compiled
def _forget(slots: Ints, values: Floats, count: int) -> None:
    """Undo what `_localised` did to ``slots``."""
    for number in range(count):
        slots[int(values[number, 0])] = -1


@compiled
def _emphases(
    items: Ints, weights: Floats, count: int, values: Floats, small_areas: Floats, logs: Floats, by_grey: Floats,
    by_size: Floats, cells: Floats, out: Floats,
) -> bool:  # fmt: skip
    """Add to ``out`` the sums of `radfuse.extract.kernels.matrices.size_features` for a list of items.

    Parameters
    ----------
    items : (item, 2) number of the grey level, and size.
    weights : of each item.
    count : how many items there are.
    values : see `_localised`.
    small_areas : one over the square of each size.
    logs : by whole number, that times its logarithm to the base of 2; empty where weights are not whole.
    by_grey, by_size, cells : zeros, and left so; each level's row of ``cells`` is as long as ``by_size``.
    out : (16,), see there.

    Returns
    -------
    found : whether the items weigh anything.
    """
    total, voxels, bright, grey_squares, size_squares = 0.0, 0.0, 0.0, 0.0, 0.0
    small, large, low, high = 0.0, 0.0, 0.0, 0.0
    small_low, small_high, large_low, large_high = 0.0, 0.0, 0.0, 0.0
    width = by_size.size
    for item in range(count):
        grey, size, weight = items[item, 0], items[item, 1], weights[item]
        # One more makes the square of a count b larger by (b + w)^2 - b^2.
        grey_squares += weight * (2.0 * by_grey[grey] + weight)
        by_grey[grey] += weight
        size_squares += weight * (2.0 * by_size[size] + weight)
        by_size[size] += weight
        cells[grey * width + size] += weight
        area, tiny = weight * float(size * size), weight * small_areas[size]
        square, dark = values[grey, 1], values[grey, 2]
        total += weight
        voxels += weight * size
        bright += weight * values[grey, 0]
        small += tiny
        large += area
        low += weight * dark
        high += weight * square
        small_low += tiny * dark
        small_high += tiny * square
        large_low += area * dark
        large_high += area * square
    information = 0.0
    for item in range(count):
        grey, size = items[item, 0], items[item, 1]
        by_grey[grey] = 0.0
        by_size[size] = 0.0
        cell = cells[grey * width + size]
        if cell > 0.0:
            information += logs[int(cell)] if logs.size > 0 else cell * np.log2(cell)
            cells[grey * width + size] = 0.0
    if total == 0.0:
        return False
    part = 1.0 / total
    out[0] += small * part
    out[1] += large * part
    out[2] += grey_squares * part
    out[3] += grey_squares * part * part
    out[4] += size_squares * part
    out[5] += size_squares * part * part
    out[6] += total / voxels
    # Whole numbers divided once: without any spread this is 0 to the last digit.
    out[7] += (high - bright * bright / total) * part
    out[8] += (large - voxels * voxels / total) * part
    out[9] += np.log2(total) - information * part
    out[10] += low * part
    out[11] += high * part
    out[12] += small_low * part
    out[13] += small_high * part
    out[14] += large_low * part
    out[15] += large_high * part
    return True
