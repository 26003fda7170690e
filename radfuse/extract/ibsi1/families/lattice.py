"""Grey levels of a region on their own small grid, and the texture matrices of that grid."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.extract.ibsi1.families.zone_kernels import zones_with_distances
from radfuse.extract.kernels.neighbours import neighbour_counts, pair_counts, surroundings
from radfuse.extract.kernels.runs import equal_behind, run_lengths, shortcuts

Array = npt.NDArray[Any]
Levels = npt.NDArray[np.int32]
Distances = npt.NDArray[np.int32]

# Empty voxels around the box along z, y, x: no step from a line of the region leads out of the padded box.
PADDING = (1, 2, 1)


@lru_cache(maxsize=2)
def directions(flat: bool) -> npt.NDArray[np.int64]:
    """Give one of each two opposite steps to a neighbour, along z, y, x: 4 within a slice, 13 in space."""
    steps = [(z, y, x) for z in (0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0)]
    return np.array([step for step in steps if not (flat and step[0])], dtype=np.int64)


@lru_cache(maxsize=2)
def joined(flat: bool) -> tuple[Array, Array]:
    """Say which neighbours need be joined to make a zone, see `radfuse.extract.kernels.runs.shortcuts`."""
    return shortcuts(directions(flat))


@dataclass
class Lattice:
    """A box of grey levels, and the matrices counted on it.

    Every matrix has a row per grey level that occurs, ``greys``.

    Parameters
    ----------
    box : grey levels from 1, (z, y, x); 0 outside the region; some voxel is inside.
    distances : of every voxel of the box to the border of the morphological mask.
    flat : look for neighbours within slices only; the box is then one slice.
    """

    box: Levels
    distances: Distances
    flat: bool

    def __post_init__(self) -> None:
        padded = np.pad(self.box, [(more, more) for more in PADDING])
        self.shape: tuple[int, int, int] = padded.shape
        self.width = self.shape[2]
        strides = np.array([self.shape[1] * self.shape[2], self.shape[2], 1], dtype=np.int64)
        self.angles = directions(self.flat)
        self.steps = self.angles @ strides
        self.levels = padded.ravel().astype(np.int16)
        self.places = np.flatnonzero(self.levels).astype(np.int32)
        present = np.flatnonzero(np.bincount(self.levels[self.places]))
        numbers = np.zeros(int(present[-1]) + 1, np.int16)
        numbers[present] = np.arange(1, present.size + 1)
        self.rows = numbers[self.levels]
        self.greys = present.astype(np.float64)

    @property
    def voxels(self) -> int:
        """Voxels of the region."""
        return int(self.places.size)

    def pairs(self) -> Array:
        """Count neighbours by direction and levels, each pair both ways: (direction, row, row)."""
        counts = pair_counts(self.rows, self.places, self.steps, self.greys.size)
        return np.asarray(counts + counts.transpose(0, 2, 1))

    def runs(self) -> Array:
        """Count runs by direction, level and length: (direction, row, length - 1)."""
        return run_lengths(self.levels, self.rows, self.places, self.shape, self.angles, self.greys.size)

    @cached_property
    def zones(self) -> tuple[Array, Array, Array]:
        """Row, size and least distance of every zone of equal levels."""
        bits = equal_behind(self.levels, self.width, self.steps)
        distances = np.pad(self.distances, [(more, more) for more in PADDING]).ravel()
        rows, sizes, least = zones_with_distances(
            bits, self.rows, distances, self.places, self.steps, *joined(self.flat)
        )
        return rows - 1, sizes, least

    @cached_property
    def surroundings(self) -> tuple[Array, Array]:
        """Counts (row, dependent neighbours); by row the voxels with neighbours and their differences to the mean."""
        inside = (self.levels > 0).astype(np.uint8)
        neighbours = neighbour_counts(inside, self.width, self.steps)
        dependences, differences = surroundings(
            self.levels, self.rows, neighbours, self.width, self.steps, 0, self.greys.size
        )
        # A voxel without any neighbour has no neighbourhood to differ from (manual 3.10).
        lonely = self.places[neighbours[self.places] == 0]
        differences[:, 0] -= np.bincount(self.rows[lonely] - 1, minlength=self.greys.size)
        return dependences, differences
