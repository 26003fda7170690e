"""What is counted in a region for its texture, by compiled loops on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels.neighbours import pair_counts, surroundings
from radfuse.extract.kernels.runs import equal_behind, run_lengths, zones

if TYPE_CHECKING:
    from radfuse.extract.native.texture import Places

Array = npt.NDArray[Any]
Levels = npt.NDArray[np.int16]


class Counts(Protocol):
    """The counts that texture features are made of; who counts makes no difference to the last bit."""

    def pairs(self) -> Array:
        """Pairs of neighbours: (direction, row of the voxel, row of the neighbour)."""

    def surroundings(self, alpha: int) -> tuple[Array, Array]:
        """Dependences and differences, see `radfuse.extract.kernels.neighbours.surroundings`."""

    def runs(self) -> Array:
        """Runs: (direction, row, length - 1); how many lengths there are is the counter's own choice."""

    def zones(self) -> tuple[Array, Array]:
        """Row, from 1, and size of each zone, in the order of their first voxels."""


class Counting(Protocol):
    """Makes the counts of one image in one region."""

    def __call__(self, places: Places, levels: Levels, rows: Levels, grey: int) -> Counts:
        """Take the grey levels of the padded box, flat, their numbers from 1 among the ``grey`` that occur."""


def counting_on(device: str) -> Counting:
    """Give who counts on a device: compiled loops on the CPU, tensors elsewhere."""
    if device == "cpu":
        return Compiled
    from radfuse.extract.tensors.counting import OnDevice
    from radfuse.extract.tensors.room import Room

    return partial(OnDevice, room=Room(device))


@dataclass(frozen=True)
class Compiled:
    """Count with numba, on one core.

    Parameters
    ----------
    places : the voxels of the region.
    levels, rows : grey level of each voxel of the padded box and its number from 1, flat; 0 outside the region.
    grey : how many grey levels occur.
    """

    places: Places
    levels: Levels
    rows: Levels
    grey: int

    def pairs(self) -> Array:
        """Count pairs, see `Counts`."""
        return pair_counts(self.rows, self.places.flat, self.places.pair_steps, self.grey)

    def surroundings(self, alpha: int) -> tuple[Array, Array]:
        """Count dependences and sum differences, see `Counts`."""
        places = self.places
        return surroundings(
            self.levels, self.rows, places.neighbour_counts, places.width, places.pair_steps, alpha, self.grey
        )

    def runs(self) -> Array:
        """Count runs, see `Counts`."""
        places = self.places
        return run_lengths(self.levels, self.rows, places.flat, places.shape, places.step_angles, self.grey)

    def zones(self) -> tuple[Array, Array]:
        """Find zones, see `Counts`."""
        places = self.places
        return zones(self.equal_behind, self.rows, places.flat, places.next_steps, *places.shortcuts)

    @cached_property
    def equal_behind(self) -> Array:
        """In which directions each voxel goes on with the level of the voxel before."""
        return equal_behind(self.levels, self.places.width, self.places.next_steps)
