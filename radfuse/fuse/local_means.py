"""Means over a neighbourhood given in millimetres, and gradients per millimetre: symmetric, of any reach, on torch.

Sums pair the voxels on either side, so that a flipped volume gives the flipped result to the last bit (box means: to
rounding in float64), whatever the device and the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import TYPE_CHECKING

from radfuse.data.geometry import Geometry

if TYPE_CHECKING:
    import torch

# A Gaussian is cut off where it has fallen below 2 % of its peak, at 2.8 standard deviations.
TRUNCATE = 2.8


def spacing_zyx(grid: Geometry) -> tuple[float, float, float]:
    """Give the spacing in the order of the array's axes, mm."""
    x, y, z = grid.spacing_mm
    return z, y, x


def to_voxels(length_mm: float, grid: Geometry) -> tuple[int, int, int]:
    """Turn a radius in mm into whole voxels along z, y, x; 0 where a voxel is more than twice as long.

    Examples
    --------
    >>> to_voxels(4.0, Geometry((9, 9, 9), (1.0, 1.0, 3.0)))
    (1, 4, 4)
    """
    z, y, x = (int(length_mm / h + 0.5) for h in spacing_zyx(grid))
    return z, y, x


def box_sum(volume: torch.Tensor, radius: Sequence[int]) -> torch.Tensor:
    """Sum over the box of 2 * radius + 1 voxels along each axis, cut off at the volume's edges, in float64.

    Its cost does not depend on the radius. Whole numbers are added up exactly.

    Parameters
    ----------
    volume : (z, y, x).
    radius : voxels on either side, along z, y, x.
    """
    import torch

    total = volume.double()
    for axis, reach in enumerate(radius):
        length = total.shape[axis]
        place = torch.arange(length, device=total.device)
        sums = torch.cat([torch.zeros_like(total.narrow(axis, 0, 1)), total.cumsum(axis)], axis)
        after = sums.index_select(axis, (place + reach + 1).clamp(max=length))
        total = after - sums.index_select(axis, (place - reach).clamp(min=0))
    return total


def box_mean(volume: torch.Tensor, radius: Sequence[int]) -> torch.Tensor:
    """Mean over the same boxes, in float64."""
    import torch

    total = box_sum(volume, radius)
    for axis, reach in enumerate(radius):
        length, shape = volume.shape[axis], [1] * 3
        shape[axis] = -1
        place = torch.arange(length, device=volume.device)
        total /= ((place + reach + 1).clamp(max=length) - (place - reach).clamp(min=0)).view(shape)
    return total


def gaussian_mean(
    volume: torch.Tensor, sigma: Sequence[float], truncate: float = TRUNCATE, mode: str = "replicate"
) -> torch.Tensor:
    """Mean under a Gaussian.

    Parameters
    ----------
    volume : (z, y, x).
    sigma : standard deviation along z, y, x, voxels; an axis of one voxel or with 0 is left alone.
    truncate : where the Gaussian ends, standard deviations.
    mode : how the volume goes on beyond its edges, ``replicate`` or ``zero``.
    """
    for axis, width in enumerate(sigma):
        reach = int(truncate * width + 0.5)
        if reach < 1 or volume.shape[axis] < 2:
            continue
        weights = [exp(-0.5 * (step / width) ** 2) for step in range(reach + 1)]
        total = weights[0] + 2 * sum(weights[1:])
        padded, length = pad(volume, axis, reach, mode), volume.shape[axis]
        mean = volume * (weights[0] / total)
        for step in range(1, reach + 1):
            pair = padded.narrow(axis, reach - step, length) + padded.narrow(axis, reach + step, length)
            mean.add_(pair, alpha=weights[step] / total)
        volume = mean
    return volume


def pad(volume: torch.Tensor, axis: int, reach: int, mode: str = "replicate") -> torch.Tensor:
    """Go on beyond both ends of an axis, with the edge's values or with zeros."""
    import torch

    first, last = volume.narrow(axis, 0, 1), volume.narrow(axis, volume.shape[axis] - 1, 1)
    shape = list(volume.shape)
    shape[axis] = reach
    ends = [first.expand(shape), last.expand(shape)] if mode == "replicate" else [volume.new_zeros(shape)] * 2
    return torch.cat([ends[0], volume, ends[1]], axis)


def central_gradient(volume: torch.Tensor, spacing: Sequence[float]) -> list[torch.Tensor]:
    """Half the difference of both neighbours, per mm, along z, y, x; the edge's value goes on beyond the edge."""
    slopes = []
    for axis, h in enumerate(spacing):
        length, padded = volume.shape[axis], pad(volume, axis, 1)
        slopes.append((padded.narrow(axis, 2, length) - padded.narrow(axis, 0, length)) / (2 * h))
    return slopes


def laplacian(volume: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Second derivative summed over the axes, per square millimetre."""
    import torch

    total = torch.zeros_like(volume)
    for axis, h in enumerate(spacing):
        length, padded = volume.shape[axis], pad(volume, axis, 1)
        both = padded.narrow(axis, 0, length) + padded.narrow(axis, 2, length)
        total += (both - 2 * volume) / (h * h)
    return total


def shared_argmax(scores: torch.Tensor) -> torch.Tensor:
    """Give the largest score all the weight; scores that tie share it, so that no name decides.

    Parameters
    ----------
    scores : (source, z, y, x).
    """
    winners = scores == scores.max(dim=0).values
    return winners.float() / winners.sum(dim=0)
