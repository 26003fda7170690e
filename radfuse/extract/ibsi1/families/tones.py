"""Neighbourhood grey tone difference, IBSI family IPET (manual 3.10) [Amadasun & King 1989, doi:10.1109/21.44046]."""

import numpy as np
import numpy.typing as npt

from radfuse.extract.ibsi1.families.lattice import Lattice
from radfuse.extract.ibsi1.families.matrix import Matrix
from radfuse.extract.ibsi1.families.zone_kernels import tone_sums

Features = dict[str, npt.NDArray[np.float64]]

NAMES = ("coarseness", "contrast", "busyness", "complexity", "strength")
# The manual's arbitrary greatest coarseness, also where all differences are 0.
COARSEST = 1e6


def matrix(lattice: Lattice) -> Matrix:
    """Give per grey level the voxels that have neighbours (column 0) and their differences to the mean of those (1)."""
    return Matrix(lattice.surroundings[1][None], lattice.greys, np.array([0.0, 1.0]), lattice.voxels)


def features(matrix: Matrix, greatest: int) -> Features:
    """Give the five features; none where no voxel has a neighbour."""
    voxels, differences = matrix.counts[0].T
    present = voxels > 0
    if not present.any():
        return {name: np.empty(0) for name in NAMES}
    greys, voxels, differences = matrix.greys[present], voxels[present], differences[present]
    total, levels = voxels.sum(), greys.size
    shares = voxels / total
    emphasis, difference = float(shares @ differences), float(differences.sum())
    products, spread, complexity, strength = tone_sums(greys, shares, differences)
    values = {
        "coarseness": min(1.0 / emphasis, COARSEST) if emphasis > 0 else COARSEST,
        "contrast": products * difference / (levels * (levels - 1) * total) if levels > 1 else 0.0,
        "busyness": emphasis / spread if spread > 0 else 0.0,
        "complexity": complexity / total,
        "strength": strength / difference if difference > 0 else 0.0,
    }
    return {name: np.array([value]) for name, value in values.items()}
