"""Learn from patches: atoms of which few make a patch, and a projection that takes out details.

Both come out the same for a patch turned or mirrored, so that fusing flipped slices is flipping the fused ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

ORIENTATIONS = 8


def orientations(side: int) -> npt.NDArray[np.int64]:
    """Give, for each of the eight ways to turn and mirror a patch, where each voxel comes from; first: as it is."""
    square = np.arange(side * side).reshape(side, side)
    turned = [np.rot90(mirrored, quarter) for mirrored in (square, square.T) for quarter in range(4)]
    return np.stack([way.ravel() for way in turned])


def learn_dictionary(patches: Tensor, atoms: int, terms: int, rounds: int, seed: int) -> Tensor:
    """Learn atoms by turns of matching pursuit and least squares [MOD: Engan, Aase & Husoy, ICASSP 1999].

    Every atom comes in all eight orientations. Atoms that no patch uses give way to the patches worst represented.

    Parameters
    ----------
    patches : (patch, voxel) without their means; each counts the same, whatever its contrast.

    Gives (atom, voxel), each of norm 1.
    """
    import torch

    from radfuse.fuse.sparse_coding import matching_pursuit

    ways = torch.from_numpy(orientations(round(patches.shape[1] ** 0.5)))
    back = ways.argsort(dim=1)
    dictionary = first_atoms(patches, atoms, seed)
    patches = patches / patches.norm(dim=1, keepdim=True)
    every = patches[:, ways].reshape(-1, patches.shape[1])
    for _ in range(rounds):
        found = matching_pursuit(every, dictionary, terms)
        codes = every.new_zeros(len(every), atoms).scatter_add_(1, found.atoms, found.coefficients)
        used = (codes != 0).sum(dim=0).reshape(ORIENTATIONS, -1).sum(dim=0)
        # The slightest pull to 0 keeps the equations solvable where an atom is not used.
        normal = codes.T @ codes + 1e-6 * torch.eye(atoms, dtype=codes.dtype)
        fitted = torch.linalg.solve(normal, codes.T @ every).reshape(ORIENTATIONS, -1, every.shape[1])
        one_way = torch.stack([fitted[k][:, back[k]] for k in range(ORIENTATIONS)]).mean(dim=0)
        worst = found.residual.norm(dim=1).reshape(len(patches), -1)[:, 0].argsort(descending=True, stable=True)
        idle = (used < ORIENTATIONS * terms).nonzero().squeeze(1)
        one_way[idle] = patches[worst[: len(idle)]]
        dictionary = _in_all_orientations(one_way)
    return dictionary


def first_atoms(patches: Tensor, atoms: int, seed: int) -> Tensor:
    """Draw patches as they are for atoms, in all orientations."""
    drawn = np.random.default_rng(seed).choice(len(patches), atoms // ORIENTATIONS, replace=False)
    return _in_all_orientations(patches[drawn.tolist()])


def cosine_atoms(side: int, atoms: int) -> Tensor:
    """Give products of cosines, as many frequencies along each axis as atoms allow: atoms that nobody learned."""
    import torch

    steps = round(atoms**0.5)
    waves = torch.cos(torch.outer(torch.arange(steps), torch.arange(side) + 0.5).double() * torch.pi / steps)
    waves[1:] -= waves[1:].mean(dim=1, keepdim=True)
    products = torch.einsum("iy,jx->ijyx", waves, waves).reshape(steps * steps, side * side)
    return products / products.norm(dim=1, keepdim=True)


def left_over(patches: Tensor, dictionary: Tensor, terms: int) -> float:
    """Root mean square of what a few atoms leave of patches of norm 1."""
    from radfuse.fuse.sparse_coding import matching_pursuit

    residual = matching_pursuit(patches / patches.norm(dim=1, keepdim=True), dictionary, terms).residual
    return float(residual.square().sum(dim=1).mean().sqrt())


def learn_projection(patches: Tensor, sparse_weight: float) -> Tensor:
    """Learn L of X = X Z + L X + E, patches in columns [Li, Wu & Kittler, TIP 29:4733, 2020]: (voxel, voxel)."""
    import torch

    from radfuse.fuse.low_rank import latent_low_rank

    ways = torch.from_numpy(orientations(round(patches.shape[1] ** 0.5)))
    every = patches[:, ways].reshape(-1, patches.shape[1])
    matrix = latent_low_rank(every.T.unsqueeze(0), sparse_weight, 1.1, 1e-6).mixing_rows[0]
    # Patches in all orientations give a matrix that commutes with turning them, but for rounding.
    return torch.stack([matrix[way][:, way] for way in ways]).mean(dim=0)


def _in_all_orientations(atoms: Tensor) -> Tensor:
    import torch

    ways = torch.from_numpy(orientations(round(atoms.shape[1] ** 0.5)))
    atoms = atoms / atoms.norm(dim=1, keepdim=True)
    return torch.cat([atoms[:, way] for way in ways])
