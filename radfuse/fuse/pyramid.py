"""Gaussian pyramids on torch [Burt & Adelson, IEEE Trans Commun 31:532, 1983], in 3-D and for voxels of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from radfuse.data.geometry import Geometry

if TYPE_CHECKING:
    import torch

# An axis waits for the others while its voxels are longer than this many times the shortest.
LONGER = 1.5


def axes_by_level(grid: Geometry, levels: int) -> list[tuple[int, ...]]:
    """Decide which axes each level halves, so that voxels become cubes before the long axis is touched.

    Parameters
    ----------
    grid : where the volume lies.
    levels : at most; there are fewer where every axis has come down to one voxel.

    Examples
    --------
    >>> axes_by_level(Geometry((64, 64, 20), (1.0, 1.0, 3.0)), 3)
    [(1, 2), (0, 1, 2), (0, 1, 2)]
    """
    length, spacing = list(grid.shape), list(reversed(grid.spacing_mm))
    plan = []
    for _ in range(levels):
        open_axes = [axis for axis in range(3) if length[axis] > 1]
        if not open_axes:
            break
        shortest = min(spacing[axis] for axis in open_axes)
        axes = tuple(axis for axis in open_axes if spacing[axis] <= LONGER * shortest)
        for axis in axes:
            length[axis], spacing[axis] = (length[axis] + 1) // 2, 2 * spacing[axis]
        plan.append(axes)
    return plan


def reduce(volume: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    """Smooth and halve.

    An axis of odd length keeps every other voxel under Burt's [1 4 6 4 1] / 16. One of even length has no middle
    voxel: it keeps the places between pairs, under [1 3 3 1] / 8. Either way a flipped volume gives the flipped result.

    Parameters
    ----------
    volume : (z, y, x); the edge's value goes on beyond the edge.
    axes : which to halve.
    """
    from radfuse.fuse.local_means import pad

    for axis in axes:
        length = volume.shape[axis]
        count, padded = (length + 1) // 2, pad(volume, axis, 2)
        if length % 2:
            far = _every_other(padded, axis, 0, count) + _every_other(padded, axis, 4, count)
            near = _every_other(padded, axis, 1, count) + _every_other(padded, axis, 3, count)
            volume = (far + 4 * near + 6 * _every_other(padded, axis, 2, count)) / 16
        else:
            far = _every_other(padded, axis, 1, count) + _every_other(padded, axis, 4, count)
            near = _every_other(padded, axis, 2, count) + _every_other(padded, axis, 3, count)
            volume = (far + 3 * near) / 8
    return volume


def expand(volume: torch.Tensor, axes: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
    """Double: the same kernels, which interpolate now.

    Parameters
    ----------
    volume : what `reduce` gives for a volume of ``shape``.
    axes : which to double.
    shape : of the result.
    """
    import torch

    from radfuse.fuse.local_means import pad

    for axis in reversed(axes):
        count, padded = volume.shape[axis], pad(volume, axis, 1)
        before, here, after = (padded.narrow(axis, start, count) for start in range(3))
        if shape[axis] % 2:
            first, second = ((before + after) + 6 * here) / 8, (here + after) / 2
        else:
            first, second = (before + 3 * here) / 4, (3 * here + after) / 4
        volume = torch.stack((first, second), axis + 1).flatten(axis, axis + 1).narrow(axis, 0, shape[axis])
    return volume


def _every_other(volume: torch.Tensor, axis: int, start: int, count: int) -> torch.Tensor:
    return volume.narrow(axis, start, 2 * count - 1)[(slice(None),) * axis + (slice(None, None, 2),)]
