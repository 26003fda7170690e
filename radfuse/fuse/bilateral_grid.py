"""Joint bilateral filtering in 3-D, on a grid that is coarse in space and in intensity."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp, floor, sqrt
from typing import TYPE_CHECKING

from radfuse.errors import DataError

if TYPE_CHECKING:
    import torch

MOST_LEVELS = 1000

# Laying values out on the grid and reading them back, each by linear interpolation, are two triangles one node wide,
# of variance 1/6 each; the Gaussian between them makes up the rest of one node squared.
NODE_SIGMA = sqrt(1 - 2 / 6)
# Along an axis whose voxels are this wide, in standard deviations, the voxels themselves are the nodes.
FINEST = 1.5


def joint_bilateral(
    values: torch.Tensor, guide: torch.Tensor, sigma: Sequence[float], sigma_intensity: float
) -> torch.Tensor:
    """Mean of the values around, under a Gaussian in distance and in the difference of the guide's intensities.

    A bilateral grid [Chen, Paris & Durand, ACM Trans Graph 26:103, 2007], with a joint guide.

    Nodes lie one standard deviation apart: in space symmetrically about the middle of the volume, in intensity at
    multiples of ``sigma_intensity``. Levels of the guide that no voxel is near cost nothing.

    Parameters
    ----------
    values : what to smooth, (z, y, x).
    guide : whose edges to respect, of the same shape.
    sigma : standard deviation along z, y, x, voxels.
    sigma_intensity : standard deviation in the guide's unit.
    """
    import torch

    from radfuse.fuse.local_means import gaussian_mean

    scaled = guide / sigma_intensity
    low, high = floor(float(scaled.min())) - 1, ceil(float(scaled.max())) + 1
    if high - low > MOST_LEVELS:
        raise DataError(
            f"intensities from {float(guide.min()):g} to {float(guide.max()):g} span {high - low} steps of "
            f"{sigma_intensity:g}; expected at most {MOST_LEVELS}",
            hint="Give the modality a normalisation that brings its tissue to the order of 1, or a wider "
            "sigma_intensity.",
        )
    maps = [_interpolation(n, s, values) for n, s in zip(values.shape, sigma, strict=True)]
    widths = [s if s < FINEST else NODE_SIGMA for s in sigma]
    laid = {}
    for level in range(low, high + 1):
        share = (1 - (scaled - level).abs()).clamp_(min=0)
        if bool(share.any()):
            pair = (_through(share * values, maps), _through(share, maps))
            laid[level] = torch.stack([gaussian_mean(part, widths, 4.0, "zero") for part in pair])
    empty = torch.zeros_like(next(iter(laid.values())))
    total = [torch.zeros_like(values), torch.zeros_like(values)]
    taps = [exp(-0.5 * (step / NODE_SIGMA) ** 2) for step in range(4)]
    back = [matrix.T for matrix in maps]
    for level in laid:
        share = (1 - (scaled - level).abs()).clamp_(min=0)
        blurred = taps[0] * laid[level]
        for step in range(1, len(taps)):
            blurred += taps[step] * (laid.get(level - step, empty) + laid.get(level + step, empty))
        for part, whole in zip(blurred, total, strict=True):
            whole.addcmul_(share, _through(part, back))
    return total[0] / total[1]


def _interpolation(length: int, sigma: float, like: torch.Tensor) -> torch.Tensor:
    """Weights (voxels, nodes) of linear interpolation from nodes ``sigma`` voxels apart; voxels where those are few."""
    import torch

    if sigma < FINEST:
        return torch.eye(length).to(like)
    half = (length - 1) / 2
    count = 2 * ceil(half / sigma - 1e-9) + 1
    place = (torch.arange(length, dtype=torch.float64) - half) / sigma
    node = torch.arange(count, dtype=torch.float64) - (count - 1) / 2
    return (1 - (place[:, None] - node[None, :]).abs()).clamp(min=0).to(like)


def _through(volume: torch.Tensor, maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Multiply each axis by its matrix (from, to): sums onto the nodes, or values read back from them."""
    import torch

    # The axis that is multiplied moves last; three turns bring the axes back in order.
    for matrix in maps:
        volume = torch.tensordot(volume, matrix, dims=([0], [0]))
    return volume
