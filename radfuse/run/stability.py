"""Measure every subject again and again, each time a little differently, and say which features stay the same."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import ValidationError

from radfuse.data.cohort import Problem
from radfuse.data.names import FeatureName, is_fused
from radfuse.data.repeatability import PERTURBATION, SUBJECT, UNPERTURBED
from radfuse.data.subject import Subject
from radfuse.errors import ConfigError, DataError, RadfuseError, StageError
from radfuse.extract.further import reach_of
from radfuse.extract.misregistration import feature_movement
from radfuse.extract.parameters import parameters_for
from radfuse.extract.repeatability import icc_table
from radfuse.extract.stability import MISREGISTRATION, Stability
from radfuse.extract.stage import Extract
from radfuse.fuse.stage import Fuse
from radfuse.run import subjects
from radfuse.run.device import choose_device
from radfuse.run.failures import stability_problems
from radfuse.run.session import Session
from radfuse.run.store import Record, Store, digest, write, write_text
from radfuse.run.tasks import killed, recorded

T = TypeVar("T")

ROWS, FEATURES, ICC, SOURCE = "rows.parquet", "features.parquet", "icc.csv", "stability.json"
MOVEMENT = f"{MISREGISTRATION}.csv"


@dataclass(frozen=True)
class StabilityTask:
    """One subject, measured as it is and under every perturbation.

    Parameters
    ----------
    stability : the perturbations.
    fuse : the stage that fuses perturbed modalities anew; None where fused volumes are perturbed as they are.
    extract : the stage that measures.
    fused : whether the study has fused volumes.
    """

    stability: Stability
    fuse: Fuse | None
    extract: Extract
    subject: str
    root: Path
    key: str
    device: str = "cpu"
    fused: bool = False


@dataclass(frozen=True, eq=False)
class Stable:
    """What the command found.

    Parameters
    ----------
    table : one row per feature, as `radfuse.extract.repeatability.icc_table` gives it.
    folder : where it lies.
    failed : subjects without a result, and repetitions that could not be measured.
    """

    table: pd.DataFrame
    folder: Path
    failed: tuple[Problem, ...] = ()


def stability_study(session: Session) -> Stable:
    """Perturb and measure every subject that is aligned (and fused), and write ICCs and the measurements."""
    ledger, stage = session.ledger, session.config.stability
    if stage.fused == "again" and ledger.fuses and session.config.align.mask == "own":
        raise ConfigError(
            "stability.fused: again needs one region for all modalities, and align.mask is own",
            hint="Set stability.fused: perturbed, or align.mask: reference.",
        )
    before = ledger.before(session.config.extract)
    ledger.require(session.ids, before)
    ready = [s for s in session.ids if all(ledger.done(each, s) is not None for each in before)]
    if len(ready) < 2:
        raise StageError(
            f"{len(ready)} subjects are ready to be measured again, and agreement needs two",
            hint="Run `radfuse align` and `radfuse fuse` first, or name more subjects.",
        )
    began = time.perf_counter()
    tasks = [_task(session, subject) for subject in ready]
    standing = {task.subject: session.store.current(stage.folder, task.subject, task.key) for task in tasks}
    records = {s: record for s, record in standing.items() if record is not None and not session.redo.wants(record)}
    due = [task for task in tasks if task.subject not in records]
    if due:
        session.describe()
    session.listener.began(stage.folder, len(tasks), len(records))
    session.log.wrote("began", stage=stage.folder, reused=sorted(records), redo=[task.subject for task in due])
    for task, record in session.executor.map(perform_stability, due, _lost):
        records[task.subject] = record
        told = {"subject": task.subject, "seconds": record.seconds, "what": record.what}
        session.log.wrote(record.status, stage=stage.folder, **told)
        session.listener.advanced(stage.folder, record)
    session.write_failures()
    found = _write(session, {subject: records[subject] for subject in ready})
    session.timed(stage.folder, began, worked=bool(due))
    return found


def plan_stability(session: Session, *, whole_run: bool = False) -> dict[str, dict[str, int]]:
    """Say how many subjects' measurements would be reused and how many made.

    Parameters
    ----------
    whole_run : the stages before will have run by then, so that whoever has not failed in them is measured.
    """
    if whole_run:
        ready = [subject for subject in session.ids if not _fails_before(session, subject)]
    else:
        ready = [subject for subject in _ready(session) if subject in session.ids]
    folder = session.config.stability.folder
    records = [session.store.current(folder, subject, _key(session, subject)) for subject in ready]
    redo = sum(session.redo.wants(record) for record in records)
    return {folder: {"reuse": len(records) - redo, "redo": redo}}


def perform_stability(task: StabilityTask) -> Record:
    """Measure one subject as it is and under every perturbation, in a worker process."""
    store = Store(task.root)

    def work(folder: Path) -> tuple[list[str], Mapping[str, Any]]:
        record = store.read("align", task.subject)
        aligned = record.findings if record is not None else {}
        subject = subjects.load_aligned(store, task.subject)
        if task.fused:
            subject = subjects.load_fused(store, subject)
        rows, failed = {}, {}
        for number in range(task.stability.repeats + 1):
            try:
                rows[number] = dict(task.extract(_perturbed(task, subject, number, aligned)).values)
            except RadfuseError as error:
                if number == UNPERTURBED:
                    raise
                failed[str(number)] = error.message
        index = pd.Index(range(task.stability.repeats + 1), name=PERTURBATION)
        table = pd.DataFrame.from_dict(rows, orient="index", columns=list(rows[UNPERTURBED]), dtype="float64")
        write(folder / ROWS, lambda path: table.reindex(index).to_parquet(path))
        return [ROWS], {"failed": failed}

    return recorded(store, task.stability.folder, task.subject, task.key, work)


def stability_stands(session: Session) -> bool:
    """Say whether the measurements are there and of the present study."""
    stage = session.config.stability
    return _source(session, stage.folder).get("made_from") == _made_from(session, stage, _ready(session))


def movement(session: Session) -> pd.DataFrame | None:
    """Read how far features move when misregistration alone happens; None where that is not of the present study.

    It is measured by a command of its own, whatever the study's own chain is.
    """
    source = _source(session, MISREGISTRATION)
    try:
        stage = Stability.model_validate(source.get("settings", {}))
    except ValidationError:  # of another version of radfuse
        return None
    if not stage.misregistration_only or source.get("made_from") != _made_from(session, stage, _ready(session)):
        return None
    return pd.read_csv(session.store.folder(MISREGISTRATION) / MOVEMENT)


def require_chain(session: Session) -> None:
    """Refuse to drop features by misregistration alone, whose measurements are kept apart from those of training."""
    if session.config.train.stability is not None and session.config.stability.misregistration_only:
        raise ConfigError(
            "train.stability leaves features out by stability/, and stability.chain is alignment alone, which is kept "
            f"in {MISREGISTRATION}/ to say how far features move",
            hint="Name further steps in stability.chain, or give the chain to `radfuse stability` only: --set "
            '"stability.chain=[alignment]".',
        )


def require_stability(session: Session) -> None:
    """Refuse to drop unstable features by measurements that are missing or not of the present study."""
    require_chain(session)
    if not stability_stands(session):
        folder = session.config.stability.folder
        path, source = session.store.folder(folder) / SOURCE, _source(session, folder)
        wrong = "was made from other scans, settings or subjects" if source else "does not exist"
        raise StageError(
            f"train.stability needs {path.with_name(FEATURES)}, which {wrong}",
            hint="Run `radfuse stability`; it redoes only what changed. Or set train.stability: null.",
        )


def _perturbed(task: StabilityTask, subject: Subject, number: int, aligned: Mapping[str, Any]) -> Subject:
    if number == UNPERTURBED or task.fuse is None:
        whole = _normalizes(task.extract, list(subject.volumes))
        return task.stability(subject, number, aligned, whole=whole, reach_mm=reach_of(task.extract.regions))
    parts = _without_fused(subject)
    again = task.fuse(task.stability(parts, number, aligned, whole=True), task.device)
    return replace(again, volumes={name: again.volumes[name] for name in subject.volumes})


def _without_fused(subject: Subject) -> Subject:
    def kept(named: Mapping[str, T]) -> dict[str, T]:
        return {name: value for name, value in named.items() if not is_fused(name)}

    regions = {region: kept(own) for region, own in subject.regions.items()}
    return replace(
        subject,
        volumes=kept(subject.volumes),
        masks=kept(subject.masks),
        regions=regions,
        seen=kept(subject.seen),
    )


def _normalizes(extract: Extract, names: list[str]) -> bool:
    """Whether some volume's parameters let PyRadiomics look at the whole image."""
    settings = [parameters_for(name, extract.parameters).get("setting") or {} for name in names]
    return any(setting.get("normalize", False) for setting in settings)


def _task(session: Session, subject: str) -> StabilityTask:
    stage, config = session.config.stability, session.config
    again = stage.fused == "again" and session.ledger.fuses
    return StabilityTask(
        stage,
        config.fuse if again else None,
        config.extract,
        subject,
        session.store.root,
        _key(session, subject),
        choose_device(config.execution.device) if again else "cpu",
        session.ledger.fuses,
    )


def _key(session: Session, subject: str) -> str:
    return session.ledger.stability_key(subject, session.config.stability)


def _source(session: Session, folder: str) -> dict[str, Any]:
    try:
        return dict(json.loads((session.store.folder(folder) / SOURCE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _fails_before(session: Session, subject: str) -> bool:
    """Whether a stage before has refused the subject and will not be tried again."""
    before = session.ledger.before(session.config.extract)
    records = [session.ledger.record(stage, subject) for stage in before]
    return any(r is not None and not r.done and not session.redo.wants(r) for r in records)


def _ready(session: Session) -> list[str]:
    before = session.ledger.before(session.config.extract)
    return [s for s in session.ledger.eligible if all(session.ledger.done(each, s) is not None for each in before)]


def _made_from(session: Session, stage: Stability, ids: list[str]) -> str:
    return digest(stage.name, [(subject, session.ledger.stability_key(subject, stage)) for subject in ids])


def _write(session: Session, records: Mapping[str, Record]) -> Stable:
    """Write features.parquet and icc.csv of the subjects that could be measured."""
    stage, store = session.config.stability, session.store
    folder = store.folder(stage.folder)
    done = [subject for subject, record in records.items() if record.done]
    failed = stability_problems(records.values())
    if len(done) < 2:
        raise DataError(
            f"{len(done)} subjects could be measured again, and agreement needs two: "
            + "; ".join(f"{problem.subject}: {problem.what}" for problem in failed[:3]),
            hint=failed[0].hint if failed else "",
        )
    (folder / SOURCE).unlink(missing_ok=True)
    rows = [pd.read_parquet(store.folder(stage.folder, subject) / ROWS) for subject in done]
    perturbed = pd.concat(rows, keys=done, names=[SUBJECT, PERTURBATION])
    table = icc_table(perturbed, stage.icc, stage.confidence)
    write(folder / FEATURES, lambda path: perturbed.to_parquet(path))
    write(folder / ICC, lambda path: table.to_csv(path, index=False))
    if stage.misregistration_only:
        _write_movement(session, done, perturbed, table)
    source = {"made_from": _made_from(session, stage, list(records)), "settings": stage.model_dump(mode="json")}
    write_text(folder / SOURCE, json.dumps(source) + "\n")
    return Stable(table, folder, tuple(failed))


def _write_movement(session: Session, done: list[str], perturbed: pd.DataFrame, icc: pd.DataFrame) -> None:
    """Write how far features move per mm of misregistration; nothing else was done to the subjects."""
    stage = session.config.stability
    volumes = dict.fromkeys(FeatureName.parse(feature).modality for feature in perturbed.columns)
    # What is fused anew has no shift of its own.
    moved = [name for name in volumes if not (is_fused(name) and stage.fused == "again")]
    shifts = {}
    for subject in done:
        record = session.store.read("align", subject)
        aligned = record.findings if record is not None else {}
        for number in range(1, stage.repeats + 1):
            drawn = [stage.shift_mm(subject, number, aligned, name) for name in moved]
            shifts[subject, number] = [axis for shift in drawn for axis in shift]
    table = pd.DataFrame.from_dict(shifts, orient="index")
    table.index = pd.MultiIndex.from_tuples(table.index, names=[SUBJECT, PERTURBATION])
    table.columns = pd.MultiIndex.from_product([moved, ["x", "y", "z"]])
    found = feature_movement(perturbed, table).merge(icc[["feature", "icc", "low", "high", "verdict"]], on="feature")
    path = session.store.folder(stage.folder) / MOVEMENT
    write(path, lambda temporary: found.to_csv(temporary, index=False))


def _lost(task: StabilityTask) -> Record:
    return killed(Store(task.root), task.stability.folder, task.subject, task.key)
