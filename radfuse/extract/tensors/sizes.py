"""GLDM, GLSZM and GLRLM of many neighbourhoods: which items there are, and the sums over them."""

from __future__ import annotations

import torch
from torch import Tensor

from radfuse.extract.tensors.neighbourhoods import logarithm, occurrences, with_nothing


def emphases(grey: Tensor, sizes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Give the sums of `radfuse.extract.kernels.matrices.size_features`, and where there is anything to sum.

    Parameters
    ----------
    grey, sizes : level and size of each item, (voxel, item), whole.
    weights : of each item; 0 where there is none.

    Returns
    -------
    features : (voxel, 16), 0 where nothing weighs.
    found : (voxel,).
    """
    level, size = grey.double().clamp(min=1), sizes.double().clamp(min=1)
    bright, area = level * level, size * size
    total = weights.sum(1)
    found = total > 0
    part = torch.where(found, 1.0 / torch.where(found, total, 1.0), 0.0)

    def mean(values: Tensor) -> Tensor:
        return (weights * values).sum(1) * part

    voxels, brightness = (weights * size).sum(1), (weights * level).sum(1)
    safe = torch.where(found, total, 1.0)
    cells = occurrences(grey * (sizes.max() + 1) + sizes, weights)
    by_grey, by_size = mean(occurrences(grey, weights)), mean(occurrences(sizes, weights))
    features = [
        mean(1.0 / area), mean(area), by_grey, by_grey * part, by_size, by_size * part,
        total / torch.where(found, voxels, 1.0),
        # Whole numbers divided once: without any spread this is 0 to the last digit.
        ((weights * bright).sum(1) - brightness * brightness / safe) * part,
        ((weights * area).sum(1) - voxels * voxels / safe) * part,
        torch.log2(safe) - mean(logarithm(cells, weights)),
        mean(1.0 / bright), mean(bright), mean(1.0 / (area * bright)), mean(bright / area), mean(area / bright),
        mean(area * bright),
    ]  # fmt: skip
    return torch.stack(features, 1), found


def dependences(cells: Tensor, others: Tensor, alpha: int) -> Tensor:
    """Count for each cell itself and its neighbours that differ by no more than ``alpha``.

    Parameters
    ----------
    cells : (voxel, cell) grey levels; 0 where nothing counts.
    others : see `radfuse.extract.tensors.neighbourhoods.together`.
    """
    beside = with_nothing(cells)[:, others]
    return 1 + ((beside > 0) & ((beside - cells[:, :, None]).abs() <= alpha)).sum(2)


def zone_sizes(cells: Tensor, others: Tensor) -> Tensor:
    """Give each zone's size at its first cell, and 0 at its others; arguments as for `dependences`."""
    number = cells.shape[1]
    same = with_nothing(cells)[:, others] == cells[:, :, None]
    first = torch.arange(number, device=cells.device).expand_as(cells)
    while True:
        beside = torch.nn.functional.pad(first, (0, 1), value=number)[:, others]
        lower = torch.minimum(first, torch.where(same, beside, number).amin(2))
        # What a cell takes for its zone's first may know of an earlier one.
        lower = lower.gather(1, lower)
        if torch.equal(lower, first):
            break
        first = lower
    return torch.zeros_like(cells).scatter_add_(1, first, (cells > 0).long())


def run_sizes(cells: Tensor, ahead: Tensor, behind: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Give each run's length at its first cell and 0 at its others, and where some line has more than one voxel.

    Parameters
    ----------
    cells : as for `dependences`.
    ahead, behind : (cell,) the next and the last cell of the line; the number of cells where there is none.
    side : of the neighbourhood: no line is longer.
    """
    padded, present = with_nothing(cells), cells > 0
    going = present & (padded[:, ahead] == cells)
    lengths, further = torch.ones_like(cells), torch.zeros_like(present)
    for _ in range(side - 1):
        lengths = 1 + torch.where(going, with_nothing(lengths)[:, ahead], 0)
        further = (with_nothing(present) | with_nothing(further))[:, ahead]
    starts = present & (padded[:, behind] != cells)
    return torch.where(starts, lengths, 0), (present & further).any(1)
