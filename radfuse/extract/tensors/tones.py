"""NGTDM of many neighbourhoods."""

from __future__ import annotations

import torch
from torch import Tensor

from radfuse.extract.tensors.neighbourhoods import alike, over, with_nothing


def tone_features(cells: Tensor, others: Tensor) -> Tensor:
    """Give coarseness, contrast, busyness, complexity and strength, (voxel, 5) [Amadasun & King 1989].

    As in `radfuse.extract.voxelwise.matrices.tone_maps`: the terms are PyRadiomics' own, since a divisor that is
    nothing but rounding decides busyness there.

    Parameters
    ----------
    cells, others : as for `radfuse.extract.tensors.sizes.dependences`.
    """
    beside = with_nothing(cells)[:, others]
    present, levels = cells > 0, cells.double()
    neighbours = (beside > 0).sum(2)
    off = (levels - beside.sum(2).double() / neighbours.clamp(min=1).double()).abs()
    off = torch.where(present & (neighbours > 0), off, 0.0)
    same = alike(cells) & present[:, :, None]
    voxels = present.sum(1).double()
    shares = same.sum(2).double() / voxels[:, None]
    differences = torch.where(same, off[:, None, :], 0.0).sum(2)
    # Each level once: at its first cell.
    first = present & ~torch.tril(same, diagonal=-1).any(2)
    busy = torch.where(first, shares * differences, 0.0)
    emphasis, differing = busy.sum(1), torch.where(first, differences, 0.0).sum(1)
    pair = torch.tril(first[:, :, None] & first[:, None, :], diagonal=-1)
    apart = torch.where(pair, (levels[:, :, None] - levels[:, None, :]).abs(), 0.0)
    both = torch.where(pair, shares[:, :, None] + shares[:, None, :], 1.0)
    weighted = levels * shares
    contrast = (shares[:, :, None] * shares[:, None, :] * apart * apart).sum((1, 2))
    spread = torch.where(pair, (weighted[:, :, None] - weighted[:, None, :]).abs(), 0.0).sum((1, 2))
    complexity = (apart * (busy[:, :, None] + busy[:, None, :]) / both).sum((1, 2))
    strength = (both * apart * apart).sum((1, 2))
    count = first.sum(1).double()
    found = [
        over(torch.ones_like(emphasis), emphasis, 1e6),
        over(2.0 * contrast * differing / voxels, count * (count - 1)),
        over(emphasis, 2.0 * spread),
        2.0 * complexity / voxels,
        over(2.0 * strength, differing),
    ]
    return torch.stack(found, 1)
