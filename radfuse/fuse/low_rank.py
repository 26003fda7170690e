"""Latent low-rank representation: what a matrix owes to its columns, what to its rows, and what to neither.

Solves  min |Z|_* + |L|_* + weight |E|_1  with  X = X Z + L X + E  [Liu & Yan, ICCV 2011: 1615] by the inexact
augmented Lagrange multipliers of Lin, Chen & Ma (arXiv:1009.5055), in float64.

Published programs update Z, then L, so that columns and rows fare differently. Here both are found at once: between
the singular vectors of X the equations fall into one for each pair of them. The result for the transposed matrix is
the transposed result, and with two blocks of unknowns the method of multipliers is known to converge.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from radfuse.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

# Published programs start at 1e-6; below 1e-2 every singular value is thresholded away and nothing is decided.
FIRST_PENALTY = 1e-2
LARGEST_PENALTY = 1e6
MOST_ITERATIONS = 5000


@dataclass(frozen=True)
class LatentLowRank:
    """The parts of a batch of matrices, and what proves that no others cost less.

    Parameters
    ----------
    low_rank : X Z (matrix, row, column), the mixture of the matrix's columns.
    salient : L X, the mixture of its rows.
    sparse : E, what neither explains.
    mixing_columns : Z (matrix, column, column).
    mixing_rows : L (matrix, row, row).
    multipliers : Y, of X = X Z + L X + E. Where |X'Y|_2 <= 1, |Y X'|_2 <= 1 and |Y| <= weight, the sum of X Y is a
        lower bound of the cost.
    """

    low_rank: Tensor
    salient: Tensor
    sparse: Tensor
    mixing_columns: Tensor
    mixing_rows: Tensor
    multipliers: Tensor


def shrink_singular_values(matrices: Tensor, threshold: float) -> Tensor:
    """Lower every singular value by a threshold, to no less than 0: the proximal map of the nuclear norm.

    From the eigenvalues of M'M, in half the time of a full decomposition. What that loses are singular values below
    1e-8 of the largest, which no threshold in use here lets through.
    """
    import torch

    squares, vectors = torch.linalg.eigh(matrices.mT @ matrices)
    values = squares.clamp(min=0).sqrt()
    kept = (1 - threshold / values.clamp(min=threshold)).unsqueeze(-2)
    shrunk: Tensor = matrices @ ((vectors * kept) @ vectors.mT)
    return shrunk


def soft_threshold(values: Tensor, threshold: float) -> Tensor:
    """Move every value towards 0 by a threshold: the proximal map of the sum of magnitudes."""
    return values - values.clamp(-threshold, threshold)


def latent_low_rank(matrices: Tensor, weight: float, growth: float, tolerance: float) -> LatentLowRank:
    """Split every matrix of a batch into low-rank, salient and sparse parts; none depends on the others.

    Parameters
    ----------
    matrices : X (matrix, row, column), float64.
    weight : of the sparse part; the lower, the more of a matrix counts as noise.
    growth : of the penalty from one iteration to the next; nearer 1 is slower and nearer the optimum.
    tolerance : largest violation of any constraint in any element.

    Raises `DataError` where a matrix does not get there.
    """
    import torch

    left, values, right = torch.linalg.svd(matrices, full_matrices=True)
    at = _Iterate(matrices, left, right, torch.zeros_like(matrices).diagonal_scatter(values, dim1=-2, dim2=-1))
    going = torch.arange(len(matrices), device=matrices.device)
    done: dict[int, LatentLowRank] = {}
    penalty = FIRST_PENALTY
    for _ in range(MOST_ITERATIONS):
        worst = at.step(weight, penalty)
        ended = (worst < tolerance).tolist()
        if any(ended):
            parts = at.parts()
            for k, end in enumerate(ended):
                if end:
                    done[int(going[k])] = LatentLowRank(*(getattr(parts, field.name)[k] for field in fields(parts)))
            # A matrix that has converged leaves, so that its neighbours cannot change it.
            stay = worst >= tolerance
            going = going[stay]
            at.keep(stay)
        if not len(going):
            break
        at.multiply(penalty)
        penalty = min(penalty * growth, LARGEST_PENALTY)
    if len(going):
        raise DataError(
            f"the low-rank solver missed its tolerance of {tolerance:g} after {MOST_ITERATIONS} iterations on "
            f"{len(going)} of {len(matrices)} slices",
            hint="Raise `growth` or `tolerance`; look at the image for extreme values.",
        )
    chosen = [done[k] for k in range(len(matrices))]
    return LatentLowRank(*(torch.stack([getattr(one, field.name) for one in chosen]) for field in fields(chosen[0])))


class _Iterate:
    """Where the solver stands. Z lives between the right singular vectors of X, L between the left ones."""

    def __init__(self, matrices: Tensor, left: Tensor, right: Tensor, diagonal: Tensor) -> None:
        import torch

        self.matrices, self.left, self.right, self.diagonal = matrices, left, right, diagonal
        self.columns = torch.zeros_like(right)
        self.rows = torch.zeros_like(left)
        self.sparse, self.multipliers = torch.zeros_like(matrices), torch.zeros_like(matrices)
        self.column_multipliers, self.row_multipliers = torch.zeros_like(right), torch.zeros_like(left)
        self.gaps = self.multipliers, self.column_multipliers, self.row_multipliers

    def step(self, weight: float, penalty: float) -> Tensor:
        """Update J and S (Z and L of low rank) and E, then Z and L; give each matrix's worst violation."""
        import torch

        low = shrink_singular_values(self.columns + self.column_multipliers / penalty, 1 / penalty)
        salient = shrink_singular_values(self.rows + self.row_multipliers / penalty, 1 / penalty)
        left_over = self.matrices - self._explained()
        self.sparse = soft_threshold(left_over + self.multipliers / penalty, weight / penalty)
        # min |r - D Z - L D|^2 + |Z - a|^2 + |L - b|^2: one unknown for each pair of singular vectors.
        a, b = low - self.column_multipliers / penalty, salient - self.row_multipliers / penalty
        wanted = self.left.mT @ (self.matrices - self.sparse + self.multipliers / penalty) @ self.right.mT
        squares = self.diagonal.square()
        by_pair = 1 + squares.sum(dim=-1, keepdim=True) + squares.sum(dim=-2, keepdim=True)
        pull = (wanted - self.diagonal @ a - b @ self.diagonal) / by_pair
        self.columns, self.rows = a + self.diagonal.mT @ pull, b + pull @ self.diagonal.mT
        self.gaps = self.matrices - self._explained() - self.sparse, self.columns - low, self.rows - salient
        return torch.stack([gap.abs().amax(dim=(-2, -1)) for gap in self.gaps]).amax(dim=0)

    def multiply(self, penalty: float) -> None:
        """Update the multipliers."""
        self.multipliers = self.multipliers + penalty * self.gaps[0]
        self.column_multipliers = self.column_multipliers + penalty * self.gaps[1]
        self.row_multipliers = self.row_multipliers + penalty * self.gaps[2]

    def keep(self, which: Tensor) -> None:
        """Go on with some of the matrices."""
        for name, value in vars(self).items():
            setattr(self, name, tuple(one[which] for one in value) if name == "gaps" else value[which])

    def parts(self) -> LatentLowRank:
        """Give the parts between rows and columns of the matrices themselves."""
        columns, rows = self.right.mT @ self.columns @ self.right, self.left @ self.rows @ self.left.mT
        return LatentLowRank(
            low_rank=self.matrices @ columns,
            salient=rows @ self.matrices,
            sparse=self.sparse,
            mixing_columns=columns,
            mixing_rows=rows,
            multipliers=self.multipliers,
        )

    def _explained(self) -> Tensor:
        return self.left @ (self.diagonal @ self.columns + self.rows @ self.diagonal) @ self.right
