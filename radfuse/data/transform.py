"""A rigid or affine map between two spaces, as a matrix."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Transform:
    """Take a point of the fixed space (LPS millimetres) to the moving space, as resampling needs it.

    Parameters
    ----------
    matrix : 4 x 4 homogeneous matrix, row by row.
    """

    matrix: tuple[tuple[float, ...], ...]

    @classmethod
    def identity(cls) -> "Transform":
        """The header's own alignment."""
        return cls.from_array(np.eye(4))

    @classmethod
    def from_array(cls, matrix: npt.ArrayLike) -> "Transform":
        """Build from any 4 x 4 array."""
        return cls(tuple(map(tuple, np.asarray(matrix, dtype=float).reshape(4, 4).tolist())))

    @classmethod
    def about(cls, centre_mm: npt.ArrayLike, turn: npt.ArrayLike, shift_mm: npt.ArrayLike) -> "Transform":
        """Apply a 3 x 3 matrix about a centre, then shift."""
        matrix, centre = np.eye(4), np.asarray(centre_mm, dtype=float)
        matrix[:3, :3] = turn
        matrix[:3, 3] = centre + np.asarray(shift_mm, dtype=float) - matrix[:3, :3] @ centre
        return cls.from_array(matrix)

    @property
    def array(self) -> npt.NDArray[np.float64]:
        """The 4 x 4 matrix as an array."""
        return np.asarray(self.matrix, dtype=float)

    @property
    def inverse(self) -> "Transform":
        """The way back."""
        return Transform.from_array(np.linalg.inv(self.array))

    @property
    def is_identity(self) -> bool:
        """Whether points stay where the headers put them."""
        return bool(np.array_equal(self.array, np.eye(4)))

    @property
    def volume_change(self) -> float:
        """How much larger things get: the determinant, 1 for a rigid map, negative for a mirror."""
        return float(np.linalg.det(self.array[:3, :3]))

    def apply(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points of shape (n, 3)."""
        points = np.asarray(points_mm, dtype=float).reshape(-1, 3)
        return points @ self.array[:3, :3].T + self.array[:3, 3]

    def displacement_mm(self, points_mm: npt.ArrayLike) -> float:
        """The largest distance that any of the points (n, 3) moves."""
        points = np.asarray(points_mm, dtype=float).reshape(-1, 3)
        return float(np.linalg.norm(self.apply(points) - points, axis=1).max())
