"""GLCM of every neighbourhood; what calls each other is in one file, see `radfuse.extract.voxelwise.matrices`."""

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.uint16]

FEATURES = 24
MCC = 23
# Two marginals with less mutual information than this are independent: the counts are whole and few.
INDEPENDENT = 1e-12


@compiled
def cooccurrence_maps(
    levels: npt.NDArray[np.int16], centres: Ints, steps: Ints, greatest: int, first: Places, second: Places,
    starts: Ints, weights: Floats, symmetric: bool, with_mcc: bool, out: Floats, used: Ints,
    independent: npt.NDArray[np.bool_],
) -> None:  # fmt: skip
    """Fill ``out`` (voxel, 24) with the features in the order of `classes.NAMES`, summed over directions.

    Parameters
    ----------
    levels, centres, steps, greatest : as for `radfuse.extract.voxelwise.matrices.dependence_maps`.
    first, second, starts : see `radfuse.extract.voxelwise.neighbourhood.Pairs`.
    weights : of each pair.
    symmetric : whether each pair counts both ways.
    with_mcc : MCC is most of the work.
    used : filled by voxel with how many directions have a pair.
    independent : (voxel, direction), filled with where the two voxels of a pair have no information on each other:
        whether Imc2 is 0 or missing hangs on PyRadiomics' rounding. These add nothing to ``out`` there.
    """
    cells = steps.size
    slots = np.full(greatest + 1, -1, np.int64)
    local, values = np.empty(cells, np.int64), np.empty(cells)
    counts, touched = np.zeros(cells * cells), np.empty(cells * cells, np.int64)
    px, py = np.zeros(cells), np.zeros(cells)
    sums, differences = np.zeros(2 * greatest + 1), np.zeros(greatest + 1)
    for voxel in range(centres.size):
        count = 0
        for cell in range(cells):
            level = levels[centres[voxel] + steps[cell]]
            if level > 0 and slots[level] < 0:
                slots[level] = count
                values[count] = level
                count += 1
            local[cell] = slots[level] if level > 0 else -1
        row = out[voxel]
        row[:] = 0.0
        used[voxel] = 0
        for direction in range(starts.size - 1):
            total, found = 0.0, 0
            for pair in range(starts[direction], starts[direction + 1]):
                one, other, weight = local[first[pair]], local[second[pair]], weights[pair]
                if one < 0 or other < 0 or weight == 0.0:
                    continue
                if symmetric and other < one:
                    one, other = other, one
                cell = one * count + other
                if counts[cell] == 0.0:
                    touched[found] = cell
                    found += 1
                counts[cell] += weight
                total += weight
            if total == 0.0:
                continue
            used[voxel] += 1
            independent[voxel, direction] = _features(
                counts, touched[:found], total, count, values, px, py, sums, differences, greatest, symmetric, row
            )
            if with_mcc:
                row[MCC] += _correlation_coefficient(counts, touched[:found], total, count, px, py, symmetric)
            for index in range(found):
                counts[touched[index]] = 0.0
            px[:count] = 0.0
            py[:count] = 0.0
        for number in range(count):
            slots[int(values[number])] = -1


@compiled
def _features(
    counts: Floats, touched: Ints, total: float, count: int, values: Floats, px: Floats, py: Floats, sums: Floats,
    differences: Floats, greatest: int, symmetric: bool, row: Floats,
) -> bool:  # fmt: skip
    """Add one direction's features to ``row``, and fill both marginals; say whether they are independent."""
    joint, hx, hy, energy, peak = 0.0, 0.0, 0.0, 0.0, 0.0
    auto, mean, ux, uy = 0.0, 0.0, 0.0, 0.0
    for index in range(touched.size):
        cell = touched[index]
        one, other = cell // count, cell % count
        share = counts[cell] / total
        low, high = values[one], values[other]
        twice = symmetric and one != other
        # Counted both ways, a pair of two levels is two cells of half the share.
        part = 0.5 * share if twice else share
        joint -= share * np.log2(part)
        energy += share * part
        peak = max(peak, part)
        px[one] += part
        py[other] += part
        if twice:
            px[other] += part
            py[one] += part
        auto += share * low * high
        mean += share * (low + high)
        sums[int(low + high)] += share
        differences[int(abs(low - high))] += share
    for number in range(count):
        if px[number] > 0.0:
            hx -= px[number] * np.log2(px[number])
            ux += px[number] * values[number]
        if py[number] > 0.0:
            hy -= py[number] * np.log2(py[number])
            uy += py[number] * values[number]
    sx, sy, rows, columns = 0.0, 0.0, 0, 0
    for number in range(count):
        sx += px[number] * (values[number] - ux) ** 2
        sy += py[number] * (values[number] - uy) ** 2
        rows += px[number] > 0.0
        columns += py[number] > 0.0
    average = 0.0
    for index in range(touched.size):
        cell = touched[index]
        average += counts[cell] / total * abs(values[cell // count] - values[cell % count])
    covariance = 0.0
    norm = float(greatest)
    for index in range(touched.size):
        cell = touched[index]
        share = counts[cell] / total
        low, high = values[cell // count], values[cell % count]
        off, apart = low + high - ux - uy, abs(low - high)
        square = apart * apart
        row[2] += share * off**4
        row[3] += share * off**3
        row[4] += share * off**2
        row[5] += share * square
        row[7] += share * apart
        row[9] += share * (apart - average) ** 2
        row[14] += share / (1.0 + square)
        row[15] += share / (1.0 + square / (norm * norm))
        row[16] += share / (1.0 + apart)
        row[17] += share / (1.0 + apart / norm)
        if apart > 0.0:
            row[18] += share / square
        covariance += share * (low - ux) * (high - uy)
        # Each sum and difference counts once: at the first pair that has it.
        place, gap = int(low + high), int(apart)
        if sums[place] > 0.0:
            row[21] -= sums[place] * np.log2(sums[place])
            sums[place] = 0.0
        if differences[gap] > 0.0:
            row[8] -= differences[gap] * np.log2(differences[gap])
            differences[gap] = 0.0
    row[0] += auto
    row[1] += ux
    # By definition 1 where a marginal has a single level.
    row[6] += covariance / (np.sqrt(sx) * np.sqrt(sy)) if rows > 1 and columns > 1 else 1.0
    row[10] += energy
    row[11] += joint
    shared = hx + hy - joint
    most = max(hx, hy)
    # For marginals px and py both cross entropies [Haralick et al. 1973, IMC] are the sum of the marginals' own.
    row[12] -= shared / most if most > 0.0 else 0.0
    alone = touched.size > 1 and shared < INDEPENDENT
    if shared >= INDEPENDENT:
        row[13] += np.sqrt(1.0 - np.exp(-2.0 * shared))
    row[19] += peak
    row[20] += mean
    row[22] += sx
    return alone


@compiled
def marginals(
    levels: npt.NDArray[np.int16], centres: Ints, steps: Ints, first: Places, second: Places, starts: Ints,
    directions: Ints, symmetric: bool,
) -> Ints:  # fmt: skip
    """Give, by event, how often each level comes first and second in a pair, the levels in order.

    Parameters
    ----------
    centres, directions : of each event.

    Returns
    -------
    counts : (event, 2, level); levels that do not occur are left out, the rest of the row is 0.
    """
    cells = steps.size
    counts = np.zeros((centres.size, 2, cells), np.int64)
    present, order = np.empty(2 * first.size, np.int64), np.empty(cells, np.int64)
    for event in range(centres.size):
        found = 0
        begin, end = starts[directions[event]], starts[directions[event] + 1]
        for pair in range(begin, end):
            one, other = levels[centres[event] + steps[first[pair]]], levels[centres[event] + steps[second[pair]]]
            if one > 0 and other > 0:
                present[found], present[found + 1] = one, other
                found += 2
        distinct = 0
        for level in np.sort(present[:found]):
            if distinct == 0 or order[distinct - 1] != level:
                order[distinct] = level
                distinct += 1
        for index in range(0, found, 2):
            one = np.searchsorted(order[:distinct], present[index])
            other = np.searchsorted(order[:distinct], present[index + 1])
            counts[event, 0, one] += 1
            counts[event, 1, other] += 1
            if symmetric:
                counts[event, 0, other] += 1
                counts[event, 1, one] += 1
    return counts


@compiled
def _correlation_coefficient(
    counts: Floats, touched: Ints, total: float, count: int, px: Floats, py: Floats, symmetric: bool
) -> float:
    """Give the square root of the second largest eigenvalue of Haralick's Q [1973, f14].

    Q has the eigenvalues of ``B B'`` with ``B = P / sqrt(px py)``. Its largest is 1, with the vector ``sqrt(px)``. It
    is 1 as often as the graph of rows and columns has components; with two rows or columns the second is Pearson's
    chi square over the number of pairs.

    Parameters
    ----------
    counts, touched : weights of pairs of levels, and which of them are not 0.
    total : sum of the weights.
    count : how many levels there are.
    px, py : marginals, summing to 1.
    symmetric : whether each pair counts both ways.
    """
    rows, columns = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    height, width = 0, 0
    for number in range(count):
        if px[number] > 0.0:
            rows[number] = height
            height += 1
        if py[number] > 0.0:
            columns[number] = width
            width += 1
    if height == 1 or width == 1:
        return 0.0
    parents = np.arange(height + width)
    components = height + width
    shares = np.zeros((height, width))
    for index in range(touched.size):
        cell = touched[index]
        one, other = cell // count, cell % count
        both = symmetric and one != other
        share = counts[cell] / total
        if both:
            share *= 0.5
        shares[rows[one], columns[other]] = share
        components -= _joined(parents, rows[one], height + columns[other])
        if both:
            shares[rows[other], columns[one]] = share
            components -= _joined(parents, rows[other], height + columns[one])
    if components > 1:
        return 1.0
    if height == 2 or width == 2:
        second = -1.0
        for number in range(count):
            for other in range(count):
                if rows[number] >= 0 and columns[other] >= 0:
                    share = shares[rows[number], columns[other]]
                    second += share * share / (px[number] * py[other])
        return float(np.sqrt(max(second, 0.0)))
    for number in range(count):
        if rows[number] >= 0:
            shares[rows[number]] /= np.sqrt(px[number])
    for number in range(count):
        if columns[number] >= 0:
            shares[:, columns[number]] /= np.sqrt(py[number])
    product = np.empty((height, height))
    for number in range(count):
        for other in range(number + 1):
            one, two = rows[number], rows[other]
            if one >= 0 and two >= 0:
                value = -np.sqrt(px[number] * px[other])
                for column in range(width):
                    value += shares[one, column] * shares[two, column]
                product[one, two] = value
                product[two, one] = value
    return float(np.sqrt(max(np.linalg.eigvalsh(product)[-1], 0.0)))


@compiled
def _joined(parents: Ints, one: int, other: int) -> int:
    """Join two nodes of a graph; say whether they were apart."""
    while parents[one] != one:
        parents[one] = parents[parents[one]]
        one = parents[one]
    while parents[other] != other:
        parents[other] = parents[parents[other]]
        other = parents[other]
    parents[other] = one
    return int(one != other)
