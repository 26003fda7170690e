"""Features of texture matrices, one row of features per direction."""

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled

Floats = npt.NDArray[np.float64]

EPSILON = np.spacing(1.0)  # PyRadiomics adds it inside every logarithm


@compiled
def size_features(counts: Floats, greys: Floats, sizes: Floats) -> Floats:
    """Give the sums that GLDM, GLRLM and GLSZM have in common [van Griethuysen et al. 2017].

    Parameters
    ----------
    counts : (direction, grey level, size), not negative; every direction has some.
    greys, sizes : what the rows and columns stand for.

    Returns
    -------
    features : (direction, 16): emphasis of small and large sizes, grey level non-uniformity and its normalised form,
        size non-uniformity and its normalised form, percentage, grey level variance, size variance, entropy,
        emphasis of low and high grey levels, small-low, small-high, large-low, large-high.
    """
    features = np.zeros((counts.shape[0], 16))
    for direction in range(counts.shape[0]):
        by_grey = np.zeros(greys.size)
        by_size = np.zeros(sizes.size)
        for row in range(greys.size):
            for column in range(sizes.size):
                by_grey[row] += counts[direction, row, column]
                by_size[column] += counts[direction, row, column]
        total = by_grey.sum()
        out = features[direction]
        mean_grey, mean_size, voxels = 0.0, 0.0, 0.0
        for row in range(greys.size):
            out[2] += by_grey[row] * by_grey[row]
            out[10] += by_grey[row] / (greys[row] * greys[row])
            out[11] += by_grey[row] * (greys[row] * greys[row])
            mean_grey += by_grey[row] / total * greys[row]
        for column in range(sizes.size):
            square = sizes[column] * sizes[column]
            out[0] += by_size[column] / square
            out[1] += by_size[column] * square
            out[4] += by_size[column] * by_size[column]
            voxels += by_size[column] * sizes[column]
            mean_size += by_size[column] / total * sizes[column]
        for row in range(greys.size):
            out[7] += by_grey[row] / total * (greys[row] - mean_grey) ** 2
        for column in range(sizes.size):
            out[8] += by_size[column] / total * (sizes[column] - mean_size) ** 2
        for row in range(greys.size):
            grey = greys[row] * greys[row]
            for column in range(sizes.size):
                count = counts[direction, row, column]
                if count == 0.0:
                    continue
                size = sizes[column] * sizes[column]
                share = count / total
                out[9] -= share * np.log2(share + EPSILON)
                out[12] += count / (grey * size)
                out[13] += count * grey / size
                out[14] += count * size / grey
                out[15] += count * size * grey
        out[3] = out[2] / (total * total)
        out[5] = out[4] / (total * total)
        out[6] = total / voxels
        for index in (0, 1, 2, 4, 10, 11, 12, 13, 14, 15):
            out[index] /= total
    return features


@compiled
def pair_features(shares: Floats, greys: Floats, greatest: int) -> tuple[Floats, Floats]:
    """Give the features of co-occurrence matrices [Haralick et al. 1973, doi:10.1109/TSMC.1973.4309314].

    Parameters
    ----------
    shares : (direction, grey level, grey level), each direction adds up to 1.
    greys : what rows and columns stand for.
    greatest : the greatest grey level.

    Returns
    -------
    features : (direction, 23), in the order of `radfuse.extract.native.texture.GLCM`, without MCC.
    edges : (direction, 2): the spread in both marginals, and the mutual information; where either is nearly nothing,
        rounding decides what PyRadiomics answers.
    """
    features = np.zeros((shares.shape[0], 23))
    edges = np.zeros((shares.shape[0], 2))
    count = greys.size
    for direction in range(shares.shape[0]):
        matrix = shares[direction]
        out = features[direction]
        px, py = np.zeros(count), np.zeros(count)
        sums, differences = np.zeros(2 * greatest + 1), np.zeros(greatest)
        joint, energy, peak, auto = 0.0, 0.0, 0.0, 0.0
        for row in range(count):
            for column in range(count):
                share = matrix[row, column]
                if share == 0.0:
                    continue
                px[row] += share
                py[column] += share
                sums[int(greys[row] + greys[column])] += share
                differences[int(abs(greys[row] - greys[column]))] += share
                energy += share * share
                peak = max(peak, share)
                joint -= share * np.log2(share + EPSILON)
                auto += share * greys[row] * greys[column]
        ux, uy = 0.0, 0.0
        hx, hy, sx, sy = 0.0, 0.0, 0.0, 0.0
        for row in range(count):
            ux += greys[row] * px[row]
            uy += greys[row] * py[row]
            hx -= px[row] * np.log2(px[row] + EPSILON)
            hy -= py[row] * np.log2(py[row] + EPSILON)
        for row in range(count):
            sx += px[row] * (greys[row] - ux) ** 2
            sy += py[row] * (greys[row] - uy) ** 2
        cross1, cross2 = 0.0, 0.0
        prominence, shade, tendency, covariance = 0.0, 0.0, 0.0, 0.0
        for row in range(count):
            for column in range(count):
                product = px[row] * py[column]
                logarithm = np.log2(product + EPSILON)
                cross2 -= product * logarithm
                share = matrix[row, column]
                if share == 0.0:
                    continue
                cross1 -= share * logarithm
                off = greys[row] + greys[column] - ux - uy
                square = off * off
                tendency += share * square
                shade += share * square * off
                prominence += share * square * square
                covariance += share * (greys[row] - ux) * (greys[column] - uy)
        contrast, average, entropy = 0.0, 0.0, 0.0
        idm, idmn, inverse, inverse_n, inverse_variance = 0.0, 0.0, 0.0, 0.0, 0.0
        for step in range(greatest):
            share = differences[step]
            if share == 0.0:
                continue
            square = float(step * step)
            contrast += share * square
            average += share * step
            entropy -= share * np.log2(share + EPSILON)
            idm += share / (1.0 + square)
            idmn += share / (1.0 + square / (greatest * greatest))
            inverse += share / (1.0 + step)
            inverse_n += share / (1.0 + step / greatest)
            if step > 0:
                inverse_variance += share / square
        variance = 0.0
        for step in range(greatest):
            variance += differences[step] * (step - average) ** 2
        sum_average, sum_entropy = 0.0, 0.0
        for step in range(2, 2 * greatest + 1):
            sum_average += sums[step] * step
            if sums[step] > 0.0:
                sum_entropy -= sums[step] * np.log2(sums[step] + EPSILON)
        spread = np.sqrt(sx) * np.sqrt(sy)
        most = max(hx, hy)
        out[0], out[1] = auto, ux
        out[2], out[3], out[4] = prominence, shade, tendency
        out[5] = contrast
        out[6] = covariance / (spread + EPSILON) if spread != 0.0 else 1.0
        out[7], out[8], out[9] = average, entropy, variance
        out[10], out[11] = energy, joint
        out[12] = (joint - cross1) / most if most != 0.0 else 0.0
        out[13] = np.sqrt(1.0 - np.exp(-2.0 * (cross2 - joint))) if cross2 > joint else 0.0
        out[14], out[15], out[16], out[17] = idm, idmn, inverse, inverse_n
        out[18], out[19] = inverse_variance, peak
        out[20], out[21], out[22] = sum_average, sum_entropy, sx
        if peak == 1.0:  # one single pair: every sum is exact
            edges[direction] = np.inf
        else:
            edges[direction, 0], edges[direction, 1] = min(sx, sy), cross2 - joint
    return features, edges
