"""What the alignment's error would do to each subject's numbers, from the aligned volumes as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radfuse.align.sensitivity import sensitivity
from radfuse.extract.misregistration import error_of
from radfuse.extract.stability import MISREGISTRATION
from radfuse.run import subjects
from radfuse.run.session import Session
from radfuse.run.stability import movement
from radfuse.run.store import NOTHING, Record, Store, digest, libraries, write
from radfuse.run.tasks import killed, recorded

STAGE = "sensitivity"
VERSION = 1
TABLE = "sensitivity.csv"
COLUMNS = [
    "subject", "scan", "unit", "mean", "sd", "per_mm", "error_mm", "error_from", "first_order", "worst", "of", "share",
    "five_percent_mm",
]  # fmt: skip


@dataclass(frozen=True)
class SensitivityTask:
    """One aligned subject.

    Parameters
    ----------
    error_mm : by scan, how far it may lie beside its region, and where that number is from.
    """

    subject: str
    error_mm: Mapping[str, tuple[float, str]]
    root: Path
    key: str


def sensitivities(session: Session) -> pd.DataFrame:
    """Give a row for each registered scan of the aligned subjects; what stands is not computed again.

    Scans with a region of their own are left out: whatever their registration, it lies on them as it was drawn. So
    are subjects of whom nothing can be told.
    """
    tasks = [task for subject in session.ledger.eligible if (task := _task(session, subject)) is not None]
    records = {task.subject: session.store.current(STAGE, task.subject, task.key) for task in tasks}
    due = [task for task in tasks if NOTHING.wants(records[task.subject])]
    if due and not session.looking:
        for task, record in session.executor.map(perform_sensitivity, due, _lost):
            records[task.subject] = record
    rows = [
        {"subject": subject, "scan": scan, **found}
        for subject, record in records.items()
        if record is not None and record.done
        for scan, found in record.findings["scans"].items()
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    if due and not session.looking:
        write(session.store.folder(STAGE) / TABLE, lambda path: table.to_csv(path, index=False))
    return table


def misregistration_tables(session: Session) -> dict[str, pd.DataFrame]:
    """Give what the report tells of misregistration: each scan's sensitivity; each feature's where it was measured."""
    found = {"sensitivity": sensitivities(session)}
    moved = movement(session)
    return found if moved is None else found | {MISREGISTRATION: moved}


def perform_sensitivity(task: SensitivityTask) -> Record:
    """Look at one subject's aligned volumes, in a worker process."""
    store = Store(task.root)

    def work(folder: Path) -> tuple[list[str], Mapping[str, Any]]:
        aligned = subjects.load_aligned(store, task.subject)
        return [], {
            "scans": {
                scan: sensitivity(aligned.gone_on(scan), region, error_mm) | {"error_from": source}
                for scan, (error_mm, source) in task.error_mm.items()
                for region in [aligned.cut(scan, aligned.masks[scan])]
            }
        }

    return recorded(store, STAGE, task.subject, task.key, work)


def _task(session: Session, subject: str) -> SensitivityTask | None:
    align = session.config.align
    record = session.ledger.done(align, subject)
    if record is None or align.mask == "own":
        return None
    stated = session.config.report.registration_error_mm
    errors = {
        scan: (stated, "stated") if stated is not None else error_of(found)
        for scan, found in record.findings.get("registration", {}).items()
    }
    key = digest(STAGE, VERSION, session.ledger.key(align, subject), errors, libraries("numpy", "scipy"))
    return SensitivityTask(subject, errors, session.store.root, key) if errors else None


def _lost(task: SensitivityTask) -> Record:
    return killed(Store(task.root), STAGE, task.subject, task.key)
