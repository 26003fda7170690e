"""The kernels of voxel-wise maps as tensors: batches of neighbourhoods, each a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from radfuse.extract.tensors import cooccurrence, sizes
from radfuse.extract.tensors.intensities import intensity_features
from radfuse.extract.tensors.neighbourhoods import together
from radfuse.extract.tensors.room import Room
from radfuse.extract.tensors.tones import tone_features
from radfuse.extract.voxelwise.cooccurrence import FEATURES, MCC
from radfuse.extract.voxelwise.kernels import COMPILED

Array = npt.NDArray[Any]
Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Tensors:
    """The kernels of `radfuse.extract.voxelwise.kernels.Kernels` on a device; arguments are explained there.

    Parameters
    ----------
    room : the device, and how much it gets at once.
    """

    room: Room

    def intensity_maps(
        self, levels: Array, values: Array, centres: Array, steps: Array, greatest: int, shift: float,
        voxel_mm3: float, out: Array,
    ) -> None:  # fmt: skip
        """Fill ``out`` with first order features."""
        there = self.room.tensor(values)
        instead = (levels, values, centres, steps, greatest, shift, voxel_mm3, out)

        def features(cells: Tensor, places: Tensor) -> Batch:
            return (intensity_features(cells, there[places], shift, voxel_mm3),)

        self._fill(levels, centres, steps, steps.size**2, features, lambda: COMPILED.intensity_maps(*instead), out)

    def cooccurrence_maps(
        self, levels: Array, centres: Array, steps: Array, greatest: int, first: Array, second: Array, starts: Array,
        weights: Array, symmetric: bool, with_mcc: bool, out: Array, used: Array, independent: Array,
    ) -> None:  # fmt: skip
        """Fill ``out`` with GLCM features summed over directions, ``used`` and ``independent``."""
        one, other, shares = self.room.tensor(first), self.room.tensor(second), self.room.tensor(weights)
        spans = list(pairwise(starts.tolist()))
        given = (levels, centres, steps, greatest, first, second, starts, weights, symmetric, with_mcc)

        def features(cells: Tensor, places: Tensor) -> Batch:
            table = torch.zeros(len(cells), FEATURES, dtype=torch.float64, device=cells.device)
            count = torch.zeros(len(cells), dtype=torch.int64, device=cells.device)
            alone = torch.zeros(len(cells), len(spans), dtype=torch.bool, device=cells.device)
            numbers, number = cooccurrence.numbered(cells) if with_mcc else (cells, 0)
            for direction, (start, stop) in enumerate(spans):
                pair = one[start:stop], other[start:stop]
                low, high = cells[:, pair[0]], cells[:, pair[1]]
                own = torch.where((low > 0) & (high > 0), shares[start:stop], 0.0)
                found, alone[:, direction] = cooccurrence.pair_features(low, high, own, greatest, symmetric)
                table[:, : found.shape[1]] += found
                count += own.sum(1) > 0
                if with_mcc:
                    table[:, MCC] += cooccurrence.correlation_coefficient(
                        numbers[:, pair[0]], numbers[:, pair[1]], own, number, symmetric
                    )
            return table, count, alone

        pairs = max((stop - start for start, stop in spans), default=1)
        width = max(4 * pairs * pairs, steps.size**2)
        self._fill(
            levels, centres, steps, width, features,
            lambda: COMPILED.cooccurrence_maps(*given, out, used, independent), out, used, independent,
        )  # fmt: skip

    def dependence_maps(
        self, levels: Array, centres: Array, steps: Array, greatest: int, first: Array, second: Array, alpha: int,
        out: Array,
    ) -> None:  # fmt: skip
        """Fill ``out`` with GLDM features."""
        others = self.room.tensor(together(first, second, steps.size))
        instead = (levels, centres, steps, greatest, first, second, alpha, out)

        def features(cells: Tensor, places: Tensor) -> Batch:
            dependent = sizes.dependences(cells, others, alpha)
            return sizes.emphases(cells, dependent, (cells > 0).double())[:1]

        width = steps.size * max(steps.size, others.shape[1])
        self._fill(levels, centres, steps, width, features, lambda: COMPILED.dependence_maps(*instead), out)

    def zone_maps(
        self, levels: Array, centres: Array, steps: Array, greatest: int, first: Array, second: Array, out: Array
    ) -> None:
        """Fill ``out`` with GLSZM features."""
        others = self.room.tensor(together(first, second, steps.size))
        instead = (levels, centres, steps, greatest, first, second, out)

        def features(cells: Tensor, places: Tensor) -> Batch:
            found = sizes.zone_sizes(cells, others)
            return sizes.emphases(cells, found, (found > 0).double())[:1]

        width = steps.size * max(steps.size, others.shape[1])
        self._fill(levels, centres, steps, width, features, lambda: COMPILED.zone_maps(*instead), out)

    def run_maps(
        self, levels: Array, centres: Array, steps: Array, greatest: int, line_cells: Array, lines: Array,
        directions: Array, weights: Array, out: Array,
    ) -> None:  # fmt: skip
        """Fill ``out`` with GLRLM features, the mean over directions."""
        along = [
            (self.room.tensor(ahead), self.room.tensor(behind))
            for ahead, behind in _lines(line_cells, lines, directions, steps.size)
        ]
        side = int(np.diff(lines).max(initial=1))
        instead = (levels, centres, steps, greatest, line_cells, lines, directions, weights, out)

        def features(cells: Tensor, places: Tensor) -> Batch:
            runs = [sizes.run_sizes(cells, ahead, behind, side) for ahead, behind in along]
            items = [torch.where(several[:, None], lengths, 0) for lengths, several in runs]
            if weights.size:
                shares = [(found > 0).double() * weight for found, weight in zip(items, weights.tolist(), strict=True)]
                every = torch.cat([cells] * len(items), 1), torch.cat(items, 1), torch.cat(shares, 1)
                made = [sizes.emphases(*every)]
            else:
                made = [sizes.emphases(cells, found, (found > 0).double()) for found in items]
            table, used = sum(each for each, _ in made), sum(found.double() for _, found in made)
            return (table / used[:, None],)

        items = steps.size * (len(along) if weights.size else 1)
        self._fill(levels, centres, steps, items**2, features, lambda: COMPILED.run_maps(*instead), out)

    def tone_maps(
        self, levels: Array, centres: Array, steps: Array, greatest: int, first: Array, second: Array, out: Array
    ) -> None:
        """Fill ``out`` with NGTDM features."""
        others = self.room.tensor(together(first, second, steps.size))
        instead = (levels, centres, steps, greatest, first, second, out)

        def features(cells: Tensor, places: Tensor) -> Batch:
            return (tone_features(cells, others),)

        width = steps.size * max(steps.size, others.shape[1])
        self._fill(levels, centres, steps, width, features, lambda: COMPILED.tone_maps(*instead), out)

    def _fill(
        self, levels: Array, centres: Array, steps: Array, width: int, features: Callable[[Tensor, Tensor], Batch],
        instead: Callable[[], None], *out: Array,
    ) -> None:  # fmt: skip
        """Fill ``out`` batch by batch with what ``features`` makes of the cells, (voxel, cell), and their places."""

        def work(portion: int) -> None:
            grey, around = self.room.tensor(levels), self.room.tensor(steps)
            for start in range(0, centres.size, portion):
                part = slice(start, start + portion)
                places = self.room.tensor(centres[part])[:, None] + around
                for target, made in zip(out, features(grey[places], places), strict=True):
                    target[part] = made.cpu().numpy()

        self.room.run(work, width, instead)


def _lines(line_cells: Array, lines: Array, directions: Array, cells: int) -> list[tuple[Array, Array]]:
    """Give for each direction the cells ahead of and behind each cell on its line; ``cells`` where there is none."""
    found = []
    for begin, end in pairwise(directions.tolist()):
        ahead, behind = np.full(cells, cells), np.full(cells, cells)
        for line in range(begin, end):
            own = line_cells[lines[line] : lines[line + 1]]
            ahead[own[:-1]], behind[own[1:]] = own[1:], own[:-1]
        found.append((ahead, behind))
    return found
