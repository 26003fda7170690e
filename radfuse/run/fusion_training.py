"""Train a fusion network from a YAML, with checkpoints, and write weights and card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from radfuse.component import describe
from radfuse.config import load_yaml, set_override
from radfuse.data.modality import unit_of
from radfuse.data.reading.images import read_volume
from radfuse.errors import ConfigError
from radfuse.fuse.card import card
from radfuse.fuse.training import (
    HELD_OUT,
    TRAINING,
    FusionTraining,
    Progress,
    VolumeSet,
    normalised_set,
    phantom_sets,
    run_training,
)
from radfuse.run.device import choose_device
from radfuse.run.environment import environment
from radfuse.run.store import digest, write, write_bytes, write_text

EVERY = 50
PHANTOMS = "phantoms made by `radfuse.fuse.phantoms`: no patient, nothing downloaded"


def read_training(path: Path, overrides: Sequence[str]) -> FusionTraining:
    """Read a training YAML; image paths in it are relative to its folder."""
    settings = load_yaml(path)
    for override in overrides:
        set_override(settings, override)
    for part in ("volumes", "held_out"):
        for patient in settings.get(part) or ():
            patient.update({name: str(path.resolve().parent / file) for name, file in patient.items()})
    try:
        return FusionTraining.model_validate(settings)
    except ValidationError as error:
        lines = "\n".join(f"  - {line}" for line in describe(error, FusionTraining))
        raise ConfigError(f"{path} cannot be used:\n{lines}") from error


def train_network(
    path: Path, output: Path, device: str, overrides: Sequence[str], tell: Callable[[Progress], None]
) -> Path:
    """Train, and write ``<method>.safetensors`` with its card ``<method>.md`` into a folder.

    A checkpoint is kept beside them while training runs; the same command goes on from it.

    Parameters
    ----------
    tell : called after every step.
    """
    config = read_training(path, overrides)
    if config.volumes and not config.held_out:
        raise ConfigError(f"{path} names volumes to learn from, but none held out", hint="Name other patients' images.")
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = output / f"{config.method}.checkpoint.pt"
    key = digest(config.model_dump(mode="json"))

    def on_step(progress: Progress) -> None:
        if progress.step % EVERY == 0 and progress.step < config.steps:
            _save(checkpoint, key, progress.checkpoint())
        tell(progress)

    sets = _sets(config.volumes, config, TRAINING)
    held_out = _sets(config.held_out, config, HELD_OUT)
    trained = run_training(config, sets, held_out, choose_device(device), on_step, _load(checkpoint, key))
    own = f"{len(config.volumes)} patients' images named in {path.name}"
    text = card(
        config,
        trained,
        data=own if config.volumes else PHANTOMS,
        licence="that of the images" if config.volumes else "Apache-2.0",
        command=f"radfuse fusion train {path} -o {output}",
        environment=", ".join(f"{name} {version}" for name, version in _makers().items()),
    )
    target = output / f"{config.method}.safetensors"
    write_bytes(target, trained.weights)
    write_text(target.with_suffix(".md"), text)
    checkpoint.unlink(missing_ok=True)
    return target


def _sets(patients: Sequence[Mapping[str, Path]], config: FusionTraining, part: int) -> list[VolumeSet]:
    if not patients:
        return phantom_sets(config, part)
    read = [{m: read_volume(file, m, unit_of(m)) for m, file in patient.items()} for patient in patients]
    return [normalised_set(volumes, config.normalisation) for volumes in read]


def _save(path: Path, key: str, state: dict[str, Any]) -> None:
    import torch

    write(path, lambda temporary: torch.save({"key": key, **state}, temporary))


def _load(path: Path, key: str) -> dict[str, Any] | None:
    import torch

    if not path.is_file():
        return None
    state = torch.load(path, weights_only=True)
    return {name: value for name, value in state.items() if name != "key"} if state["key"] == key else None


def _makers() -> dict[str, str]:
    found = environment()
    return {name: found[name] for name in ("radfuse", "torch", "numpy", "system")}
