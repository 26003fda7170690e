"""Runs, zones, zone distances and dependences: a row per grey level, a column per size.

IBSI families TP0I (runs, manual 3.7), 9SAK (size zones, 3.8), VMDZ (distance zones, 3.9) and REK0 (neighbouring grey
level dependence, 3.11, with coarseness 0 and distance 1).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.extract.ibsi1.families.lattice import Lattice
from radfuse.extract.ibsi1.families.matrix import Matrix
from radfuse.extract.kernels.matrices import size_features

Array = npt.NDArray[Any]
Features = dict[str, npt.NDArray[np.float64]]

# How IBSI's reference tables call the sums of `size_features`, in its order. `s` and `l` stand for small and large
# sizes, `u` for their unit, `n`, `p` and `v` for it in non-uniformity, percentage and variance, `g` for grey levels.
PATTERNS = (
    "{s}{u}e", "{l}{u}e", "glnu", "glnu_norm", "{n}nu", "{n}nu_norm", "{p}_perc", "gl_var", "{v}_var", "{v}_entr",
    "lg{g}e", "hg{g}e", "{s}{u}lge", "{s}{u}hge", "{l}{u}lge", "{l}{u}hge",
)  # fmt: skip


def _names(**words: str) -> tuple[str, ...]:
    return tuple(pattern.format(**words) for pattern in PATTERNS)


RUN_NAMES = _names(s="s", l="l", u="r", n="rl", p="r", v="rl", g="r")
ZONE_NAMES = _names(s="s", l="l", u="z", n="zs", p="z", v="zs", g="z")
DISTANCE_NAMES = _names(s="s", l="l", u="d", n="zd", p="z", v="zd", g="z")
DEPENDENCE_NAMES = _names(s="l", l="h", u="d", n="dc", p="dc", v="dc", g="c")


def run_matrix(lattice: Lattice) -> Matrix:
    """Count runs by direction, grey level and length."""
    counts = lattice.runs()
    used = int(np.flatnonzero(counts.any((0, 1)))[-1]) + 1
    return Matrix(counts[:, :, :used], lattice.greys, np.arange(1.0, used + 1), lattice.voxels)


def zone_matrix(lattice: Lattice) -> Matrix:
    """Count zones by grey level and number of voxels."""
    rows, sizes, _ = lattice.zones
    return _counted(lattice, rows, sizes)


def distance_matrix(lattice: Lattice) -> Matrix:
    """Count zones by grey level and distance to the border of the morphological mask."""
    rows, _, least = lattice.zones
    return _counted(lattice, rows, least)


def dependence_matrix(lattice: Lattice) -> Matrix:
    """Count voxels by grey level and by how many of the neighbours have the same, itself included."""
    counts = lattice.surroundings[0][None]
    return Matrix(counts, lattice.greys, np.arange(1.0, counts.shape[2] + 1), lattice.voxels)


def _counted(lattice: Lattice, rows: Array, sizes: Array) -> Matrix:
    """Make a matrix with a column per size that occurs."""
    distinct, columns = np.unique(sizes, return_inverse=True)
    cells = rows.astype(np.int64) * distinct.size + columns
    counts = np.bincount(cells, minlength=lattice.greys.size * distinct.size)
    shape = (1, lattice.greys.size, distinct.size)
    return Matrix(counts.reshape(shape), lattice.greys, distinct.astype(np.float64), lattice.voxels)


def run_features(matrix: Matrix, greatest: int) -> Features:
    """Give the features of runs."""
    return _sums(RUN_NAMES, matrix)


def zone_features(matrix: Matrix, greatest: int) -> Features:
    """Give the features of size zones."""
    return _sums(ZONE_NAMES, matrix)


def distance_features(matrix: Matrix, greatest: int) -> Features:
    """Give the features of distance zones."""
    return _sums(DISTANCE_NAMES, matrix) | {"z_perc": _per_voxel(matrix)}


def dependence_features(matrix: Matrix, greatest: int) -> Features:
    """Give the features of dependences; every voxel counts once, so that the percentage is 1 by definition."""
    shares = matrix.counts / matrix.counts.sum((1, 2), keepdims=True)
    energy = (shares**2).sum((1, 2))
    return _sums(DEPENDENCE_NAMES, matrix) | {"dc_perc": _per_voxel(matrix), "dc_energy": energy}


def _sums(names: tuple[str, ...], matrix: Matrix) -> Features:
    counts = np.ascontiguousarray(matrix.counts, dtype=np.float64)
    return dict(zip(names, size_features(counts, matrix.greys, matrix.columns).T, strict=True))


def _per_voxel(matrix: Matrix) -> npt.NDArray[np.float64]:
    return np.asarray(matrix.counts.sum((1, 2)) / matrix.voxels)
