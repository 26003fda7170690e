"""The stages that need everyone, on an opened study folder; and all stages in a row."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from radfuse.config import Config
from radfuse.data.cohort import refuse
from radfuse.data.predictions import Predictions
from radfuse.data.study import Study
from radfuse.data.subject import Subject
from radfuse.data.table import FeatureTable
from radfuse.report.registration import worst_first
from radfuse.run import subjects
from radfuse.run.controls import (
    NOTHING_ASKED,
    Asked,
    Judging,
    plan_controls,
    require,
    run_controls,
    with_shared,
)
from radfuse.run.device import device_of
from radfuse.run.environment import environment
from radfuse.run.external import TABLE, external_problems, external_tables, externally_tested, require_arms
from radfuse.run.failures import judged_key, judged_state
from radfuse.run.harmonizing import DIAGNOSTICS, verdicts, write_harmonized
from radfuse.run.judging import JUDGED, PREDICTIONS, Judged, judge, plan_arms, read_tables
from radfuse.run.misregistration import misregistration_tables, sensitivities
from radfuse.run.preflight import Foreseen, foresee_regions, region_problems, write_regions
from radfuse.run.seen import refuse_seen
from radfuse.run.session import Session, failure_table
from radfuse.run.stability import plan_stability, require_chain, require_stability, stability_stands, stability_study
from radfuse.run.store import Record, digest, digests, file_digest, libraries, write_bytes, write_text
from radfuse.run.tracking import Trained, tracked
from radfuse.run.validate import outcome_problems


def plan_study(
    session: Session, *stages: str, fusion: str = "all", asked: Asked = NOTHING_ASKED
) -> dict[str, dict[str, int]]:
    """Say how many results of each stage would be reused and how many computed; of controls the seconds too."""
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
        of = Judging(session.store, session.table(), session.config.train, session.config.harmonize)
        found |= plan_controls(of, asked, session.executor.jobs)
    return found


def run_study(session: Session) -> Judged:
    """Run every stage in order."""
    session.everyone("run")
    refuse([*outcome_problems(session.config, session.cohort), *external_problems(session.config)])
    refuse([problem for problem in region_problems(session.config, session.cohort) if problem.fatal])
    require_chain(session)
    if session.ledger.fuses:  # weights, and a GPU, that are not there are missed before hours of aligning
        session.config.fuse.require()
    for stage in session.ledger.stages:
        device_of(stage.name, session.config.execution.device)
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


def train_study(
    session: Session, fusion: str, asked: Asked = NOTHING_ASKED, tell: Callable[[str], None] = lambda line: None
) -> Judged:
    """Train the arms of the fusion levels asked for, score every arm that stands, report, and track in MLflow.

    Parameters
    ----------
    asked : negative controls to run too; those that stand are shown in any case.
    tell : called with lines for the user.
    """
    session.everyone("train")
    refuse_seen(session)
    if session.config.train.stability is not None:
        require_stability(session)
    began = time.perf_counter()
    config, table = session.config, session.table()
    of = Judging(session.store, table, config.train, config.harmonize)
    require(of, asked)
    require_arms(config, table)
    session.describe()
    judged = judge(
        session.store, table, config.train, config.harmonize, session.executor, session.listener, session.log,
        fusion=fusion, redo=session.redo,
    )  # fmt: skip
    session.timed("train", began, worked=judged.trained > 0)
    _judged(session, judged)  # so that an interrupted control costs no report
    controlled = run_controls(of, judged, asked, session.executor, session.listener, redo=session.redo, tell=tell)
    judged = with_shared(of, controlled)
    _judged(session, judged)
    judged = externally_tested(session, judged)
    page = report_study(session)
    hashes, settings = _hashes(session, judged), public_settings(config)
    trained = Trained(session.store, session.study, config.name, config.tracking, table, settings, judged, hashes)
    session.listener.began("MLflow", len(judged.auc), 0)
    began = time.perf_counter()
    recorded = tracked(trained, {"report": str(page), "table": str(page.with_name("auc.csv"))})
    session.timed("MLflow", began)
    return recorded


def _judged(session: Session, judged: Judged) -> None:
    """Note that what was judged is of the present settings and features, and what failed."""
    failed = [[problem.subject, problem.what, problem.hint] for problem in judged.failed]
    state = {"key": judged_key(session.ledger), "failed": failed}
    write_text(session.store.folder("report") / JUDGED, json.dumps(state))
    session.write_failures()


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
        tables=(read_tables(store) | external_tables(session) if state else {}) | misregistration_tables(session),
        contrast=json.loads((folder / "contrast.json").read_text(encoding="utf-8")) if state else None,
        seconds=session.seconds,
        environment=environment(),
    )


def public_settings(config: Config) -> dict[str, Any]:
    """The settings that decide results, without where the files lie on this machine."""
    settings: dict[str, Any] = _named(config.model_dump(mode="json", exclude={"execution"}))
    settings["cohort"]["root"] = "."
    return settings


def _named(value: Any) -> Any:
    """Leave the name of each absolute path: weights, landmarks and tables may lie anywhere on this machine."""
    if isinstance(value, dict):
        return {key: _named(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_named(each) for each in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


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
    """A few subjects to look at: those whose alignment is the most doubtful first, whatever their outcome."""
    found: list[Subject] = []
    for subject in worst_first(session.ledger.findings()["align"], sensitivities(session)):
        if len(found) == count:
            break
        record, fused = session.store.read("align", subject), session.store.read("fuse", subject)
        if record is None or not record.done:
            continue
        example = subjects.load_aligned(session.store, subject).with_findings("align", record.findings)
        if session.ledger.fuses and fused is not None and fused.done:
            example = subjects.load_fused(session.store, example)
        found.append(example)
    return found


def _hashes(session: Session, judged: Judged) -> dict[str, str]:
    root = session.config.cohort.root
    tested = {"external": digest(judged.tables[TABLE].to_csv())} if TABLE in judged.tables else {}
    return tested | {
        "manifest": file_digest(root / session.config.cohort.manifest),
        "config": digest(public_settings(session.config)),
        "features": file_digest(session.store.root / "features.parquet"),
    }
