"""Where stages run: the only place that decides it."""

from radfuse.errors import ConfigError


def choose_device(asked: str) -> str:
    """Give ``cuda`` or ``cpu``; ``auto`` takes a GPU when there is one, ``cuda`` insists on it."""
    if asked not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"unknown device {asked!r}", hint="Known: auto, cpu, cuda.")
    if asked == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        raise ConfigError("device cuda was asked for, but torch finds no CUDA device", hint="Use --device auto.")
    return "cpu"


def device_of(stage: str, asked: str) -> str:
    """Give the device of a stage: a GPU for networks where there is one, for extraction where it is asked for by name.

    Extraction stays on the CPU with ``auto``: its compiled loops are measured there, its tensors on no GPU yet.
    """
    if stage == "fuse" or (stage in ("extract", "voxelwise") and asked == "cuda"):
        return choose_device(asked)
    return "cpu"
