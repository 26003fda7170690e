"""What a worker process does: one stage on one subject, or one arm; each writes its own result and its record."""

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from radfuse.align.stage import Align
from radfuse.component import Stage
from radfuse.data.cohort import Scan
from radfuse.data.reading.images import read_mask
from radfuse.data.subject import Subject
from radfuse.errors import ConfigError, RadfuseError, StageError
from radfuse.run import subjects, tissues
from radfuse.run.store import Record, Store, digests, file_digest


@dataclass(frozen=True)
class SubjectTask:
    """One subject stage on one subject.

    Parameters
    ----------
    stage : align, fuse or extract, with its settings.
    subject : whom.
    scans : the files, for a stage that starts from the manifest; empty for one that starts from the run folder.
    root : the run folder.
    key : what the result depends on.
    device : where the stage computes, see `radfuse.run.device.device_of`.
    fused : whether the study fuses, so that extract measures fused volumes too.
    """

    stage: Stage
    subject: str
    scans: tuple[Scan, ...]
    root: Path
    key: str
    device: str = "cpu"
    fused: bool = False


def perform(task: SubjectTask) -> Record:
    """Do the work of a task and write its record; a failure is a record too."""
    store = Store(task.root)

    def work(folder: Path) -> tuple[list[str], Mapping[str, Any]]:
        return _SUBJECT_WORK[task.stage.name](task, store, folder)

    return recorded(store, task.stage.name, task.subject, task.key, work)


def recorded(
    store: Store,
    stage: str,
    item: str,
    key: str,
    work: Callable[[Path], tuple[list[str], Mapping[str, Any]]],
    meanwhile: Record | None = None,
) -> Record:
    """Run ``work`` on an opened folder and close it with a record of what it gave or how it failed.

    Parameters
    ----------
    meanwhile : the record until then, for work of which parts stand by themselves: ``work`` may write it anew with
        more files, and those that it names last stay in the record of a failure. None: there is none till the end.
    """
    began = time.perf_counter()
    folder = store.open(stage, item, meanwhile)
    try:
        files, findings = work(folder)
    except Exception as error:
        failure = _failure(stage, item, key, time.perf_counter() - began, error)
        stands = store.read(stage, item) if meanwhile is not None else None
        if stands is not None:
            failure = replace(failure, files=stands.files, findings=stands.findings)
        return store.close(failure)
    seconds = time.perf_counter() - began
    return store.close(Record(stage, item, key, "done", round(seconds, 3), digests(folder, files), findings))


def lost(task: SubjectTask) -> Record:
    """Answer for a worker that was killed while it had this task alone."""
    error = StageError(
        "the worker process was killed, most likely for want of memory",
        hint="Close other programs, set align.margin_mm to crop around the region, or use a coarser grid.",
    )
    store = Store(task.root)
    store.open(task.stage.name, task.subject)
    return store.close(_failure(task.stage.name, task.subject, task.key, 0.0, error))


def killed(store: Store, stage: str, item: str, key: str, meanwhile: Record | None = None) -> Record:
    """Answer for a worker that was killed while it had this task alone; the next run tries again."""

    def work(folder: Path) -> tuple[list[str], Mapping[str, Any]]:
        raise StageError("the worker process was killed, most likely for want of memory", hint="Use --jobs 1.")

    return recorded(store, stage, item, key, work, meanwhile)


def _failure(stage: str, item: str, key: str, seconds: float, error: Exception) -> Record:
    expected = isinstance(error, RadfuseError)
    notes = "; ".join(getattr(error, "__notes__", []))
    message = error.message if isinstance(error, RadfuseError) else f"{type(error).__name__}: {error}"
    return Record(
        stage,
        item,
        key,
        "failed",
        round(seconds, 3),
        what=f"{message} ({notes})" if notes else message,
        hint=error.hint if isinstance(error, RadfuseError) else "This is a fault of radfuse; the record has the trace.",
        trace="" if expected else "".join(traceback.format_exception(error)),
        # Settings name files by content, wherever they lie: that one is not there, no key knows.
        transient=not expected or isinstance(error, ConfigError | StageError),
    )


def _align(task: SubjectTask, store: Store, folder: Path) -> tuple[list[str], Mapping[str, Any]]:
    given = _outlined(task, store, subjects.from_files(task.subject, task.scans))
    aligned = task.stage(given, task.device)  # type: ignore[operator]
    scans = {scan.modality: file_digest(scan.image) for scan in task.scans}
    return subjects.save_aligned(folder, aligned, scans), aligned.findings.get("align", {})


def _outlined(task: SubjectTask, store: Store, given: Subject) -> Subject:
    """Add the tissues that an outside tool draws; what it drew once of the same image is kept."""
    align: Align = task.stage  # type: ignore[assignment]
    regions = dict(given.regions)
    for name, scan in tissues.asked(align, given).items():
        tissue, item = align.tissues[name], f"{given.id}/{name}"
        image = next(each.image for each in task.scans if each.modality == scan)
        key = tissues.tool_key(tissue, file_digest(image))
        record = store.current(tissues.STAGE, item, key)
        if record is None or not record.done:
            record = recorded(store, tissues.STAGE, item, key, partial(tissues.outline, tissue, given.volumes[scan]))
        if not record.done:
            raise StageError(record.what, hint=record.hint)
        regions[name] = {scan: read_mask(store.folder(tissues.STAGE, item) / tissues.MASK)}
    return replace(given, regions=regions)


def _fuse(task: SubjectTask, store: Store, folder: Path) -> tuple[list[str], Mapping[str, Any]]:
    aligned = subjects.load_aligned(store, task.subject)
    fused = task.stage(aligned, task.device)  # type: ignore[operator]
    return subjects.save_fused(folder, aligned, fused), fused.findings.get("fuse", {})


def _extract(task: SubjectTask, store: Store, folder: Path) -> tuple[list[str], Mapping[str, Any]]:
    if task.scans:
        subject = subjects.from_files(task.subject, task.scans)
    else:
        subject = subjects.load_aligned(store, task.subject)
    if task.fused:
        subject = subjects.load_fused(store, subject)
    row = task.stage(subject, task.device)  # type: ignore[operator]
    problems = dict(list(row.problems.items())[:20])
    return subjects.save_row(folder, row), {"columns": len(row.values), "missing": len(row.problems), "why": problems}


_SUBJECT_WORK = {"align": _align, "fuse": _fuse, "extract": _extract}
