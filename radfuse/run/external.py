"""The external test of a study: its finished models on the patients of another manifest, who teach them nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from radfuse.config import Config
from radfuse.data.cohort import Problem
from radfuse.data.reading.tables import read_manifest, read_table
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, RadfuseError
from radfuse.run.fitted import FittedRun
from radfuse.run.judging import Judged, load_table
from radfuse.run.ledger import DECIDING
from radfuse.run.predict import predict_patients
from radfuse.run.predictor import EVERY_ARM
from radfuse.run.progress import Listener
from radfuse.run.session import Session
from radfuse.run.store import Record, Store, digest, digests, file_digest, libraries
from radfuse.train.stage import Arm

STAGE = "external"
VERSION = 1  # raised when what is made of the scores changes
SCORES, EXTERNAL, FAILURES, MADE_FROM = "scores.csv", "scores.external.csv", "scores.failures.csv", "scores.json"
TABLE, TABLE_OF_SCORES, TABLE_OF_NOTES = "external", "external_scores", "external_notes"


def external_problems(config: Config) -> list[Problem]:
    """Find what keeps an external manifest or table from being read, before anything is computed."""
    problems = []
    manifest, tables = _paths(config)
    for path, read in ((manifest, read_manifest), *((table, read_table) for table in tables)):
        if path is None:
            continue
        try:
            read(path)
        except RadfuseError as error:
            problems.append(Problem("", f"external: {error.message}", error.hint))
    return problems


def require_arms(config: Config, table: FeatureTable) -> None:
    """Refuse an external test of arms that the study does not have, before anything is trained."""
    known = [arm.name for arm in config.train.arms(table)]
    unknown = [name for name in config.external.arms if name not in (*known, EVERY_ARM)]
    if unknown:
        close = get_close_matches(unknown[0], known, n=1)
        raise ConfigError(
            f"external.arms: the study has no arm {unknown[0]!r}" + (f"; did you mean {close[0]!r}?" if close else ""),
            hint=f"Known: {', '.join(known)}, {EVERY_ARM}.",
        )


def externally_tested(session: Session, judged: Judged) -> Judged:
    """Add to a judgement what its models say of the external patients, scored now unless that still stands.

    A test that cannot be done costs the study nothing but the test: it is a line among the failures. Patients of whom
    it cannot be done are lines too; they are no subjects of the study, and not in failures.csv.
    """
    manifest, tables = _paths(session.config)
    names = _names(session.config, judged)
    if manifest is None or not names:
        return judged
    began = time.perf_counter()
    run = _run(session)
    try:
        arms = run.arms(names)
        key = _key(run, manifest, tables, arms)
        record = session.store.current(STAGE, "", key)
        # Whom the machine failed is tried again, as in the study's own stages.
        work = session.redo.wants(record) or (record is not None and record.transient)
        session.listener.began(STAGE, 1, 0 if work else 1)
        if record is None or work:
            record = _tested(session, run, manifest, tables, arms, key)
    except (RadfuseError, OSError) as error:
        told = error if isinstance(error, RadfuseError) else None
        problem = Problem("external test", f"{STAGE}: {told.message if told else error}", told.hint if told else "",
                          fatal=False)  # fmt: skip
        return replace(judged, failed=(*judged.failed, problem))
    session.timed(STAGE, began, worked=work)
    failed = [Problem(subject, what, hint, fatal=False) for subject, what, hint in record.findings["failed"]]
    return replace(judged, failed=(*judged.failed, *failed), tables={**judged.tables, **_read(session, record)})


def external_tables(session: Session) -> dict[str, pd.DataFrame]:
    """Read what the last test found, as far as it is of the present models, settings and patients; else nothing."""
    manifest, tables = _paths(session.config)
    record = session.store.read(STAGE)
    if manifest is None or record is None:
        return {}
    try:
        run = _run(session)
        key = _key(run, manifest, tables, run.arms(record.findings["arms"]))
    except (RadfuseError, OSError):
        return {}  # no models, or no patients, that it could be of
    return _read(session, record) if session.store.current(STAGE, "", key) is not None else {}


def _paths(config: Config) -> tuple[Path | None, list[Path]]:
    root, settings = config.cohort.root, config.external
    if settings.manifest is None:
        return None, []
    return root / settings.manifest, [root / table for table in settings.tables]


def _names(config: Config, judged: Judged) -> list[str]:
    """The arms to test: those named, or the two of the comparison that was declared, where both were run."""
    if config.external.arms:
        return list(config.external.arms)
    return [judged.contrast["arm"], judged.contrast["against"]] if judged.contrast else []


def _run(session: Session) -> FittedRun:
    # The session has proven already that the results are of these settings.
    return FittedRun(session.store, session.config, load_table(session.store))


def _tested(
    session: Session, run: FittedRun, manifest: Path, tables: Sequence[Path], arms: Sequence[Arm], key: str
) -> Record:
    began, folder, names = time.perf_counter(), session.store.open(STAGE), [arm.name for arm in arms]
    found = predict_patients(run, manifest, tables, names, folder / SCORES, _Beside(session.listener))
    files = [name for name in (SCORES, EXTERNAL, FAILURES, MADE_FROM) if (folder / name).is_file()]
    failed = [(problem.subject, f"{STAGE}: {problem.what}", problem.hint) for problem in found.failed]
    own = Store((folder / SCORES).with_suffix(".radfuse"))
    lost = [own.read(stage.name, problem.subject) for stage in run.stages for problem in found.failed]
    transient = any(record is not None and record.transient for record in lost)
    notes = [note for note in found.notes if " was seen in training" not in note]  # the scores tell who
    findings = {"arms": names, "notes": notes, "failed": failed}
    seconds = round(time.perf_counter() - began, 2)
    record = Record(STAGE, "", key, "done", seconds, digests(folder, files), findings, transient=transient)
    return session.store.close(record)


def _read(session: Session, record: Record) -> dict[str, pd.DataFrame]:
    folder = session.store.folder(STAGE)
    found = {TABLE_OF_SCORES: pd.read_csv(folder / SCORES, dtype={"subject": str})}
    if EXTERNAL in record.files:
        found[TABLE] = pd.read_csv(folder / EXTERNAL)
    if record.findings["notes"]:
        found[TABLE_OF_NOTES] = pd.DataFrame({"note": record.findings["notes"]})
    return found


def _key(run: FittedRun, manifest: Path, tables: Sequence[Path], arms: Sequence[Arm]) -> str:
    """Hash what a test depends on: the models, all stages before them, and the patients' scans and facts."""
    rows = read_manifest(manifest)
    named = [manifest.parent / name for column in ("image", "mask") for name in rows[column] if name]
    scans = [file_digest(path) if path.is_file() else "absent" for path in named]
    files = [file_digest(path) for path in (manifest, *tables)]
    stages = [(s.name, s.version, s.deciding, libraries(*DECIDING[s.name])) for s in run.stages]
    records = {arm.name: run.store.read("train", arm.name) for arm in arms}
    models = [(n, None if r is None else (r.key, dict(r.files))) for n, r in records.items()]
    settings = run.config.train.model_dump(mode="json"), run.config.external.model_dump(mode="json")
    return digest(STAGE, VERSION, settings, files, scans, stages, models)


class _Beside:
    """Tell a listener of the external patients' stages under names of their own."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    def began(self, stage: str, total: int, reused: int) -> None:
        self.listener.began(f"{STAGE} {stage}", total, reused)

    def advanced(self, stage: str, record: Record) -> None:
        self.listener.advanced(f"{STAGE} {stage}", record)

    def ended(self, stage: str, seconds: float) -> None:
        self.listener.ended(f"{STAGE} {stage}", seconds)
