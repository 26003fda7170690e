"""Where voxels are: size, spacing, origin and direction, in SimpleITK's order and LPS millimetres."""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from radfuse.data.box import Box, size_of
from radfuse.errors import GeometryError

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

# 1e-3 of a voxel moves no feature; float32 headers round to about 1e-7 relative (fault F17 of real cohorts).
TOLERANCE_VOXELS = 1e-3


@dataclass(frozen=True)
class Geometry:
    """A regular grid in space.

    Parameters
    ----------
    size : voxels along x, y, z.
    spacing_mm : distance between voxel centres along x, y, z.
    origin_mm : LPS position of the centre of voxel (0, 0, 0).
    direction : 3 x 3 cosines, row by row; column j is the direction of index axis j.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY

    def __post_init__(self) -> None:
        if len(self.size) != 3 or len(self.spacing_mm) != 3 or len(self.origin_mm) != 3 or len(self.direction) != 9:
            raise GeometryError(f"a grid has three axes, found size {self.size} and spacing {self.spacing_mm}")
        if min(self.size) < 1:
            raise GeometryError(f"a grid needs at least one voxel along every axis, found size {self.size}")
        if not all(math.isfinite(s) and s > 0 for s in self.spacing_mm):
            raise GeometryError(f"voxel spacing must be positive millimetres, found {self.spacing_mm}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """NumPy's shape (z, y, x)."""
        x, y, z = self.size
        return (z, y, x)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return math.prod(self.spacing_mm) / 1000.0

    @property
    def index_to_physical(self) -> npt.NDArray[np.float64]:
        """The 4 x 4 matrix from (i, j, k, 1) indices in x, y, z order to LPS millimetres."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction).reshape(3, 3) * np.asarray(self.spacing_mm)
        matrix[:3, 3] = self.origin_mm
        return matrix

    @property
    def corners_mm(self) -> npt.NDArray[np.float64]:
        """LPS positions of the eight outer corner voxel centres, shape (8, 3)."""
        last = [(0, n - 1) for n in self.size]
        index = np.array([(i, j, k, 1) for i in last[0] for j in last[1] for k in last[2]], dtype=float)
        return (index @ self.index_to_physical.T)[:, :3]

    @property
    def centres_mm(self) -> npt.NDArray[np.float64]:
        """LPS positions of all voxel centres in the order of the array, shape (z * y * x, 3).

        Examples
        --------
        >>> Geometry((2, 1, 2), (2.0, 1.0, 5.0)).centres_mm.tolist()
        [[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 5.0], [2.0, 0.0, 5.0]]
        """
        index = np.stack(np.meshgrid(*(np.arange(n) for n in self.shape), indexing="ij"), axis=-1)[..., ::-1]
        matrix = self.index_to_physical
        return np.asarray(index.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3])

    def matches(self, other: "Geometry", tolerance_voxels: float = TOLERANCE_VOXELS) -> bool:
        """Whether every voxel centre of both grids agrees to a fraction of a voxel."""
        if self.size != other.size:
            return False
        limit_mm = tolerance_voxels * min(self.spacing_mm)
        return bool(np.abs(self.corners_mm - other.corners_mm).max() <= limit_mm)

    def differences(self, other: "Geometry") -> str:
        """Say in words how the other grid differs; empty when the grids match."""
        if self.matches(other):
            return ""
        parts = []
        if self.size != other.size:
            parts.append(f"size {self.size} against {other.size} voxels")
        if not np.allclose(self.spacing_mm, other.spacing_mm, rtol=1e-4):
            parts.append(f"spacing {_mm(self.spacing_mm)} against {_mm(other.spacing_mm)} mm")
        if not np.allclose(self.direction, other.direction, atol=1e-4):
            parts.append("direction cosines differ")
        shift = np.asarray(other.origin_mm) - np.asarray(self.origin_mm)
        if np.abs(shift).max() > TOLERANCE_VOXELS * min(self.spacing_mm):
            voxels = np.abs(shift / np.asarray(self.spacing_mm)).max()
            parts.append(f"origin shifted by {_mm(tuple(shift))} mm ({voxels:.2f} voxels)")
        return "; ".join(parts) or "voxel centres drift apart across the grid"

    def with_spacing_mm(self, x: float, y: float, z: float) -> "Geometry":
        """Cover the same field of view with other voxels, centres aligned.

        The size is rounded up, so the new grid covers all of the old one (IBSI reference manual, interpolation grid).
        """
        spacing = (float(x), float(y), float(z))
        size = tuple(
            max(1, math.ceil(n * old / new - 1e-6))
            for n, old, new in zip(self.size, self.spacing_mm, spacing, strict=True)
        )
        old_extent = (np.asarray(self.size) - 1) * np.asarray(self.spacing_mm)
        new_extent = (np.asarray(size) - 1) * np.asarray(spacing)
        offset = np.asarray(self.direction).reshape(3, 3) @ (0.5 * (old_extent - new_extent))
        origin = tuple(float(v) for v in np.asarray(self.origin_mm) + offset)
        return replace(self, size=size, spacing_mm=spacing, origin_mm=origin)  # type: ignore[arg-type]

    def one_wider(self) -> "Geometry":
        """Add a voxel on every side.

        Examples
        --------
        >>> wide = Geometry((2, 1, 2), (2.0, 1.0, 5.0)).one_wider()
        >>> wide.size, wide.origin_mm
        ((4, 3, 4), (-2.0, -1.0, -5.0))
        """
        i, j, k = self.size
        x, y, z = (float(value) for value in (self.index_to_physical @ [-1.0, -1.0, -1.0, 1.0])[:3])
        return replace(self, size=(i + 2, j + 2, k + 2), origin_mm=(x, y, z))

    def part(self, box: Box) -> "Geometry":
        """Give the grid of a box of this one, slices along z, y, x."""
        z, y, x = box
        origin = (self.index_to_physical @ [x.start, y.start, z.start, 1.0])[:3]
        return replace(self, size=size_of(box), origin_mm=tuple(float(value) for value in origin))  # type: ignore[arg-type]


def _mm(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"
