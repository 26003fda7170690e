"""Axial, coronal and sagittal planes as a reader knows them, whatever the order and direction of the voxels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask

PLANES = ("axial", "coronal", "sagittal")
# What stands at the left and right, top and bottom of each plane: patient's right and left, front and back, head, feet.
EDGES = {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "S", "I"), "sagittal": ("A", "P", "S", "I")}


@dataclass(frozen=True)
class Upright:
    """How to turn an array (z, y, x) so that its axes run from head to feet, front to back, right to left.

    An oblique grid is turned to the nearest such order; nothing is resampled.

    Parameters
    ----------
    order : which axis of the array each of the three is.
    flipped : whether each of the three runs the other way in the array.
    spacing_mm : along the three.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, geometry: Geometry) -> Upright:
        """Read it off a grid's direction cosines."""
        cosines = np.asarray(geometry.direction).reshape(3, 3)  # column j: where index axis j (x, y, z) points, in LPS
        best = max(permutations(range(3)), key=lambda p: sum(abs(cosines[axis, p[axis]]) for axis in range(3)))
        left, back, head = (cosines[axis, best[axis]] for axis in range(3))
        spacing = tuple(geometry.spacing_mm[best[axis]] for axis in (2, 1, 0))
        order = tuple(2 - best[axis] for axis in (2, 1, 0))
        return cls(order, (bool(head > 0), bool(back < 0), bool(left < 0)), spacing)  # type: ignore[arg-type]

    def turn(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn an array; further axes, such as colours, stay last."""
        rest = tuple(range(3, array.ndim))
        flips = tuple(axis for axis, flip in enumerate(self.flipped) if flip)
        return np.asarray(np.flip(np.transpose(array, self.order + rest), flips))

    def aspect(self, plane: str) -> float:
        """Height over width of a pixel of a plane."""
        rows, columns = (axis for axis in range(3) if axis != PLANES.index(plane))
        return self.spacing_mm[rows] / self.spacing_mm[columns]


@dataclass(frozen=True)
class Place:
    """Where to cut, and how much around it to show, in the turned array.

    Parameters
    ----------
    turned : how the array was turned.
    centre : the index of the axial, coronal and sagittal plane.
    box : what is shown along the three axes.
    """

    turned: Upright
    centre: tuple[int, int, int]
    box: tuple[slice, slice, slice]

    @classmethod
    def of(cls, geometry: Geometry, mask: Mask | None, margin_mm: float | None = None) -> Place:
        """Cut through the region's centre, or the grid's where there is none; show all, or a margin around the region.

        The centre is the region's voxel nearest to its centre of mass, so that each plane meets a hollow region too.
        """
        turned = Upright.of(geometry)
        shape = [geometry.shape[axis] for axis in turned.order]
        whole = tuple(slice(0, n) for n in shape)
        inside = None if mask is None else np.argwhere(turned.turn(mask.inside))
        if inside is None or not len(inside):
            return cls(turned, tuple(n // 2 for n in shape), whole)  # type: ignore[arg-type]
        away = ((inside - inside.mean(axis=0)) * np.asarray(turned.spacing_mm)) ** 2
        centre = tuple(int(n) for n in inside[away.sum(axis=1).argmin()])
        box = whole
        if margin_mm is not None:
            reach = [margin_mm / h for h in turned.spacing_mm]
            low, high = inside.min(axis=0), inside.max(axis=0)
            box = tuple(
                slice(max(0, int(low[a] - reach[a])), min(shape[a], int(high[a] + reach[a]) + 2)) for a in range(3)
            )
        return cls(turned, centre, box)  # type: ignore[arg-type]

    def at(self, plane: str, index: int, shape: tuple[int, int, int]) -> Place:
        """Cut a plane elsewhere: at an index as `stored_index` gives it, within 0 and the length less one."""
        axis = PLANES.index(plane)
        centre = list(self.centre)
        centre[axis] = shape[self.turned.order[axis]] - 1 - index if self.turned.flipped[axis] else index
        return replace(self, centre=tuple(centre))  # type: ignore[arg-type]

    def cut(self, array: npt.NDArray[Any], plane: str) -> npt.NDArray[Any]:
        """Give the shown part of a plane of an array as it is stored: (row, column), colours last."""
        axis = PLANES.index(plane)
        part: list[int | slice] = list(self.box)
        part[axis] = self.centre[axis]
        return np.asarray(self.turned.turn(array)[tuple(part)])

    def stored_index(self, plane: str, shape: tuple[int, int, int]) -> int:
        """The index of a plane along its own axis of an array as it is stored, of the given shape."""
        axis = PLANES.index(plane)
        length = shape[self.turned.order[axis]]
        return length - 1 - self.centre[axis] if self.turned.flipped[axis] else self.centre[axis]

    def size_mm(self, plane: str) -> tuple[float, float]:
        """Height and width of what is shown of a plane."""
        lengths = [(part.stop - part.start) * h for part, h in zip(self.box, self.turned.spacing_mm, strict=True)]
        del lengths[PLANES.index(plane)]
        return lengths[0], lengths[1]
