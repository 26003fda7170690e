"""A map between two spaces that bends: a matrix, and how far each point goes astray before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.data.transform import Transform
from radfuse.errors import DataError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Deformation:
    """Take a point of the fixed space (LPS millimetres) to the moving space: ``linear(point + field(point))``.

    The field is interpolated linearly between the points of a coarse grid. Where the grid ends, half a voxel beyond
    its outer points, the field is zero and the matrix alone counts, as in SimpleITK's DisplacementFieldTransform.

    Parameters
    ----------
    linear : the matrix, applied after the field.
    field_mm : displacements (z, y, x, component), the components along LPS x, y, z; made read-only.
    grid : where the displacements are, in the fixed space.
    """

    linear: Transform
    field_mm: npt.NDArray[np.float32]
    grid: Geometry

    def __post_init__(self) -> None:
        expected = (*self.grid.shape, 3)
        if self.field_mm.shape != expected:
            raise DataError(f"a displacement field has shape {self.field_mm.shape}, its grid asks for {expected}")
        if not np.isfinite(self.field_mm).all():
            raise DataError("a displacement field holds values that are not finite")
        self.field_mm.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same map, number for number."""
        if not isinstance(other, Deformation):
            return NotImplemented
        same = self.linear == other.linear and self.grid == other.grid
        return same and np.array_equal(self.field_mm, other.field_mm)

    def __hash__(self) -> int:
        return hash((self.linear, self.grid))

    @property
    def is_identity(self) -> bool:
        """Whether points stay where the headers put them."""
        return self.linear.is_identity and not self.field_mm.any()

    def apply(self, points_mm: npt.ArrayLike) -> Array:
        """Map points of shape (n, 3)."""
        points = np.asarray(points_mm, dtype=float).reshape(-1, 3)
        return self.linear.apply(points + self.bend_mm(points))

    def bend_mm(self, points_mm: npt.ArrayLike) -> Array:
        """Give the field at points of shape (n, 3), without the matrix."""
        from scipy.ndimage import map_coordinates

        points = np.asarray(points_mm, dtype=float).reshape(-1, 3)
        inverse = np.linalg.inv(self.grid.index_to_physical)
        index = points @ inverse[:3, :3].T + inverse[:3, 3]
        inside = np.all((index >= -0.5) & (index <= np.asarray(self.grid.size) - 0.5), axis=1)
        parts = [
            map_coordinates(self.field_mm[..., axis], index.T[::-1], order=1, mode="nearest", output=np.float64)
            for axis in range(3)
        ]
        return np.where(inside[:, None], np.stack(parts, axis=1), 0.0)

    def displacement_mm(self, points_mm: npt.ArrayLike) -> float:
        """The largest distance that any of the points (n, 3) moves."""
        points = np.asarray(points_mm, dtype=float).reshape(-1, 3)
        return float(np.linalg.norm(self.apply(points) - points, axis=1).max())

    @property
    def jacobian(self) -> Array:
        """Local change of volume that the field makes, on its grid (z, y, x): the determinant of I + grad u.

        1 keeps volume, below 0 the map folds. By central differences, one-sided at the border. A grid one voxel thin
        along an axis cannot say anything about that axis and counts as not bent along it.
        """
        x, y, z = self.grid.spacing_mm
        by_index = np.zeros((*self.grid.shape, 3, 3))
        for axis, step in enumerate((z, y, x)):
            if self.grid.shape[axis] > 1:
                by_index[..., 2 - axis] = np.gradient(self.field_mm.astype(np.float64), step, axis=axis)
        # The derivative along LPS axes: columns of the direction are the directions of the index axes.
        direction = np.asarray(self.grid.direction).reshape(3, 3)
        return np.asarray(np.linalg.det(np.eye(3) + by_index @ direction.T))


Motion = Transform | Deformation
"""What a registration may find."""


def straight(motion: Motion) -> Transform:
    """Give a motion without its bend."""
    return motion.linear if isinstance(motion, Deformation) else motion


ROUNDS = 20  # of the fixed-point search for a bend's inverse; each shortens the rest by the bend's steepness


def led_back(motion: Motion, points_mm: npt.ArrayLike) -> Array:
    """Lead points (n, 3) of the moving space back to the fixed one: the inverse of a motion.

    A bend's is found by walking back over and over [Chen et al. 2008, Med Phys 35:81, doi:10.1118/1.2816107], which
    ends where the bend stretches nothing to more than double.
    """
    if not isinstance(motion, Deformation):
        return motion.inverse.apply(points_mm)
    straight = motion.linear.inverse.apply(points_mm)
    points = straight
    for _ in range(ROUNDS):
        points = straight - motion.bend_mm(points)
    return points


def composed(first: Motion, then: Motion, grid: Geometry) -> Motion:
    """Give the one map that leads through two: ``then(first(point))``.

    Matrices are multiplied, and a bend before a matrix stays as it is. A bend that comes second is sampled: between
    the points of the grid it is interpolated linearly, as every field is.

    Parameters
    ----------
    first, then : the space that the first leads to is the one that the second starts from.
    grid : where a field is sampled, in the space that the first starts from; as fine as the second's own.
    """
    start, end = straight(first), straight(then)
    linear = Transform.from_array(end.array @ start.array)
    if not isinstance(then, Deformation):
        return linear if isinstance(first, Transform) else Deformation(linear, first.field_mm, first.grid)
    points = grid.centres_mm
    there = first.apply(points)
    # start(p + field) = first(p) + then's bend there, solved for the field.
    field = start.inverse.apply(there + then.bend_mm(there)) - points
    return Deformation(linear, field.reshape(*grid.shape, 3).astype(np.float32), grid)
