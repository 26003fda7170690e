"""Weights of networks as safetensors, checked against their SHA-256 before they are used."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from radfuse.errors import ConfigError, DataError


def read_weights(path: Path, sha256: str) -> bytes:
    """Read a weight file and make sure that it is the one meant."""
    if not path.is_file():
        raise ConfigError(
            f"weights not found: {path}", hint="Train some with `radfuse fusion train`, or use `weights: shipped`."
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"weights {path} have SHA-256 {found}, expected {sha256}",
            hint="The file is damaged or another one. Reinstall radfuse, or give the SHA-256 of the card beside it.",
        )
    return content


def load_weights(network: nn.Module, content: bytes, source: str) -> None:
    """Put weights into a network that has exactly those parameters."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state = load(content)
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


def save_weights(state: dict[str, Tensor]) -> bytes:
    """Give the safetensors bytes of a state dict; the same weights always give the same bytes."""
    from safetensors.torch import save

    content: bytes = save({name: state[name].detach().to("cpu", torch.float32).contiguous() for name in sorted(state)})
    return content
