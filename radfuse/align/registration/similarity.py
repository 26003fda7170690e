"""Mutual information, measured by ourselves on fixed points, so that two candidate transforms can be compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radfuse.align.grid import resample
from radfuse.data.deformation import Motion
from radfuse.data.geometry import Geometry
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume

Array = npt.NDArray[np.float64]

BINS = 32  # as Mattes et al. 2003, doi:10.1109/TMI.2003.809072
WORKING_MM = 3.0
SOFT_TISSUE_HU = (-200.0, 300.0)  # else air and bone take the bins, and fat and muscle share two of 32


def prepared(volume: Volume) -> Volume:
    """Give a volume as registration sees it: about 3 mm voxels without aliasing, and without outliers.

    CT is cut to the window of soft tissue. Values are cut at their 0.5th and 99.5th percentile, or a few bright voxels
    would own most bins.
    """
    from scipy.ndimage import gaussian_filter

    spacing = np.asarray(volume.geometry.spacing_mm)
    sigma = 0.5 * np.sqrt(np.maximum(WORKING_MM**2 - spacing**2, 0.0)) / spacing
    array = volume.array.astype(np.float64)
    if volume.unit == "HU":
        array = np.clip(array, *SOFT_TISSUE_HU)
    smooth = gaussian_filter(array, sigma[::-1], mode="nearest")
    low, high = np.percentile(smooth, (0.5, 99.5))
    cut = volume.with_array(np.clip(smooth, low, high).astype(np.float32))
    x, y, z = (float(max(WORKING_MM, value)) for value in spacing)
    return resample(cut, volume.geometry.with_spacing_mm(x, y, z), Transform.identity())


def sample_points_mm(grid: Geometry, count: int, seed: int = 1, look: Mask | None = None) -> Array:
    """Give points spread evenly over a grid, jittered off its lattice so that voxel centres are not favoured.

    Parameters
    ----------
    look : a mask on the grid; the points lie in its voxels only.
    """
    rng = np.random.default_rng(seed)
    last = np.asarray(grid.size) - 1
    if look is None:
        index = rng.random((count, 3)) * last
    else:
        voxels = np.argwhere(look.inside)[:, ::-1]
        chosen = voxels[rng.integers(0, len(voxels), count)]
        index = np.clip(chosen + rng.random((count, 3)) - 0.5, 0, last)
    matrix = grid.index_to_physical
    points: Array = index @ matrix[:3, :3].T + matrix[:3, 3]
    return points


@dataclass(frozen=True, eq=False)
class Sampled:
    """A volume at the places that a transform takes some points to.

    Parameters
    ----------
    values : interpolated linearly, one per point.
    inside : whether the point fell into the field of view.
    """

    values: Array
    inside: npt.NDArray[np.bool_]


def sample(volume: Volume, points_mm: Array) -> Sampled:
    """Sample a volume at points in millimetres."""
    from scipy.ndimage import map_coordinates

    inverse = np.linalg.inv(volume.geometry.index_to_physical)
    index = points_mm @ inverse[:3, :3].T + inverse[:3, 3]
    inside = np.all((index >= -0.5) & (index <= np.asarray(volume.geometry.size) - 0.5), axis=1)
    return Sampled(map_coordinates(volume.array, index.T[::-1], order=1, mode="nearest", output=np.float64), inside)


def mutual_information(a: Array, b: Array, bins: int = BINS) -> float:
    """Give the mutual information of two samples in nats, from their joint histogram.

    Examples
    --------
    >>> side = np.repeat([0.0, 1.0], 50)
    >>> round(mutual_information(side, -side), 4), round(float(np.log(2)), 4)
    (0.6931, 0.6931)
    """
    if a.size == 0:
        return 0.0
    rows, columns = _binned(a, bins), _binned(b, bins)
    joint = np.bincount(rows * bins + columns, minlength=bins * bins).reshape(bins, bins) / a.size
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float(np.sum(joint[there] * np.log(joint[there] / independent[there])))


def _binned(values: Array, bins: int) -> npt.NDArray[np.int64]:
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.size, dtype=np.int64)
    return np.minimum((bins * (values - low) / (high - low)).astype(np.int64), bins - 1)


@dataclass(frozen=True, eq=False)
class Judge:
    """Compare transforms on one fixed sample of points.

    Parameters
    ----------
    fixed, moving : prepared volumes.
    points_mm : where to look, in the fixed space.
    """

    fixed: Volume
    moving: Volume
    points_mm: Array

    @classmethod
    def over(cls, fixed: Volume, moving: Volume, count: int, look: Mask | None = None) -> Judge:
        """Look all over the fixed volume, or where a mask on its grid is."""
        return cls(fixed, moving, sample_points_mm(fixed.geometry, count, look=look))

    def shared(self, motion: Motion) -> float:
        """Give the share of the points that a map puts inside the moving field of view."""
        return float(sample(self.moving, motion.apply(self.points_mm)).inside.mean())

    def alone(self, found: Motion) -> tuple[float, float, float]:
        """Give what `compare` gives, where the headers do not say how the scans meet.

        The similarity before is 0, and the overlap is the share of the points that the moving image has room for.
        """
        after = sample(self.moving, found.apply(self.points_mm))
        fixed = sample(self.fixed, self.points_mm).values
        room = self.moving.geometry.voxel_volume_ml * self.moving.array.size
        room /= self.fixed.geometry.voxel_volume_ml * self.fixed.array.size
        overlap = float(after.inside.mean() / min(1.0, room))
        return 0.0, mutual_information(fixed[after.inside], after.values[after.inside]), overlap

    def compare(self, header: Motion, found: Motion) -> tuple[float, float, float]:
        """Give the similarity under each transform on the points that both keep inside, and the overlap kept.

        The overlap is the share of points inside the moving field of view under the headers that stay there.
        """
        fixed = sample(self.fixed, self.points_mm).values
        before = sample(self.moving, header.apply(self.points_mm))
        after = sample(self.moving, found.apply(self.points_mm))
        both = before.inside & after.inside
        overlap = float(both.sum() / max(1, before.inside.sum()))
        return (
            mutual_information(fixed[both], before.values[both]),
            mutual_information(fixed[both], after.values[both]),
            overlap,
        )
