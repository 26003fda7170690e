"""Orthogonal matching pursuit: a few atoms of a dictionary that together make a signal, for many signals at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# What is left of an atom beside those already chosen; below this it adds nothing but rounding.
INDEPENDENT = 1e-6
# Atoms that fit alike, but for rounding: the first one is taken, so that a code does not depend on its neighbours.
ALIKE = 1e-9


@dataclass(frozen=True)
class SparseCodes:
    """Signals as sums of atoms.

    Parameters
    ----------
    atoms : (signal, term) the atom of each term; meaningless where the coefficient is 0.
    coefficients : (signal, term).
    residual : (signal, value) what the sum leaves of the signal.
    """

    atoms: Tensor
    coefficients: Tensor
    residual: Tensor


def matching_pursuit(signals: Tensor, dictionary: Tensor, most: int, error: float = 0.0) -> SparseCodes:
    """Code signals by orthogonal matching pursuit [Pati, Rezaiifar & Krishnaprasad, Asilomar 1993].

    The atom that fits the residual best joins, and all coefficients are fitted anew, until the residual's norm is at
    most ``error``. The same codes as scikit-learn's `orthogonal_mp`, for all signals at once.

    Parameters
    ----------
    signals : (signal, value), float64.
    dictionary : (atom, value), each atom of norm 1.
    most : terms at most; no more than a signal has values.
    error : norm of the residual at which a signal is done.
    """
    import torch

    count, length = signals.shape
    most = min(most, length, len(dictionary))
    residual = signals.clone()
    atoms = torch.zeros(count, most, dtype=torch.long, device=signals.device)
    directions = signals.new_zeros(count, most, length)  # the chosen atoms, made orthogonal one after the other
    triangle = torch.eye(most, dtype=signals.dtype, device=signals.device).repeat(count, 1, 1)
    amounts = signals.new_zeros(count, most)
    going = (signals.norm(dim=1) > error).nonzero().squeeze(1)
    for term in range(most):
        if not len(going):
            break
        left = residual[going]
        fit = (left @ dictionary.T).abs().scatter_(1, atoms[going, :term], -1.0)
        best = (fit >= (1 - ALIKE) * fit.amax(dim=1, keepdim=True)).to(torch.uint8).argmax(dim=1)
        before = directions[going, :term]
        along = (before @ dictionary[best].unsqueeze(2)).squeeze(2)
        direction = dictionary[best] - (along.unsqueeze(1) @ before).squeeze(1)
        size = direction.norm(dim=1)
        new = size > INDEPENDENT
        going, left, best, along = going[new], left[new], best[new], along[new]
        direction = direction[new] / size[new].unsqueeze(1)
        amount = (direction * left).sum(dim=1)
        left = left - amount.unsqueeze(1) * direction
        atoms[going, term], directions[going, term], amounts[going, term] = best, direction, amount
        triangle[going, :term, term], triangle[going, term, term] = along, size[new]
        residual[going] = left
        going = going[left.norm(dim=1) > error]
    coefficients = torch.linalg.solve_triangular(triangle, amounts.unsqueeze(2), upper=True).squeeze(2)
    return SparseCodes(atoms, coefficients, residual)
