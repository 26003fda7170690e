"""The neighbourhood of a voxel: its cells, the pairs and the lines among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.extract.native.texture import NORMS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Pairs:
    """Pairs of cells, direction by direction.

    Parameters
    ----------
    first, second : cells of each pair; the second lies one step of the direction further.
    starts : where the pairs of each direction start, and where the last one's end.
    """

    first: Places
    second: Places
    starts: Ints


@dataclass(frozen=True)
class Neighbourhood:
    """A cube around a voxel, or a square where features are two-dimensional.

    Parameters
    ----------
    radius : in voxels; the cube has ``2 * radius + 1`` of them on a side.
    settings : PyRadiomics settings; `distances`, `force2D`, `force2Ddimension` and `weightingNorm` count.
    spacing_mm : voxel size along z, y, x, for weighted directions.
    """

    radius: int
    settings: Mapping[str, Any]
    spacing_mm: Floats

    @property
    def flat_axis(self) -> int | None:
        """The axis along which nothing is a neighbour; None in three dimensions."""
        return int(self.settings.get("force2Ddimension", 0)) if self.settings.get("force2D", False) else None

    @property
    def cells(self) -> Ints:
        """Steps (cell, 3) along z, y, x from the voxel to each cell, itself included."""
        return _cells(self.radius, self.flat_axis)

    @property
    def pairs(self) -> Pairs:
        """Pairs of GLCM, GLDM and NGTDM, at `distances`."""
        return _pairs(self.radius, self.flat_axis, self.distances)

    @property
    def touching(self) -> Pairs:
        """Pairs of cells that touch: those of zones."""
        return _pairs(self.radius, self.flat_axis, (1,))

    @property
    def distances(self) -> tuple[int, ...]:
        """Distances of pairs."""
        return tuple(int(distance) for distance in self.settings.get("distances", [1]))

    @property
    def lines(self) -> tuple[Places, Ints, Ints]:
        """Cells line by line; where each line starts; which line is the first of each direction."""
        return _lines(self.radius, self.flat_axis)

    def pair_weights(self) -> Floats | None:
        """Weights of the directions of GLCM; None where each is a matrix of its own."""
        return self._weights(_angles(self.flat_axis, self.distances), lambda mm: np.exp(-(mm**2)))

    def run_weights(self) -> Floats | None:
        """Weights of the directions of GLRLM; None where each is a matrix of its own."""
        return self._weights(_angles(self.flat_axis, (1,)), lambda mm: mm)

    def _weights(self, angles: Ints, weight: Any) -> Floats | None:
        norm = self.settings.get("weightingNorm")
        if norm is None:
            return None
        # What PyRadiomics does not know, `no_weighting` among it, weighs 1.
        steps_mm = np.abs(angles) * self.spacing_mm
        return np.asarray(weight(NORMS[norm](steps_mm)) if norm in NORMS else np.ones(len(angles)))


# How cells lie to each other is the same for every image, and found once.
@lru_cache(maxsize=64)
def _cells(radius: int, flat_axis: int | None) -> Ints:
    reach = [0 if axis == flat_axis else radius for axis in range(3)]
    return np.argwhere(np.ones([2 * r + 1 for r in reach], bool)) - reach


@lru_cache(maxsize=64)
def _numbers(radius: int, flat_axis: int | None) -> dict[tuple[int, ...], int]:
    return {tuple(step): number for number, step in enumerate(_cells(radius, flat_axis).tolist())}


@lru_cache(maxsize=64)
def _angles(flat_axis: int | None, distances: tuple[int, ...]) -> Ints:
    from radiomics import cMatrices

    size = np.full(3, 2 * max(distances) + 1)
    found = cMatrices.generate_angles(size, np.array(distances), False, flat_axis is not None, flat_axis or 0)
    return np.asarray(found, dtype=np.int64)


@lru_cache(maxsize=64)
def _pairs(radius: int, flat_axis: int | None, distances: tuple[int, ...]) -> Pairs:
    cells, numbers = _cells(radius, flat_axis), _numbers(radius, flat_axis)
    first, second, starts = [], [], [0]
    for angle in _angles(flat_axis, distances):
        for cell, step in enumerate((cells + angle).tolist()):
            other = numbers.get(tuple(step))
            if other is not None:
                first.append(cell)
                second.append(other)
        starts.append(len(first))
    return Pairs(np.array(first, np.uint16), np.array(second, np.uint16), np.array(starts))


@lru_cache(maxsize=64)
def _lines(radius: int, flat_axis: int | None) -> tuple[Places, Ints, Ints]:
    numbers = _numbers(radius, flat_axis)
    cells: list[int] = []
    lines, directions = [0], [0]
    for dz, dy, dx in _angles(flat_axis, (1,)).tolist():
        for z, y, x in numbers:
            if (z - dz, y - dy, x - dx) in numbers:
                continue  # not the first of its line
            place = z, y, x
            while place in numbers:
                cells.append(numbers[place])
                place = place[0] + dz, place[1] + dy, place[2] + dx
            lines.append(len(cells))
        directions.append(len(lines) - 1)
    return np.array(cells, np.uint16), np.array(lines), np.array(directions)


@dataclass(frozen=True)
class Levels:
    """Grey levels of a region and the voxels that get a value.

    Parameters
    ----------
    grey : levels from 1 of the padded box, flat; 0 where nothing counts.
    centres : where in ``grey`` the voxels are, rising.
    strides : steps in ``grey`` along z, y, x.
    """

    grey: npt.NDArray[np.int16]
    centres: Ints
    strides: Ints

    @property
    def greatest(self) -> int:
        """The greatest level."""
        return int(self.grey.max())

    def steps(self, neighbourhood: Neighbourhood) -> Ints:
        """The cells of a neighbourhood as steps in ``grey``."""
        return neighbourhood.cells @ self.strides


def slabs(count: int, threads: int) -> list[slice]:
    """Cut the voxels into one slab for each thread."""
    edges = np.linspace(0, count, max(1, min(threads, count)) + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(edges)]
