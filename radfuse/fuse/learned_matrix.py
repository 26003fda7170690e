"""The matrices that patch methods bring along: read, and checked to be the ones meant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from radfuse.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

HINT = "Make them with pipelines/learn_fusion_dictionary.py, or use `weights: shipped`."


def require_known_weights(weights: str, sha256: str, shipped_sha256: str, given: set[str]) -> None:
    """Raise ``ValueError`` unless it is certain which weights are meant.

    Parameters
    ----------
    weights, sha256 : of the config.
    shipped_sha256 : of the weights that come with radfuse.
    given : the settings that the user gave.
    """
    if weights != "shipped" and "sha256" not in given:
        raise ValueError(f"weights {weights!r} need their sha256; the card beside them gives it")
    if weights == "shipped" and sha256 != shipped_sha256:
        raise ValueError(
            f"the shipped weights have sha256 {shipped_sha256}, found {sha256}, of another radfuse version; "
            "leave sha256 out to take those of this one"
        )


def read_matrix(path: Path, sha256: str, name: str) -> Tensor:
    """Read a matrix of patches' voxels, (atom or voxel, voxel), as float64.

    Parameters
    ----------
    path, sha256 : of a safetensors file.
    name : of the matrix in it: ``dictionary`` or ``projection``.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from radfuse.fuse.networks.weights import read_weights

    if not path.is_file():
        raise ConfigError(f"weights not found: {path}", hint=HINT)
    try:
        held = load(read_weights(path, sha256))
    except SafetensorError as error:
        raise DataError(f"weights {path} are not a safetensors file: {error}", hint=HINT) from error
    matrix = held.get(name)
    shape = None if matrix is None else tuple(matrix.shape)
    if matrix is None or len(matrix.shape) != 2 or round(matrix.shape[1] ** 0.5) ** 2 != matrix.shape[1]:
        raise DataError(
            f"weights {path} hold {', '.join(sorted(held)) or 'nothing'} and {name} of shape {shape}; expected {name} "
            "with a row of voxels of a square patch for each atom or voxel",
            hint=HINT,
        )
    return matrix.to(torch.float64)
