"""Weights of networks as safetensors, checked against their SHA-256 before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from radfuse.data.digest import read_known
from radfuse.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

HINT = (
    "Use `weights: shipped`, train some with `radfuse fusion train`, or give the SHA-256 of the card beside the file; "
    "shipped weights that are damaged come back by reinstalling radfuse."
)


def read_weights(path: Path, sha256: str) -> bytes:
    """Read a weight file and make sure that it is the one meant."""
    return read_known(path, sha256, "weights", HINT)


def load_weights(network: nn.Module, content: bytes, source: str) -> None:
    """Put weights into a network that has exactly those parameters."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        # Large networks store their kernels in half precision; everything computes in float32.
        state = {name: value.float() if value.is_floating_point() else value for name, value in load(content).items()}
    except SafetensorError as error:
        raise DataError(
            f"weights {source} are not a safetensors file: {error}", hint="Make them with `radfuse fusion train`."
        ) from error
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise DataError(
            f"weights {source} do not fit this network: {error}",
            hint="They were trained for another method or version.",
        ) from error


IMAGES = "images"


def save_weights(state: dict[str, Tensor], halved: bool = False, images: Sequence[str] = ()) -> bytes:
    """Give the safetensors bytes of a state dict; the same weights always give the same bytes.

    Parameters
    ----------
    state : the network's numbers.
    halved : store kernels in float16, which keeps 11 binary digits. What has one number for each channel (biases,
        batch statistics) stays float32.
    images : SHA-256 of the image files that training looked at, and of the scans that those were made from; they
        travel inside the file.
    """
    import torch
    from safetensors.torch import save

    stored = {}
    for name in sorted(state):
        value = state[name].detach().cpu()
        if value.is_floating_point():
            value = value.to(torch.float16 if halved and value.dim() > 3 else torch.float32)
        stored[name] = value.contiguous()
    content: bytes = save(stored, {IMAGES: " ".join(sorted(images))} if images else None)
    return content


def images_seen(path: Path) -> frozenset[str]:
    """Give the SHA-256 of the image files that weights were trained on; empty for phantoms."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return frozenset((file.metadata() or {}).get(IMAGES, "").split())
    except (SafetensorError, OSError):
        return frozenset()  # fusing refuses the file by name
