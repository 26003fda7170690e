"""Train a fusion network from a YAML, with checkpoints, and write weights and card."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from radfuse.component import describe
from radfuse.config import load_yaml, set_override
from radfuse.data.modality import unit_of
from radfuse.data.reading.images import read_volume
from radfuse.errors import ConfigError, DataError, RadfuseError
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
from radfuse.run.checkpoint import Checkpoint
from radfuse.run.device import choose_device
from radfuse.run.environment import environment
from radfuse.run.seen import declared
from radfuse.run.store import file_digest, write_bytes, write_text
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
    *,
    redo: bool = False,
    resumed: Callable[[int], None] = lambda step: None,
) -> Path:
    """Train, and write ``<method>.safetensors`` with its card ``<method>.md`` into a folder.

    A checkpoint is kept beside them while training runs; the same command goes on from it, on any device. Weights, and
    a checkpoint of another training, are refused rather than replaced.

    Parameters
    ----------
    tell : called after every step.
    study : a study folder; the training is recorded in its MLflow store, or in the one that MLFLOW_TRACKING_URI names.
    redo : begin again, and replace what an earlier training left in the folder.
    resumed : called with the steps already done, where there are some.
    """
    config = read_training(path, overrides)
    place = choose_device(device)
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"{config.method}.safetensors"
    digests = _digests(config)
    images = sorted(declared(digests))
    checkpoint = Checkpoint(output / f"{config.method}.checkpoint.pt", _deciding(config, digests))
    begun = None if redo else checkpoint.load()
    if begun is not None:
        resumed(len(begun["history"]))
    elif target.exists() and not redo:
        raise ConfigError(
            f"{target} holds weights already", hint="Choose another folder (-o), or replace them with --redo."
        )

    def on_step(progress: Progress) -> None:
        if progress.step % EVERY == 0 and progress.step < config.steps:
            checkpoint.save(progress.checkpoint())
        tell(progress)

    sets, validation, held_out = _sets(config)
    trained = run_training(config, sets, validation, held_out, place, on_step, begun, images)
    told = _without_places(config, path)
    write_bytes(target, trained.weights)
    write_text(target.with_suffix(".md"), _card(told, trained, path, _command(path, output, overrides)))
    track_training(study, told, trained, (target, target.with_suffix(".md")))
    checkpoint.drop()
    return target


def _digests(config: FusionTraining) -> dict[Path, str]:
    """SHA-256 of every image that is learned from or stopped by."""
    found = {}
    for scans in config.volumes:
        for modality, file in scans.images.items():
            try:
                found[file] = file_digest(file)
            except OSError as error:
                raise DataError(
                    f"the {modality} of {scans.patient} cannot be read: {file}: {error.strerror}",
                    hint="Paths are relative to the folder of the YAML.",
                ) from error
    return found


def _deciding(config: FusionTraining, digests: Mapping[Path, str]) -> dict[str, Any]:
    """What decides the course of a training: not what judges it in the end, and images wherever they lie."""
    volumes = [
        {"patient": scans.patient, "images": {m: digests[file] for m, file in scans.images.items()}}
        for scans in config.volumes
    ]
    return config.model_dump(mode="json", exclude={"volumes", "held_out", "held_out_phantoms"}) | {"volumes": volumes}


def _without_places(config: FusionTraining, path: Path) -> FusionTraining:
    """Name the images from the folder of the YAML: where that lies is nobody's business who gets the weights."""
    folder = path.resolve().parent

    def told(listed: Sequence[Scans]) -> tuple[Scans, ...]:
        return tuple(
            scans.model_copy(
                update={"images": {m: Path(os.path.relpath(file, folder)) for m, file in scans.images.items()}}
            )
            for scans in listed
        )

    return config.model_copy(update={"volumes": told(config.volumes), "held_out": told(config.held_out)})


def _command(path: Path, output: Path, overrides: Sequence[str]) -> str:
    """Write the command as it was typed, but of whole paths the last part only."""
    files = [Path(each.name) if each.is_absolute() else each for each in (path, output)]
    settings = [part for override in overrides for part in ("--set", override)]
    return shlex.join(["radfuse", "fusion", "train", str(files[0]), "-o", str(files[1]), *settings])


def _sets(config: FusionTraining) -> tuple[list[VolumeSet], list[VolumeSet], list[VolumeSet]]:
    """What is learned from, what decides when to stop, and what judges."""
    if not config.volumes:
        training, validation, held_out = (phantom_sets(config, part) for part in (TRAINING, VALIDATION, HELD_OUT))
        return training, validation, held_out
    learnt, aside = (_read(scans, config) for scans in config.split())
    return learnt, aside, _read(config.held_out, config) if config.held_out else aside


def _read(patients: Sequence[Scans], config: FusionTraining) -> list[VolumeSet]:
    found = []
    for scans in patients:
        try:
            volumes = {m: read_volume(file, m, unit_of(m)) for m, file in scans.images.items()}
            found.append(normalised_set(volumes, config.normalisation))
        except RadfuseError as error:
            error.add_note(f"while reading the images of {scans.patient}")
            raise
    return found


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
