"""The stages that need everyone, on an opened study folder; and all stages in a row."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd

from radfuse.config import Config
from radfuse.data.cohort import refuse
from radfuse.data.predictions import Predictions
from radfuse.data.study import Study
from radfuse.data.subject import Subject
from radfuse.data.table import FeatureTable
from radfuse.run import subjects
from radfuse.run.environment import environment
from radfuse.run.failures import JUDGED, judged_key, judged_state
from radfuse.run.harmonizing import DIAGNOSTICS, verdicts, write_harmonized
from radfuse.run.judging import PREDICTIONS, Judged, judge, plan_arms, read_tables
from radfuse.run.preflight import Foreseen, foresee_regions, region_problems, write_regions
from radfuse.run.seen import refuse_seen
from radfuse.run.session import Session, failure_table
from radfuse.run.stability import plan_stability, require_stability, stability_stands, stability_study
from radfuse.run.store import Record, digest, digests, file_digest, libraries, write_bytes, write_text
from radfuse.run.tracking import Trained, tracked
from radfuse.run.validate import outcome_problems


def plan_study(session: Session, *stages: str, fusion: str = "all") -> dict[str, dict[str, int]]:
    """Say how many results of each stage would be reused and how many computed."""
    skipped = set() if session.ledger.fuses else {"fuse"}
    found = {stage: session.plan(stage) for stage in stages if stage not in {"stability", "train"} | skipped}
    steady = session.config.train.stability is not None
    if steady and "stability" in stages:
        found |= plan_stability(session, whole_run=True)
    if "train" in stages:
        waits = any(counts["redo"] for counts in found.values())
        waits |= steady and "stability" in stages and not stability_stands(session)
        if waits:  # the arms follow from a feature table, or from measurements, that are not there yet
            return found
        if steady:
            require_stability(session)
        found["train"] = plan_arms(
            session.store, session.table(), session.config.train, session.config.harmonize, fusion
        )
    return found


def run_study(session: Session) -> Judged:
    """Run every stage in order."""
    session.everyone("run")
    refuse(outcome_problems(session.config, session.cohort))
    refuse([problem for problem in region_problems(session.config, session.cohort) if problem.fatal])
    session.align()
    session.fuse()
    session.extract()
    if session.config.train.stability is not None:
        stability_study(session)
    harmonize_study(session)
    return train_study(session, "all")


def foresee_study(session: Session) -> list[Foreseen]:
    """Say what becomes of the regions of the subjects still to be measured, and write it into regions.csv."""
    due = [subject for subject in session.ids if session.ledger.record(session.config.extract, subject) is None]
    if not due or any(problem.fatal for problem in region_problems(session.config, session.cohort)):
        return []
    began = time.perf_counter()
    found = foresee_regions(session.config, session.cohort, due)
    write_regions(session.store.root / "regions.csv", found)
    session.log.wrote("ended", stage="preflight", seconds=round(time.perf_counter() - began, 2))
    return found


def harmonize_study(session: Session) -> str:
    """Harmonise the whole table to look at it; give the verdict in words. Training never reads the result."""
    session.everyone("harmonize")
    table, key = session.table(), _harmonize_key(session)
    record = session.store.current("harmonize", "", key)
    work = session.redo.wants(record)
    session.listener.began("harmonize", 1, 0 if work else 1)
    began = time.perf_counter()
    if record is None or work:
        record = _harmonize(session, table, key, began)
    session.timed("harmonize", began, worked=work)
    return "\n".join(f"{modality}: {text}" for modality, text in record.findings["verdicts"].items())


def train_study(session: Session, fusion: str) -> Judged:
    """Train the arms of the fusion levels asked for, score every arm that stands, report, and track in MLflow."""
    session.everyone("train")
    refuse_seen(session)
    if session.config.train.stability is not None:
        require_stability(session)
    began = time.perf_counter()
    config, table = session.config, session.table()
    session.describe()
    judged = judge(
        session.store, table, config.train, config.harmonize, session.executor, session.listener, session.log,
        fusion=fusion, redo=session.redo,
    )  # fmt: skip
    session.timed("train", began, worked=judged.trained > 0)
    failed = [[problem.subject, problem.what, problem.hint] for problem in judged.failed]
    state = {"key": judged_key(session.ledger), "failed": failed}
    write_text(session.store.folder("report") / JUDGED, json.dumps(state))
    session.write_failures()
    page = report_study(session)
    hashes, settings = _hashes(session), public_settings(config)
    trained = Trained(session.store, session.study, config.name, config.tracking, table, settings, judged, hashes)
    session.listener.began("MLflow", len(judged.auc), 0)
    began = time.perf_counter()
    recorded = tracked(trained, {"report": str(page), "table": str(page.with_name("auc.csv"))})
    session.timed("MLflow", began)
    return recorded


def report_study(session: Session) -> Path:
    """Write report/index.html and its figures."""
    session.everyone("report")
    study = collect(session)
    began = time.perf_counter()
    page = session.config.report(study)
    folder = session.store.folder("report")
    for name, content in page.files.items():
        write_bytes(folder / name, content)
    write_text(folder / "index.html", page.html)
    session.timed("report", began)
    return folder / "index.html"


def collect(session: Session) -> Study:
    """Gather everything that this run found with the present settings; what belongs to others is left out."""
    store, config = session.store, session.config
    folder = store.folder("report")
    table = session.table() if (store.root / "features.parquet").is_file() else None
    state = judged_state(session.ledger) if table is not None else None
    diagnostics = store.folder("harmonize") / DIAGNOSTICS
    harmonized = table is not None and store.current("harmonize", "", _harmonize_key(session)) is not None
    failed = {problem.subject for problem in session.ledger.failures()}
    roster = session.cohort.subjects.assign(
        status=["failed" if subject in failed else "complete" for subject in session.cohort.ids]
    )
    return Study(
        name=config.name,
        config=public_settings(config),
        roster=roster,
        failures=failure_table(session.failures()),
        findings=session.ledger.findings(),
        examples=_examples(session, config.report.examples),
        table=table,
        harmonization=json.loads(diagnostics.read_text(encoding="utf-8")) if harmonized else None,
        predictions=Predictions(pd.read_parquet(folder / PREDICTIONS)) if state else None,
        auc=pd.read_csv(folder / "auc.csv") if state else None,
        tables=read_tables(store) if state else {},
        contrast=json.loads((folder / "contrast.json").read_text(encoding="utf-8")) if state else None,
        seconds=session.seconds,
        environment=environment(),
    )


def public_settings(config: Config) -> dict[str, Any]:
    """The settings that decide results, without where the files lie on this machine."""
    settings = config.model_dump(mode="json", exclude={"execution"})
    settings["cohort"]["root"] = "."
    return settings


def _harmonize_key(session: Session) -> str:
    stage = session.config.harmonize
    files = [file_digest(session.store.root / name) for name in ("features.parquet", "subjects.csv")]
    deciding = libraries("numpy", "scikit-learn")
    return digest("harmonize", stage.version, stage.model_dump(mode="json"), deciding, files)


def _harmonize(session: Session, table: FeatureTable, key: str, began: float) -> Record:
    session.describe()
    store = session.store
    folder = store.open("harmonize")
    found = session.config.harmonize(table)
    files = digests(folder, write_harmonized(folder, found))
    seconds = round(time.perf_counter() - began, 2)
    return store.close(Record("harmonize", "", key, "done", seconds, files, {"verdicts": verdicts(found.diagnostics)}))


def _examples(session: Session, count: int) -> list[Subject]:
    """A few subjects to look at: the first that failed nothing, so that the choice hides no outcome."""
    found: list[Subject] = []
    for subject in session.ids:
        if len(found) == count:
            break
        record, fused = session.store.read("align", subject), session.store.read("fuse", subject)
        if record is None or not record.done:
            continue
        example = subjects.load_aligned(session.store, subject)
        if session.ledger.fuses and fused is not None and fused.done:
            example = subjects.load_fused(session.store, example)
        found.append(example)
    return found


def _hashes(session: Session) -> dict[str, str]:
    root = session.config.cohort.root
    return {
        "manifest": file_digest(root / session.config.cohort.manifest),
        "config": digest(public_settings(session.config)),
        "features": file_digest(session.store.root / "features.parquet"),
    }
