"""The counts of a region's texture on a device: whole numbers, so that they are the compiled loops' to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from radfuse.extract.native.counting import Compiled
from radfuse.extract.tensors.room import Room

if TYPE_CHECKING:
    from radfuse.extract.native.texture import Places

Array = npt.NDArray[Any]
Levels = npt.NDArray[np.int16]


@dataclass(frozen=True)
class OnDevice:
    """Count with torch; what does not fit the device's memory is counted by the compiled loops.

    Parameters
    ----------
    places, levels, rows, grey : as for `radfuse.extract.native.counting.Compiled`.
    room : the device.
    """

    places: Places
    levels: Levels
    rows: Levels
    grey: int
    room: Room = field(default_factory=lambda: Room("cuda"))

    def pairs(self) -> Array:
        """Count pairs, see `radfuse.extract.native.counting.Counts`."""
        return self.room.run(self._pairs, 1, self._compiled.pairs)

    def surroundings(self, alpha: int) -> tuple[Array, Array]:
        """Count dependences and sum differences, see `radfuse.extract.native.counting.Counts`."""
        return self.room.run(
            lambda portion: self._surroundings(alpha, portion), 1, lambda: self._compiled.surroundings(alpha)
        )

    def runs(self) -> Array:
        """Count runs, see `radfuse.extract.native.counting.Counts`."""
        return self.room.whole(self._runs, self._compiled.runs)

    def zones(self) -> tuple[Array, Array]:
        """Find zones, see `radfuse.extract.native.counting.Counts`."""
        return self.room.whole(self._zones, self._compiled.zones)

    @cached_property
    def _compiled(self) -> Compiled:
        return Compiled(self.places, self.levels, self.rows, self.grey)

    @cached_property
    def _grey(self) -> Tensor:
        return self.room.tensor(self.levels)

    @cached_property
    def _numbers(self) -> Tensor:
        return self._grey if self.rows is self.levels else self.room.tensor(self.rows)

    @cached_property
    def _where(self) -> Tensor:
        return self.room.tensor(self.places.flat)

    @cached_property
    def _indices(self) -> Tensor:
        """By place in the padded box, which voxel of the region it is; outside nothing is to be looked up."""
        indices = torch.zeros(self.places.size, dtype=torch.int64, device=self.room.device)
        indices[self._where] = torch.arange(len(self._where), device=self.room.device)
        return indices

    def _pairs(self, portion: int) -> Array:
        wide = self.grey + 1
        tables = []
        for step in self.places.pair_steps.tolist():
            table = torch.zeros(wide * wide, dtype=torch.int64, device=self.room.device)
            for part in self._where.split(portion):
                cells = self._numbers[part] * wide + self._numbers[part + step]
                table += torch.bincount(cells, minlength=wide * wide)
            tables.append(table.reshape(wide, wide)[1:, 1:])
        return np.asarray(torch.stack(tables).cpu())

    def _surroundings(self, alpha: int, portion: int) -> tuple[Array, Array]:
        wide = 2 * len(self.places.pair_steps) + 1
        dependences = torch.zeros(self.grey * wide, dtype=torch.int64, device=self.room.device)
        apart = []
        for part in self._where.split(portion):
            own = self._grey[part]
            dependent, totals, count = (torch.zeros_like(own) for _ in range(3))
            for step in self.places.pair_steps.tolist():
                for place in (part - step, part + step):
                    other = self._grey[place]
                    there = other > 0
                    dependent += there & ((other - own).abs() <= alpha)
                    totals += other
                    count += there
            dependences += torch.bincount((self._numbers[part] - 1) * wide + dependent, minlength=self.grey * wide)
            means = totals.double() / count.clamp(min=1).double()
            apart.append(torch.where(count > 0, (own.double() - means).abs(), 0.0).cpu().numpy())
        # The differences are fractions: added up one after the other, as the compiled loop does.
        rows = self.rows[self.places.flat].astype(np.int64) - 1
        voxels = np.bincount(rows, minlength=self.grey).astype(np.float64)
        differences = np.bincount(rows, np.concatenate(apart), minlength=self.grey)
        return dependences.reshape(self.grey, wide).cpu().numpy(), np.stack([voxels, differences], 1)

    def _runs(self) -> Array:
        longest = max(self.places.shape) + 1
        rows = self._numbers[self._where] * longest
        tables = []
        for step in self.places.next_steps.tolist():
            # As many runs are at least k long as there are voxels that are the k-th of their run. How many lie
            # before a voxel in its run is found by jumps of twice the length each time.
            going = self._grey[self._where] == self._grey[self._where - step]
            before = going.long()
            target = torch.where(going, self._indices[self._where - step], torch.arange(len(going), device=rows.device))
            for _ in range(longest.bit_length()):
                before = before + before[target]
                target = target[target]
            reached = torch.bincount(rows + before + 1, minlength=(self.grey + 1) * longest)
            reached = reached.reshape(self.grey + 1, longest)
            tables.append(reached[1:, 1:-1] - reached[1:, 2:])
        return np.asarray(torch.stack(tables).cpu())

    def _zones(self) -> tuple[Array, Array]:
        """Join neighbours of one level, each zone known by its first voxel: hook and jump [Shiloach & Vishkin 1982].

        As in doi:10.1016/0196-6774(82)90008-6; every zone's number only falls, to that of its first voxel.
        """
        parents = torch.arange(len(self._where), device=self.room.device)
        unsettled = True
        while unsettled:
            unsettled = False
            for voxels, behind in self._equal():
                one, other = parents[voxels], parents[behind]
                lower = torch.minimum(one, other)
                # Of several joins of one zone the lowest number wins, in whichever order they come.
                hooked = parents.scatter_reduce(0, torch.maximum(one, other), lower, "amin")
                unsettled |= not torch.equal(hooked, parents)
                parents = _flattened(hooked)
        sizes = torch.bincount(parents, minlength=len(parents))
        first = sizes.nonzero()[:, 0]
        rows = self._numbers[self._where[first]].cpu().numpy()
        return rows.astype(np.int16), sizes[first].cpu().numpy()

    def _equal(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Give, direction by direction, the voxels that go on with the level of the voxel behind, and that one."""
        for step in self.places.next_steps.tolist():
            voxels = (self._grey[self._where] == self._grey[self._where - step]).nonzero()[:, 0]
            yield voxels, self._indices[self._where[voxels] - step]


def _flattened(parents: Tensor) -> Tensor:
    """Let every voxel know its zone's lowest number directly."""
    while True:
        above = parents[parents]
        if torch.equal(above, parents):
            return parents
        parents = above
