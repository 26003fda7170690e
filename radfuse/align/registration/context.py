"""Self-similarity context: how a place looks in its own image, which modalities agree on where intensities do not.

Mutual information of two modalities is flat along a limb, and highest at a wrong place in some patients. What decides
between its tops, and then moves the map to its end, is this: at each voxel, the differences between the patches around
it, pair by pair, relative to their mean [MIND: Heinrich et al. 2012, doi:10.1016/j.media.2012.05.008; the six-neighbour
context: Heinrich et al. 2013, doi:10.1007/978-3-642-40811-3_24, eq. 3].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from radfuse.align.grid import carry
from radfuse.align.registration.histogram import compiled
from radfuse.align.registration.similarity import SOFT_TISSUE_HU, WORKING_MM, sample, sample_points_mm
from radfuse.data.geometry import Geometry
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume

Array = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]

APART = 3  # voxels from a place to the patches around it
PATCH = 1.0  # voxels, standard deviation
SEVERAL = 2.0 * APART**2  # squared distance of neighbouring patches among the six; opposite ones are not compared
LIMITS = (0.03, 1e3)  # of the mean variation, so that noise and metal do not decide
MOST_VOXELS = 500_000
UNLIKE = -1.0  # below any value
AROUND_BODY = 2  # voxels of about 3 mm


def context(image: npt.NDArray[np.float32]) -> Features:
    """Give the self-similarity context, (z, y, x, 12), between 0 and 1; any unit, the contrast cancels."""
    from scipy.ndimage import gaussian_filter

    steps = [way * np.eye(3, dtype=int)[axis] * APART for axis in range(3) for way in (-1, 1)]
    wide = np.pad(image.astype(np.float32), APART, mode="edge")
    shape = image.shape

    def moved(step: npt.NDArray[np.int_]) -> Features:
        return wide[tuple(slice(APART + s, APART + s + n) for s, n in zip(step, shape, strict=True))]

    pairs = [(a, b) for a, b in combinations(steps, 2) if ((a - b) ** 2).sum() == SEVERAL]
    apart = np.stack([gaussian_filter((moved(a) - moved(b)) ** 2, PATCH, truncate=3.0) for a, b in pairs], axis=-1)
    apart -= apart.min(axis=-1, keepdims=True)
    varies = apart.mean(axis=-1, keepdims=True, dtype=np.float32)
    usual = float(varies.mean(dtype=np.float64))
    if usual == 0.0:
        return np.ones_like(apart)
    return np.asarray(np.exp(-apart / np.clip(varies, LIMITS[0] * usual, LIMITS[1] * usual)), dtype=np.float32)


@compiled
def unlikeness(points: Array, wanted: Features, moving: Features, inside: Features, matrix: Array) -> tuple[float, int]:
    """Give the mean squared difference of contexts, and over how many points.

    Parameters
    ----------
    points : places (n, 3) of the fixed image, any coordinates.
    wanted : its contexts there, (n, c).
    moving : (z, y, x, c); ``inside`` (z, y, x) is 1 where it was seen and 0 where it was continued.
    matrix : (3, 4), from those coordinates to the moving array's indices x, y, z.
    """
    depth, height, width, many = moving.shape
    total, met = 0.0, 0
    for n in range(points.shape[0]):
        a, b, c = points[n, 0], points[n, 1], points[n, 2]
        x = matrix[0, 0] * a + matrix[0, 1] * b + matrix[0, 2] * c + matrix[0, 3]
        y = matrix[1, 0] * a + matrix[1, 1] * b + matrix[1, 2] * c + matrix[1, 3]
        z = matrix[2, 0] * a + matrix[2, 1] * b + matrix[2, 2] * c + matrix[2, 3]
        if not (0.0 <= x <= width - 1.0 and 0.0 <= y <= height - 1.0 and 0.0 <= z <= depth - 1.0):
            continue
        if inside[int(z + 0.5), int(y + 0.5), int(x + 0.5)] < 0.5:
            continue
        met += 1
        i, j, k = int(x), int(y), int(z)
        i1, j1, k1 = min(i + 1, width - 1), min(j + 1, height - 1), min(k + 1, depth - 1)
        u, v, w = x - i, y - j, z - k
        for q in range(many):
            near = (moving[k, j, i, q] * (1 - u) + moving[k, j, i1, q] * u) * (1 - v) + (
                moving[k, j1, i, q] * (1 - u) + moving[k, j1, i1, q] * u
            ) * v
            far = (moving[k1, j, i, q] * (1 - u) + moving[k1, j, i1, q] * u) * (1 - v) + (
                moving[k1, j1, i, q] * (1 - u) + moving[k1, j1, i1, q] * u
            ) * v
            apart = near * (1 - w) + far * w - wanted[n, q]
            total += apart * apart
    return total / max(1, met * many), met


@dataclass(frozen=True, eq=False)
class Likeness:
    """How alike the contexts of two prepared volumes are, as a function of the map; 0 is as alike as can be.

    A context does not turn with the image, so that the moving volume is first carried to where a start puts it.

    Parameters
    ----------
    points_mm : where the fixed volume is looked at, relative to its centre; ``wanted`` are its contexts there.
    moving, inside : contexts of the moving volume as the start carries it, and where it was really seen.
    to_index : from the moving volume's millimetres to the indices of those, 4 x 4.
    least : fewer points inside count as nothing.
    """

    points_mm: Array
    wanted: Features
    moving: Features
    inside: Features
    to_index: Array
    centre_mm: Array
    least: float

    def at(self, motion: Transform) -> tuple[float, int]:
        """Give the mean squared difference of contexts, and over how many points."""
        matrix = self.to_index @ motion.array
        matrix[:3, 3] += matrix[:3, :3] @ self.centre_mm
        return unlikeness(self.points_mm, self.wanted, self.moving, self.inside, matrix[:3])

    def __call__(self, motion: Transform) -> float:
        """Give minus the mean squared difference, or minus one where too few points meet."""
        apart, met = self.at(motion)
        return -apart if met >= max(1.0, self.least) else UNLIKE


@dataclass(frozen=True, eq=False)
class Contexts:
    """The fixed volume's contexts at some points, ready for any start."""

    grid: Geometry
    points_mm: Array
    wanted: Features

    @classmethod
    def of(cls, fixed: Volume, count: int, seed: int, look: Mask | None = None) -> Contexts:
        """Look at a number of points, everywhere or where a mask on the volume's grid is."""
        from scipy.ndimage import map_coordinates

        grid = _even(fixed.geometry)
        features = context(_carried(fixed, grid, Transform.identity())[0])
        points = sample_points_mm(fixed.geometry, count, seed, _within(fixed, look))
        back = np.linalg.inv(grid.index_to_physical)
        index = (points @ back[:3, :3].T + back[:3, 3]).T[::-1]
        wanted = [map_coordinates(features[..., q], index, order=1, mode="nearest") for q in range(features.shape[-1])]
        return cls(grid, points, np.ascontiguousarray(np.stack(wanted, axis=-1), dtype=np.float32))

    def near(self, moving: Volume, start: Transform, share: float) -> Likeness:
        """Give the measure for maps near a start, which must keep a share of the points that the start has inside."""
        array, inside = _carried(moving, self.grid, start)
        body = _within(moving, None)
        if body is not None:
            inside &= carry(body, self.grid, start).inside
        centre = np.asarray(self.grid.corners_mm.mean(axis=0), dtype=np.float64)
        to_index = np.linalg.inv(self.grid.index_to_physical) @ start.inverse.array
        seen = inside.astype(np.float32)
        found = Likeness(self.points_mm - centre, self.wanted, context(array), seen, to_index, centre, 0.0)
        return replace(found, least=share * found.at(start)[1])


def _within(volume: Volume, look: Mask | None) -> Mask | None:
    """Leave the air around the body out of where to look: it is what CT knows, and its contexts are noise and table.

    Parameters
    ----------
    volume : prepared, so that air is at the window's lower end.
    """
    from scipy.ndimage import binary_dilation

    if volume.unit != "HU":
        return look
    near = binary_dilation(volume.array > SOFT_TISSUE_HU[0] + 50.0, iterations=AROUND_BODY)
    if look is not None:
        near &= look.inside
    return Mask(near.astype(np.uint8), volume.geometry) if near.any() else look


def _even(grid: Geometry) -> Geometry:
    """Give cubes of 3 mm over a grid's field of view; larger ones where that would be too many."""
    volume_mm3 = 1000.0 * grid.voxel_volume_ml * np.prod(grid.size)
    edge = max(WORKING_MM, float(np.cbrt(volume_mm3 / MOST_VOXELS)))
    return grid.with_spacing_mm(edge, edge, edge)


def _carried(volume: Volume, grid: Geometry, motion: Transform) -> tuple[Features, npt.NDArray[np.bool_]]:
    """Sample a volume on a grid under a map, continued beyond its edges, and say where it was inside."""
    found = sample(volume, motion.apply(grid.centres_mm))
    return found.values.reshape(grid.shape).astype(np.float32), found.inside.reshape(grid.shape)
