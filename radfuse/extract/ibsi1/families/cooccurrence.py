"""Grey level co-occurrence, IBSI family LFYI (manual 3.6): pairs of neighbours at Chebyshev distance 1, both ways."""

import numpy as np
import numpy.typing as npt

from radfuse.extract.ibsi1.families.lattice import Lattice
from radfuse.extract.ibsi1.families.matrix import Matrix
from radfuse.extract.kernels.matrices import pair_features

Features = dict[str, npt.NDArray[np.float64]]

# In the order of `pair_features`.
NAMES = (
    "auto_corr", "joint_avg", "clust_prom", "clust_shade", "clust_tend", "contrast", "corr", "diff_avg", "diff_entr",
    "diff_var", "energy", "joint_entr", "info_corr1", "info_corr2", "inv_diff_mom", "inv_diff_mom_norm", "inv_diff",
    "inv_diff_norm", "inv_var", "joint_max", "sum_avg", "sum_entr", "joint_var",
)  # fmt: skip
# The same number under a second name: both sums are over the same squares.
TWINS = {"sum_var": "clust_tend", "dissimilarity": "diff_avg"}


def matrix(lattice: Lattice) -> Matrix:
    """Count pairs by direction and by both grey levels."""
    return Matrix(lattice.pairs(), lattice.greys, lattice.greys, lattice.voxels)


def features(matrix: Matrix, greatest: int) -> Features:
    """Give the features of every direction that has pairs.

    Where all pairs are of one grey level, correlation is 1 and both information measures are 0.

    Parameters
    ----------
    matrix : pairs, counted both ways.
    greatest : the greatest grey level of the whole region, by which normalised features divide.
    """
    totals = matrix.counts.sum((1, 2))
    shares = matrix.counts[totals > 0] / totals[totals > 0, None, None]
    found = pair_features(np.ascontiguousarray(shares), matrix.greys, greatest)[0]
    values = dict(zip(NAMES, found.T, strict=True))
    return values | {twin: values[name] for twin, name in TWINS.items()}
