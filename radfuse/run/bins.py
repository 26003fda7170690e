"""Look at the grey values of the training subjects and advise bin widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radfuse.data.cohort import Problem
from radfuse.errors import DataError, RadfuseError
from radfuse.extract.bins import Advice, Span, advise, spans
from radfuse.extract.parameters import parameters_for
from radfuse.extract.stage import Extract
from radfuse.run import subjects
from radfuse.run.session import Session
from radfuse.run.store import Record, Store

STAGE = "bins"


@dataclass(frozen=True)
class BinTask:
    """One subject's volumes to be looked at."""

    extract: Extract
    subject: str
    root: Path
    fused: bool


@dataclass(frozen=True)
class Looked:
    """What one subject's volumes hold: ranges by the name of the parameters, or why they cannot be told."""

    spans: tuple[tuple[str, Span], ...] = ()
    what: str = ""
    hint: str = ""


@dataclass(frozen=True)
class BinAdvice:
    """What the command found.

    Parameters
    ----------
    advice : one per set of parameters and image type.
    subjects : whose images were looked at.
    failed : those whose could not be.
    """

    advice: tuple[Advice, ...]
    subjects: tuple[str, ...]
    failed: tuple[Problem, ...]


def bins_study(session: Session) -> BinAdvice:
    """Look at the aligned (and fused) volumes of the subjects asked for; nothing is written."""
    ledger, extract = session.ledger, session.config.extract
    before = ledger.before(extract)
    ledger.require(session.ids, before)
    ready = [s for s in session.ids if all(ledger.done(each, s) is not None for each in before)]
    tasks = [BinTask(extract, subject, session.store.root, ledger.fuses) for subject in ready]
    session.listener.began(STAGE, len(tasks), 0)
    found: dict[str, Looked] = {}
    for task, looked in session.executor.map(look, tasks, _lost):
        found[task.subject] = looked
        session.listener.advanced(STAGE, Record(STAGE, task.subject, "", "failed" if looked.what else "done", 0.0))
    failed = [Problem(s, f"{STAGE}: {found[s].what}", found[s].hint, fatal=False) for s in ready if found[s].what]
    seen = [subject for subject in ready if not found[subject].what]
    if not seen:
        raise DataError(
            "no subject's grey values could be looked at" + (f"; {failed[0].what}" if failed else ""),
            hint="Run `radfuse align` first." if not failed else failed[0].hint,
        )
    return BinAdvice(_advice([each for subject in seen for each in found[subject].spans]), tuple(seen), tuple(failed))


def look(task: BinTask) -> Looked:
    """Give the ranges of one subject's volumes, in a worker process."""
    store = Store(task.root)
    found: list[tuple[str, Span]] = []
    try:
        subject = subjects.load_aligned(store, task.subject)
        if task.fused:
            subject = subjects.load_fused(store, subject)
        for name in subject.volumes:
            parameters = parameters_for(name, task.extract.parameters)
            place = next(key for key, value in task.extract.parameters.items() if value is parameters)
            region = subject.cut(name, subject.masks[name])
            found += [(place, span) for span in spans(subject.gone_on(name), region, parameters)]
    except RadfuseError as error:
        return Looked(what=error.message, hint=error.hint)
    return Looked(tuple(found))


def _advice(found: Sequence[tuple[str, Span]]) -> tuple[Advice, ...]:
    groups: dict[tuple[str, str], list[Span]] = {}
    for place, span in found:
        groups.setdefault((place, span.image_type), []).append(span)
    return tuple(advise(place, group) for (place, _), group in groups.items())


def _lost(task: BinTask) -> Looked:
    return Looked(what="the worker process was killed, most likely for want of memory", hint="Use --jobs 1.")
