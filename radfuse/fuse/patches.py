"""Square patches of slices: cut out at every place, and laid back over each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from radfuse.fuse import Array

if TYPE_CHECKING:
    from torch import Tensor

# The axis that slices are stacked along.
PLANES = {"axial": (0,), "three": (0, 1, 2)}
# Bounds the memory: patches of so many voxels hold 64 times as much in float64. The answer does not depend on it.
VOXELS_AT_ONCE = 1 << 15


def fuse_planes(
    volumes: Sequence[Array], planes: str, fuse: Callable[[Sequence[Tensor]], Tensor], device: str
) -> Array:
    """Fuse slice by slice: axial, or the mean over three planes.

    Parameters
    ----------
    volumes : arrays (z, y, x).
    planes : ``axial`` or ``three``.
    fuse : makes one stack (slice, row, column) of several, in float64; no slice may depend on another.
    """
    import torch

    total = np.zeros(volumes[0].shape, dtype=np.float64)
    for axis in PLANES[planes]:
        stacks = [np.moveaxis(volume, axis, 0) for volume in volumes]
        fused = np.moveaxis(total, axis, 0)
        count = max(1, VOXELS_AT_ONCE // fused[0].size)
        for start in range(0, len(fused), count):
            chosen = slice(start, start + count)
            slices = [torch.from_numpy(np.ascontiguousarray(stack[chosen])) for stack in stacks]
            fused[chosen] += fuse([one.to(device, torch.float64) for one in slices]).cpu().numpy()
    return (total / len(PLANES[planes])).astype(np.float32)


def cut(slices: Tensor, side: int, stride: int = 1) -> Tensor:
    """Cut the patches that lie in their slice; one that is smaller than a patch goes on with its edges.

    Patches beyond the border would repeat its voxels and be their own mirror images, which no method here can see in
    one way only.

    Parameters
    ----------
    slices : (slice, row, column), any size.
    side, stride : of the patches, in voxels.

    Gives patches (slice, place, voxel), each row by row.
    """
    import torch.nn.functional as nn

    padded = nn.pad(slices.unsqueeze(1), _margins(slices.shape[1:], side, stride), mode="replicate")
    return nn.unfold(padded, side, stride=stride).mT


def overlay(patches: Tensor, shape: Sequence[int], side: int, stride: int = 1) -> Tensor:
    """Lay patches back where `cut` took them, and take the mean where they overlap.

    Parameters
    ----------
    patches : (slice, place, voxel).
    shape : rows and columns of the slices.
    """
    import torch
    import torch.nn.functional as nn

    left, right, top, bottom = _margins(shape, side, stride)
    rows, columns = shape
    size = (top + rows + bottom, left + columns + right)
    total = nn.fold(patches.mT, size, side, stride=stride)
    count = nn.fold(torch.ones_like(patches[:1]).mT, size, side, stride=stride)
    mean: Tensor = (
        total[..., top : top + rows, left : left + columns] / count[..., top : top + rows, left : left + columns]
    )
    return mean.squeeze(1)


def _margins(shape: Sequence[int], side: int, stride: int) -> tuple[int, int, int, int]:
    """Left, right, top, bottom."""
    margins: list[int] = []
    for length in reversed(shape):
        missing = -(-max(side - length, 0) // 2)
        # The last patch must not stop short of the last voxel.
        margins += [missing, missing + -(length + 2 * missing - side) % stride]
    left, right, top, bottom = margins
    return left, right, top, bottom
