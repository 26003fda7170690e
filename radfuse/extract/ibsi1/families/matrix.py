"""A texture matrix, and how matrices of several slices or directions become one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Matrix:
    """Counts of one slice or of a volume.

    Parameters
    ----------
    counts : (direction, grey level, column); one direction where the family knows none.
    greys : what the rows stand for, rising.
    columns : what the columns stand for, rising: sizes, distances, grey levels of the neighbour.
    voxels : voxels of the region.
    """

    counts: Array
    greys: Floats
    columns: Floats
    voxels: int

    def together(self) -> "Matrix":
        """Add the directions up."""
        return Matrix(self.counts.sum(0, keepdims=True), self.greys, self.columns, self.voxels)


def merged(parts: Sequence[Matrix]) -> Matrix:
    """Add matrices of several slices up, direction by direction."""
    greys = np.unique(np.concatenate([part.greys for part in parts]))
    columns = np.unique(np.concatenate([part.columns for part in parts]))
    counts = np.zeros((parts[0].counts.shape[0], greys.size, columns.size))
    for part in parts:
        rows = np.searchsorted(greys, part.greys)
        counts[:, rows[:, None], np.searchsorted(columns, part.columns)] += part.counts
    return Matrix(counts, greys, columns, sum(part.voxels for part in parts))
