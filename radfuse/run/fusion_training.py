"""Train a fusion network from a YAML, with checkpoints, and write weights and card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from radfuse.component import describe
from radfuse.config import load_yaml, set_override
from radfuse.data.modality import unit_of
from radfuse.data.reading.images import read_volume
from radfuse.errors import ConfigError
from radfuse.fuse.card import card
from radfuse.fuse.networks.crops import VolumeSet
from radfuse.fuse.networks.recipe import FusionTraining, Scans
from radfuse.fuse.training import (
    HELD_OUT,
    TRAINING,
    VALIDATION,
    Progress,
    Trained,
    normalised_set,
    phantom_sets,
    run_training,
)
from radfuse.run.device import choose_device
from radfuse.run.environment import environment
from radfuse.run.store import digest, file_digest, write, write_bytes, write_text
from radfuse.run.tracking import track_training

EVERY = 50
PHANTOMS = "{} phantoms made by `radfuse/fuse/phantoms.py` (CT, PET and MR of made-up bodies); no image of any patient"


def read_training(path: Path, overrides: Sequence[str]) -> FusionTraining:
    """Read a training YAML; image paths in it are relative to its folder."""
    settings = load_yaml(path)
    for override in overrides:
        set_override(settings, override)
    for part in ("volumes", "held_out"):
        listed = settings.get(part)
        for scans in listed if isinstance(listed, list) else ():  # whatever else it is, validation names it
            images = scans.get("images") if isinstance(scans, dict) else None
            if isinstance(images, dict):
                images.update({name: str(path.resolve().parent / str(file)) for name, file in images.items()})
    try:
        return FusionTraining.model_validate(settings)
    except ValidationError as error:
        lines = "\n".join(f"  - {line}" for line in describe(error, FusionTraining))
        raise ConfigError(f"{path} cannot be used:\n{lines}") from error


def train_network(
    path: Path,
    output: Path,
    device: str,
    overrides: Sequence[str],
    tell: Callable[[Progress], None],
    study: Path | None = None,
) -> Path:
    """Train, and write ``<method>.safetensors`` with its card ``<method>.md`` into a folder.

    A checkpoint is kept beside them while training runs; the same command goes on from it.

    Parameters
    ----------
    tell : called after every step.
    study : a study folder; the training is recorded in its MLflow store, or in the one that MLFLOW_TRACKING_URI names.
    """
    config = read_training(path, overrides)
    place = choose_device(device)
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = output / f"{config.method}.checkpoint.pt"
    key = digest(config.model_dump(mode="json"))

    def on_step(progress: Progress) -> None:
        if progress.step % EVERY == 0 and progress.step < config.steps:
            _save(checkpoint, key, progress.checkpoint())
        tell(progress)

    sets, validation, held_out = _sets(config)
    images = [file_digest(file) for scans in config.volumes for file in scans.images.values()]
    trained = run_training(config, sets, validation, held_out, place, on_step, _load(checkpoint, key), images)
    target = output / f"{config.method}.safetensors"
    write_bytes(target, trained.weights)
    write_text(target.with_suffix(".md"), _card(config, trained, path, f"radfuse fusion train {path} -o {output}"))
    track_training(study, config, trained, (target, target.with_suffix(".md")))
    checkpoint.unlink(missing_ok=True)
    return target


def _sets(config: FusionTraining) -> tuple[list[VolumeSet], list[VolumeSet], list[VolumeSet]]:
    """What is learned from, what decides when to stop, and what judges."""
    if not config.volumes:
        training, validation, held_out = (phantom_sets(config, part) for part in (TRAINING, VALIDATION, HELD_OUT))
        return training, validation, held_out
    learnt, aside = (_read(scans, config) for scans in config.split())
    return learnt, aside, _read(config.held_out, config) if config.held_out else aside


def _read(patients: Sequence[Scans], config: FusionTraining) -> list[VolumeSet]:
    read = [{m: read_volume(file, m, unit_of(m)) for m, file in scans.images.items()} for scans in patients]
    return [normalised_set(volumes, config.normalisation) for volumes in read]


def _card(config: FusionTraining, trained: Trained, path: Path, command: str) -> str:
    found = environment()
    makers = ", ".join(f"{name} {found[name]}" for name in ("radfuse", "torch", "numpy", "system"))
    if not config.volumes:
        data = PHANTOMS.format(config.phantoms) + f". Stopped by {config.validation_phantoms} others"
        judged, licence = f"{config.held_out_phantoms} further phantoms, never looked at in training", "Apache-2.0"
    else:
        learnt, aside = (sorted({scans.patient for scans in part}) for part in config.split())
        data = f"{len(learnt)} patients named in {path.name}: {', '.join(learnt)}. Stopped by: {', '.join(aside)}"
        others = sorted({scans.patient for scans in config.held_out})
        judged = (
            f"{', '.join(others)}, never looked at in training"
            if others
            else "the patients that decided when to stop, so the figure is a little too good"
        )
        licence = "that of the images"
    return card(config, trained, data=data, judged=judged, licence=licence, command=command, environment=makers)


def _save(path: Path, key: str, state: dict[str, Any]) -> None:
    import torch

    write(path, lambda temporary: torch.save({"key": key, **state}, temporary))


def _load(path: Path, key: str) -> dict[str, Any] | None:
    import torch

    if not path.is_file():
        return None
    state = torch.load(path, weights_only=True)
    return {name: value for name, value in state.items() if name != "key"} if state["key"] == key else None
