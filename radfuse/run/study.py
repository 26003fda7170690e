"""The stages that need everyone, on an opened study folder; and all stages in a row."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd

from radfuse.data.predictions import Predictions
from radfuse.data.study import Study
from radfuse.data.subject import Subject
from radfuse.data.table import FeatureTable
from radfuse.run import subjects
from radfuse.run.environment import environment
from radfuse.run.judging import PREDICTIONS, Judged, judge, plan_arms
from radfuse.run.models import save_model
from radfuse.run.session import Session, failure_table
from radfuse.run.store import Record, digest, digests, file_digest, libraries, write, write_bytes, write_text
from radfuse.run.tracking import Trained, track

DIAGNOSTICS, FITTED = "diagnostics.json", "harmonizer.skops"


def plan_study(session: Session, *stages: str, fusion: str = "all") -> dict[str, dict[str, int]]:
    """Say how many results of each stage would be reused and how many computed."""
    skipped = set() if session.fuses else {"fuse"}
    found = {stage: session.plan(stage) for stage in stages if stage not in {"train"} | skipped}
    if "train" in stages:
        waits = any(counts["redo"] for counts in found.values())
        found["train"] = plan_arms(
            session.store, session.table(), session.config.train, session.config.harmonize, fusion, stale=waits
        )
    return found


def run_study(session: Session) -> Judged:
    """Run every stage in order."""
    session.align()
    session.fuse()
    session.extract()
    harmonize_study(session)
    judged = train_study(session, "all", report=False)
    return replace(judged, places={**_places(session, report_study(session)), **judged.places})


def harmonize_study(session: Session) -> str:
    """Harmonise the whole table to look at it; give the verdict in words. Training never reads the result."""
    table = session.table()
    stage = session.config.harmonize
    key = digest("harmonize", stage.version, stage.model_dump(mode="json"), libraries("numpy", "scikit-learn"),
                 file_digest(session.store.root / "features.parquet"), table.subjects.to_csv())  # fmt: skip
    record = None if session.redo.everything else session.store.current("harmonize", "", key)
    session.listener.began("harmonize", 1, 0 if record is None else 1)
    if record is None:
        record = _harmonize(session, table, key)
    return "\n".join(f"{modality}: {text}" for modality, text in record.findings["verdicts"].items())


def train_study(session: Session, fusion: str, *, report: bool = True) -> Judged:
    """Train the arms of the fusion levels asked for, score them, and track them in MLflow."""
    began = time.perf_counter()
    config, table = session.config, session.table()
    judged = judge(
        session.store, table, config.train, config.harmonize, session.executor, session.listener, session.log,
        fusion=fusion, redo=session.redo.everything,
    )  # fmt: skip
    session.timed("train", began, worked=judged.trained > 0)
    session.failed_arms = judged.failed
    session.write_failures()
    hashes = _hashes(session)
    where = track(
        Trained(session.store, session.study, config.name, config.tracking, table, config.train, judged, hashes)
    )
    judged = replace(judged, places={"MLflow": where})
    return replace(judged, places={**_places(session, report_study(session)), **judged.places}) if report else judged


def report_study(session: Session) -> Path:
    """Write report/index.html and its figures."""
    study = collect(session)
    began = time.perf_counter()
    page = session.config.report(study)
    folder = session.store.folder("report")
    for name, content in page.figures.items():
        write_bytes(folder / name, content)
    write_text(folder / "index.html", page.html)
    session.timed("report", began)
    return folder / "index.html"


def collect(session: Session) -> Study:
    """Gather everything that this run found so far."""
    store, config = session.store, session.config
    has_table = (store.root / "features.parquet").is_file()
    arms = store.root / "report" / PREDICTIONS
    contrast = store.root / "report" / "contrast.json"
    diagnostics = store.folder("harmonize") / DIAGNOSTICS
    failures = failure_table(session.failures())
    failed = set(failures["subject"])
    roster = session.cohort.subjects.assign(
        status=["failed" if subject in failed else "complete" for subject in session.cohort.ids]
    )
    return Study(
        name=config.name,
        config=config.model_dump(mode="json"),
        roster=roster,
        failures=failures,
        findings=session.findings(),
        examples=_examples(session, config.report.examples),
        table=session.table() if has_table else None,
        harmonization=json.loads(diagnostics.read_text()) if diagnostics.is_file() else None,
        predictions=Predictions(pd.read_parquet(arms)) if arms.is_file() else None,
        auc=pd.read_csv(store.root / "report" / "auc.csv") if arms.is_file() else None,
        contrast=json.loads(contrast.read_text()) if contrast.is_file() else None,
        seconds=session.seconds,
        environment=environment(),
    )


def _harmonize(session: Session, table: FeatureTable, key: str) -> Record:
    began = time.perf_counter()
    store = session.store
    folder = store.open("harmonize")
    found = session.config.harmonize(table)
    write(folder / "features.parquet", lambda path: found.table.values.to_parquet(path))
    write(folder / "features.csv", lambda path: found.table.values.to_csv(path))
    write_text(folder / DIAGNOSTICS, json.dumps(found.diagnostics, indent=1, sort_keys=True) + "\n")
    write(folder / FITTED, lambda path: save_model(found.transformer, path))
    verdicts = {modality: each.get("verdict", "") for modality, each in found.diagnostics.items()}
    files = digests(folder, ["features.parquet", "features.csv", DIAGNOSTICS, FITTED])
    seconds = session.timed("harmonize", began)
    return store.close(Record("harmonize", "", key, "done", seconds, files, {"verdicts": verdicts}))


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
        if session.fuses and fused is not None and fused.done:
            example = subjects.load_fused(session.store, example)
        found.append(example)
    return found


def _hashes(session: Session) -> dict[str, str]:
    root = session.config.cohort.root
    return {
        "manifest": file_digest(root / session.config.cohort.manifest),
        "config": file_digest(session.store.root / "run.yaml"),
        "features": file_digest(session.store.root / "features.parquet"),
    }


def _places(session: Session, page: Path) -> dict[str, str]:
    return {"report": str(page), "table": str(page.with_name("auc.csv"))}
