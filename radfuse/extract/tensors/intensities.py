"""First order features of many neighbourhoods."""

from __future__ import annotations

import torch
from torch import Tensor

from radfuse.extract.kernels.matrices import EPSILON
from radfuse.extract.tensors.neighbourhoods import occurrences, over


def intensity_features(cells: Tensor, values: Tensor, shift: float, voxel_mm3: float) -> Tensor:
    """Give the features (voxel, 19) in the order of `radfuse.extract.voxelwise.intensities.NAMES`.

    Parameters
    ----------
    cells : (voxel, cell) grey levels; 0 where nothing counts. The cells are in PyRadiomics' order.
    values : intensities of the same cells.
    shift, voxel_mm3 : as for `radfuse.extract.voxelwise.intensities.intensity_maps`.
    """
    present = cells > 0
    counted = torch.where(present, values, 0.0)
    size = present.sum(1)
    number = size.double()
    weights = present.double()
    shares = occurrences(cells, weights) / number[:, None]
    entropy = -(weights * torch.log2(shares + EPSILON)).sum(1) / number
    energy = (weights * (counted + shift) ** 2).sum(1)
    ordered = torch.where(present, values, torch.inf).sort(1).values
    last = (size - 1)[:, None]
    least, greatest = ordered[:, 0], ordered.gather(1, last)[:, 0]
    mean = torch.where(least == greatest, _sum_in_eight(counted), _sum_in_turn(counted)) / number
    off = torch.where(present, values - mean[:, None], 0.0)
    square = off * off
    second, third, fourth = square.sum(1) / number, (square * off).sum(1) / number, (square * square).sum(1) / number
    low, high = _percentile(ordered, size, 0.1), _percentile(ordered, size, 0.9)
    median = (ordered.gather(1, last // 2) + ordered.gather(1, size[:, None] // 2))[:, 0] / 2
    found = [
        energy, entropy, least, low, high, greatest, mean, median,
        _percentile(ordered, size, 0.75) - _percentile(ordered, size, 0.25), greatest - least,
        off.abs().sum(1) / number, _robust(values, present, low, high), (energy / number).sqrt(), second.sqrt(),
        over(third, second**1.5), over(fourth, second**2), second, (weights * shares).sum(1) / number,
        energy * voxel_mm3,
    ]  # fmt: skip
    return torch.stack(found, 1)


def _sum_in_turn(values: Tensor) -> Tensor:
    """Sum cell by cell: the compiled loop's rounding."""
    total = torch.zeros_like(values[:, 0])
    for column in values.unbind(1):
        total = total + column
    return total


def _sum_in_eight(values: Tensor) -> Tensor:
    """Sum in NumPy's order, eight sums side by side: of equal values the rounding is all that spread there is."""
    whole = values.shape[1] - values.shape[1] % 8
    sums = torch.zeros_like(values[:, :1]).expand(-1, 8)
    for start in range(0, whole, 8):
        sums = sums + values[:, start : start + 8]
    a, b, c, d, e, f, g, h = sums.unbind(1)
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for column in values[:, whole:].unbind(1):
        total = total + column
    return total


def _percentile(ordered: Tensor, size: Tensor, part: float) -> Tensor:
    """Interpolate as `numpy.percentile` does, from the nearer end."""
    place = (size - 1).double() * part
    below = place.long()
    share = place - below.double()
    low = ordered.gather(1, below[:, None])[:, 0]
    high = ordered.gather(1, torch.minimum(below + 1, size - 1)[:, None])[:, 0]
    return torch.where(share >= 0.5, high - (high - low) * (1.0 - share), low + (high - low) * share)


def _robust(values: Tensor, present: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Give the mean absolute deviation of what lies between the percentiles; NaN where nothing does."""
    kept = present & (values >= low[:, None]) & (values <= high[:, None])
    count = kept.sum(1).double()
    mean = torch.where(kept, values, 0.0).sum(1) / count
    return torch.where(kept, (values - mean[:, None]).abs(), 0.0).sum(1) / count
