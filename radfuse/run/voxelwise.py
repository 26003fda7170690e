"""Voxel-wise maps of a study's subjects, as NIfTI; a map that stands is not made again."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from radfuse.data.reading.images import read_mask
from radfuse.data.volume import Volume, geometry_of
from radfuse.errors import DataError, StageError
from radfuse.extract.voxelwise.stage import Voxelwise
from radfuse.run import subjects
from radfuse.run.device import device_of
from radfuse.run.session import Session
from radfuse.run.store import Record, Store, file_digest, write
from radfuse.run.tasks import killed, recorded

STAGE = Voxelwise.name
# A map's bytes: float32 of noise hardly packs, and the even rest packs a thousandfold.
BYTES, PACKED, HEADER = 4, 1000, 512


@dataclass(frozen=True)
class MappingTask:
    """The maps of one subject.

    Parameters
    ----------
    stage : the settings.
    subject : whom.
    root : the run folder.
    key : what the maps depend on, but for which features they are of.
    wanted : by volume, the features to map.
    kept : files of earlier maps that stay, with the SHA-256 of each.
    absent : files that earlier work could not make.
    fused : whether fused volumes are mapped too.
    threads : how many threads one worker may use.
    device : where the maps are computed.
    """

    stage: Voxelwise
    subject: str
    root: Path
    key: str
    wanted: Mapping[str, Sequence[str]]
    kept: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    fused: bool = False
    threads: int = 1
    device: str = "cpu"

    @property
    def files(self) -> list[str]:
        """The maps to make."""
        return [map_file(name, feature) for name, features in self.wanted.items() for feature in features]


@dataclass(frozen=True)
class MapPlan:
    """What there is to do.

    Parameters
    ----------
    tasks : the subjects with maps to make.
    standing : the records of the others.
    bytes : about how large the new files will be.
    """

    tasks: tuple[MappingTask, ...]
    standing: Mapping[str, Record]
    bytes: int

    @property
    def files(self) -> int:
        """How many maps will be made."""
        return sum(len(task.files) for task in self.tasks)

    def __str__(self) -> str:
        maps = f"{self.files} maps of {len(self.tasks)} subjects, about {self.bytes / 1e6:.1f} MB"
        return f"{maps}; those of {len(self.standing)} subjects stand"


def plan_maps(session: Session, stage: Voxelwise, threads: int = 1) -> MapPlan:
    """Say which maps are to be made, and about how much disk they take.

    Parameters
    ----------
    session : an aligned study, fused where it fuses.
    threads : in each worker process; together they never are more than the machine has cores.
    """
    ledger, store = session.ledger, session.store
    before = ledger.before(session.config.extract)
    ledger.require(session.ids, before)
    ready = [s for s in session.ids if all(ledger.done(each, s) is not None for each in before)]
    regions = {subject: _regions(store, subject, ledger.fuses) for subject in ready}
    volumes = list(dict.fromkeys(name for found in regions.values() for name in found))
    if not volumes:
        raise DataError("no subject has a volume to map", hint="Run `radfuse align` first, and see failures.csv.")
    stage.require_matches(volumes)
    chosen = {name: stage.chosen(name) for name in volumes}
    tasks, standing, size = [], {}, 0
    for subject, region in regions.items():
        key = ledger.maps_key(stage, subject)
        record = store.current(STAGE, subject, key)
        made = dict(record.files) if record is not None else {}
        # A filter that the image is too small for gives no map, today as yesterday.
        absent = set(record.findings.get("missing", ())) if record is not None else set()
        there = set() if session.redo.everything else {*made, *absent}
        wanted = {name: [f for f in chosen[name] if map_file(name, f) not in there] for name in region}
        wanted = {name: features for name, features in wanted.items() if features}
        again = {map_file(name, feature) for name, features in wanted.items() for feature in features}
        if record is not None and not session.redo.wants(record) and again == _refused(record):
            standing[subject] = record
            continue
        kept = {name: made[name] for name in sorted(made.keys() - again)}
        earlier = kept, tuple(sorted(absent - again))
        tasks.append(MappingTask(stage, subject, store.root, key, wanted, *earlier, ledger.fuses))
        size += _bytes(store, subject, region, wanted)
    spare = (os.cpu_count() or 1) // max(1, min(session.executor.jobs, len(tasks)))
    threads = max(1, min(threads, spare))
    device = device_of(STAGE, session.config.execution.device)
    return MapPlan(tuple(replace(task, threads=threads, device=device) for task in tasks), standing, size)


def map_study(session: Session, plan: MapPlan) -> list[Record]:
    """Make the maps, ``voxelwise/<subject>/<volume>.<feature>.nii.gz`` in the run folder."""
    store, began = session.store, time.perf_counter()
    free = shutil.disk_usage(store.root).free
    if plan.bytes > free:
        raise StageError(
            f"{plan}, but {store.root} has {free / 1e6:.0f} MB left",
            hint="Choose fewer features with --feature, or fewer subjects with --subject.",
        )
    if plan.tasks:
        session.describe()
    session.listener.began(STAGE, len(plan.tasks) + len(plan.standing), len(plan.standing))
    redo = [task.subject for task in plan.tasks]
    session.log.wrote("began", stage=STAGE, reused=sorted(plan.standing), redo=redo)
    records = dict(plan.standing)
    for task, record in session.executor.map(perform_mapping, plan.tasks, _lost):
        records[task.subject] = record
        session.log.wrote(record.status, stage=STAGE, subject=task.subject, seconds=record.seconds, what=record.what)
        session.listener.advanced(STAGE, record)
    session.timed(STAGE, began, worked=bool(plan.tasks))
    session.write_failures()
    return list(records.values())


def perform_mapping(task: MappingTask) -> Record:
    """Make the maps of one subject, in a worker process; each is written, and stands, as soon as it is made."""
    store, made = Store(task.root), dict(task.kept)

    def work(folder: Path) -> tuple[list[str], Mapping[str, Any]]:
        for stale in folder.glob("*.nii.gz"):
            if stale.name not in made:
                stale.unlink()
        subject = subjects.load_aligned(store, task.subject)
        if task.fused:
            subject = subjects.load_fused(store, subject)
        for name, image in task.stage(subject, task.wanted, task.threads, task.device):
            path = folder / f"{name}.nii.gz"
            write_map(path, image)
            made[path.name] = file_digest(path)
            store.close(_unfinished(task, made))
        missing = sorted({*task.absent, *task.files} - made.keys())
        return list(made), {"maps": len(made), "missing": missing, "chosen": _chosen(task.stage)}

    return recorded(store, STAGE, task.subject, task.key, work, _unfinished(task, made))


def _unfinished(task: MappingTask, made: Mapping[str, str]) -> Record:
    """Make the record of a subject while its maps are made; a command that is killed leaves it behind."""
    findings = {"asked": task.files, "missing": list(task.absent), "chosen": _chosen(task.stage)}
    what, hint = "the making of maps was interrupted", "Run it again; the maps that are made stay."
    return Record(STAGE, task.subject, task.key, "failed", 0.0, dict(made), findings, what, hint, transient=True)


def _refused(record: Record) -> set[str]:
    """Give the maps that a failure stands for: those it was asked for and did not make."""
    return set() if record.done else {*record.findings.get("asked", ())} - record.files.keys()


def _chosen(stage: Voxelwise) -> dict[str, Any]:
    """Give the settings that no config has."""
    return stage.model_dump(mode="json", exclude={"features", "parameters"})


def write_map(path: Path, image: Volume) -> None:
    """Write a map, old or whole; unlike an image it may have NaN, which readers made with ITK show as 0."""
    import SimpleITK as sitk

    def put(temporary: Path) -> None:
        sitk.WriteImage(image.to_sitk(), str(temporary), useCompression=True)
        back = sitk.ReadImage(str(temporary))  # writing returns success on a full disk
        same = np.array_equal(np.nan_to_num(sitk.GetArrayViewFromImage(back)), np.nan_to_num(image.array))
        if not same or not geometry_of(back).matches(image.geometry):
            raise StageError(f"{path} did not come back as it was written", hint="Is the disk full?")

    try:
        write(path, put)
    except RuntimeError as error:
        raise StageError(f"{path} cannot be written: {str(error).splitlines()[-1].strip()}") from error


def map_file(volume: str, feature: str) -> str:
    """Name the file of a map."""
    return f"{volume}.{feature}.nii.gz"


def _regions(store: Store, subject: str, fused: bool) -> dict[str, str]:
    """By volume that is mapped, the aligned volume whose region is its own."""
    found = {name: name for name in _contents(store, "align", subject)["units"]}
    if fused:
        found |= dict(_contents(store, "fuse", subject)["regions"])
    return found


def _contents(store: Store, stage: str, subject: str) -> dict[str, Any]:
    path = store.folder(stage, subject) / subjects.CONTENTS
    contents: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return contents


def _bytes(store: Store, subject: str, regions: Mapping[str, str], wanted: Mapping[str, Sequence[str]]) -> int:
    labels = _contents(store, "align", subject)["labels"]
    sizes: dict[str, int] = {}
    for name in {regions[volume] for volume in wanted} & set(labels):
        mask = read_mask(store.folder("align", subject) / f"{name}{subjects.MASK}", labels[name])
        sizes[name] = HEADER + BYTES * (mask.voxels + mask.array.size // PACKED)
    return sum(sizes.get(regions[volume], 0) * len(features) for volume, features in wanted.items())


def _lost(task: MappingTask) -> Record:
    store = Store(task.root)
    found = store.read(STAGE, task.subject)
    made = found.files if found is not None and found.key == task.key else task.kept
    return killed(store, STAGE, task.subject, task.key, _unfinished(task, made))
