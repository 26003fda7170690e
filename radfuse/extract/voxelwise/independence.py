"""Imc2 of directions in which a voxel tells nothing of its neighbour."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels.matrices import EPSILON

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def imc2_means(
    sums: Floats, used: Ints, independent: npt.NDArray[np.bool_], marginals: Callable[[Ints, Ints], Ints]
) -> Floats:
    """Give each voxel's Imc2: its mean over directions, those left out for which PyRadiomics has no number.

    For independent levels the radicand is 0 but for rounding, and PyRadiomics leaves a direction out where it comes
    out negative. So its own sums are done here, with NumPy and in its order, once for each kind of marginals.

    Parameters
    ----------
    sums : by voxel, of the other directions.
    used : by voxel, how many directions there are.
    independent : (voxel, direction).
    marginals : gives (event, 2, level) counts of the levels for these voxels and directions.
    """
    voxels, directions = np.nonzero(independent)
    counts = used.astype(np.float64)
    sums = sums.copy()
    if voxels.size:
        found = marginals(voxels, directions)
        kinds, which = np.unique(found.reshape(len(found), -1), axis=0, return_inverse=True)
        values = np.array([_imc2(*kind.reshape(2, -1)) for kind in kinds])[which.ravel()]
        missing = np.isnan(values)
        np.add.at(sums, voxels[~missing], values[~missing])
        np.subtract.at(counts, voxels[missing], 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts > 0, sums / counts, np.nan)


def _imc2(first: Ints, second: Ints) -> float:
    first, second = first[first > 0], second[second > 0]
    shares = np.outer(first, second) // first.sum() / first.sum()
    px = np.cumsum(shares, axis=1)[:, -1]
    py = np.cumsum(shares, axis=0)[-1]
    products = px[:, None] * py[None, :]
    joint = -_total(shares * np.log2(shares + EPSILON))
    cross = -_total(products * np.log2(products + EPSILON))
    if cross == joint:
        return 0.0
    radicand = 1 - np.e ** (-2 * (cross - joint))
    return float(np.sqrt(radicand)) if radicand >= 0 else float("nan")


def _total(terms: Floats) -> np.float64:
    total: np.float64 = np.cumsum(terms.ravel())[-1]
    return total
