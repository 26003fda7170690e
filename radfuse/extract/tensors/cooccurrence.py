"""GLCM of many neighbourhoods, one direction at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from radfuse.extract.tensors.neighbourhoods import logarithm, occurrences, over
from radfuse.extract.voxelwise.cooccurrence import INDEPENDENT

# cuSOLVER refuses some 32,000 matrices and more in one call (github.com/mujocolab/mjlab/pull/732).
AT_ONCE = 2**14


def pair_features(low: Tensor, high: Tensor, weights: Tensor, greatest: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Give the features of a direction (voxel, 23), 0 where it has no pair, and where its levels are independent.

    The order is that of `radfuse.extract.voxelwise.cooccurrence.cooccurrence_maps`, as is what independent means:
    Imc2 is then 0 here, and decided elsewhere.

    Parameters
    ----------
    low, high : the levels of each pair (voxel, pair), whole.
    weights : of each pair; 0 where there is none.
    greatest : the greatest level.
    symmetric : whether each pair counts both ways.
    """
    total = weights.sum(1)
    found = total > 0
    if symmetric:
        low, high = torch.minimum(low, high), torch.maximum(low, high)

    def mean(values: Tensor) -> Tensor:
        return over((weights * values).sum(1), total)

    def information(codes: Tensor) -> Tensor:
        return -mean(logarithm(over(occurrences(codes, weights), total[:, None]), weights))

    codes = low * (greatest + 1) + high
    twice = (low != high) if symmetric else torch.zeros_like(low, dtype=torch.bool)
    # Counted both ways, a pair of two levels is two cells of half the share.
    part = torch.where(twice, 0.5, 1.0) * over(occurrences(codes, weights), total[:, None])
    ends = (torch.cat([low, high], 1), torch.cat([weights, weights], 1)) if symmetric else None
    x, y = ends or (low, weights), ends or (high, weights)
    ux, hx, sx, rows = _marginal(*x)
    uy, hy, sy, columns = (ux, hx, sx, rows) if symmetric else _marginal(*y)
    joint = -mean(logarithm(part, weights))
    one, other = low.double(), high.double()
    off, apart = one + other - (ux + uy)[:, None], (one - other).abs()
    square, norm = apart * apart, float(greatest)
    average = mean(apart)
    covariance = mean((one - ux[:, None]) * (other - uy[:, None]))
    shared, most = hx + hy - joint, torch.maximum(hx, hy)
    told = shared >= INDEPENDENT
    features = [
        mean(one * other), ux, mean(off**4), mean(off**3), mean(off**2), mean(square),
        torch.where(rows & columns, over(covariance, sx.sqrt() * sy.sqrt()), 1.0), average,
        information((low - high).abs()), mean((apart - average[:, None]) ** 2), mean(part), joint,
        -over(shared, most), torch.where(told, (1.0 - torch.exp(-2.0 * shared)).clamp(0).sqrt(), 0.0),
        mean(1.0 / (1.0 + square)), mean(1.0 / (1.0 + square / (norm * norm))), mean(1.0 / (1.0 + apart)),
        mean(1.0 / (1.0 + apart / norm)), mean(over(torch.ones_like(square), square)),
        torch.where(weights > 0, part, 0.0).amax(1), mean(one + other),
        information(low + high), sx,
    ]  # fmt: skip
    return torch.where(found[:, None], torch.stack(features, 1), 0.0), found & ~told & _several(codes, weights)


def _marginal(levels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give mean, entropy and variance of a marginal, and whether it has more than one level."""
    values, total = levels.double(), weights.sum(1)
    mean = over((weights * values).sum(1), total)
    shares = over(occurrences(levels, weights), total[:, None])
    entropy = -over((weights * logarithm(shares, weights)).sum(1), total)
    variance = over((weights * (values - mean[:, None]) ** 2).sum(1), total)
    several = _several(levels, weights)
    # Rounding is not to be told from information: the divisor of Imc1 would be it.
    return mean, torch.where(several, entropy, 0.0), variance, several


def _several(codes: Tensor, weights: Tensor) -> Tensor:
    counted = weights > 0
    largest = torch.where(counted, codes, 0).amax(1)
    return (counted & (codes != largest[:, None])).any(1)


def correlation_coefficient(one: Tensor, other: Tensor, weights: Tensor, number: int, symmetric: bool) -> Tensor:
    """Give the square root of the second largest eigenvalue of Haralick's Q, 0 where a marginal has one level.

    See `radfuse.extract.voxelwise.cooccurrence`. The largest is 1, with a vector that is known and taken out.

    Parameters
    ----------
    one, other : number, from 0, of the levels of each pair (voxel, pair); anything where it weighs nothing.
    weights : of each pair.
    number : how many levels there are at most.
    symmetric : whether each pair counts both ways.
    """
    total = weights.sum(1)
    shares = torch.zeros(len(one), number * number, dtype=torch.float64, device=one.device)
    shares.scatter_add_(1, one * number + other, weights)
    matrix = shares.reshape(-1, number, number) / torch.where(total > 0, total, 1.0)[:, None, None]
    if symmetric:
        matrix = (matrix + matrix.transpose(1, 2)) / 2
    px, py = matrix.sum(2), matrix.sum(1)
    root = px.sqrt()
    scaled = over(matrix, root[:, :, None] * py.sqrt()[:, None, :])
    product = scaled @ scaled.transpose(1, 2) - root[:, :, None] * root[:, None, :]
    largest = torch.cat([torch.linalg.eigvalsh(part)[:, -1] for part in product.split(AT_ONCE)])
    second = largest.clamp(0.0, 1.0).sqrt()
    single = ((px > 0).sum(1) < 2) | ((py > 0).sum(1) < 2)
    return torch.where(single, 0.0, second)


def numbered(cells: Tensor) -> tuple[Tensor, int]:
    """Number the levels of each neighbourhood from 0 as they rise, nothing included; say how many there are at most."""
    ordered, places = cells.sort(1)
    steps = torch.nn.functional.pad((ordered[:, 1:] != ordered[:, :-1]).long().cumsum(1), (1, 0))
    return torch.empty_like(cells).scatter_(1, places, steps), int(steps.max()) + 1
