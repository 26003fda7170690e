"""Many neighbourhoods at once, as a table of voxels by cells, and how often what is in a row occurs there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]


def together(first: Array, second: Array, cells: int) -> Array:
    """List, cell by cell, the cells that it makes a pair with: (cell, longest list), filled up with ``cells``.

    Parameters
    ----------
    first, second : cells of each pair, see `radfuse.extract.voxelwise.neighbourhood.Pairs`.
    cells : how many there are; a column of that number is to hold nothing, see `with_nothing`.
    """
    others: list[list[int]] = [[] for _ in range(cells)]
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        others[one].append(other)
        others[other].append(one)
    longest = max(1, max(map(len, others)))
    return np.array([found + [cells] * (longest - len(found)) for found in others])


def with_nothing(cells: Tensor) -> Tensor:
    """Add a column of zeros: the cell that is nowhere."""
    return torch.nn.functional.pad(cells, (0, 1))


def alike(codes: Tensor) -> Tensor:
    """Say which items of a row are the same: (row, item, item)."""
    return codes[:, :, None] == codes[:, None, :]


def occurrences(codes: Tensor, weights: Tensor) -> Tensor:
    """Give for each item (row, item) how much all items of its row weigh that are the same.

    What a sum over distinct things needs is a mean over items: sum of p log p is the mean of log p.
    """
    return torch.where(alike(codes), weights[:, None, :], 0.0).sum(2)


def logarithm(share: Tensor, weights: Tensor) -> Tensor:
    """Give the logarithm to the base of 2; 0 for what weighs nothing."""
    return torch.log2(torch.where(weights > 0, share, 1.0))


def over(value: Tensor, divisor: Tensor, otherwise: float = 0.0) -> Tensor:
    """Divide, with another answer where the divisor is 0."""
    nothing = divisor == 0
    return torch.where(nothing, otherwise, value / torch.where(nothing, 1.0, divisor))
