"""Session: one study folder opened for work. It chains the stages by content and keeps what still stands."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pandas as pd
from filelock import FileLock, Timeout

from radfuse.component import Stage
from radfuse.config import Config
from radfuse.data.cohort import Cohort, Problem
from radfuse.data.reading.images import read_geometry
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, DataError, RadfuseError, StageError
from radfuse.extract.dictionary import data_dictionary
from radfuse.run import subjects
from radfuse.run.device import device_of
from radfuse.run.environment import describe_environment
from radfuse.run.executors.local import LocalExecutor
from radfuse.run.failures import gathered
from radfuse.run.ledger import SOURCE, Ledger
from radfuse.run.logs import RunLog
from radfuse.run.progress import Listener, Silent
from radfuse.run.store import NOTHING, Record, Redo, Store, write, write_text
from radfuse.run.tasks import SubjectTask, lost, perform
from radfuse.run.tissues import require_tools

TIMINGS = "timings.json"


class Session:
    """A study folder, one run in it, and the workers.

    Parameters
    ----------
    config : the settings.
    study : the study folder; runs stand side by side in its ``runs/``.
    run : the name of this run.
    only : subjects to work on; empty is all of them.
    redo : what to compute again.
    listener : who follows the work.
    looking : only look: nothing is written, made or locked.
    """

    def __init__(
        self,
        config: Config,
        study: Path,
        run: str = "main",
        *,
        only: Sequence[str] = (),
        redo: Redo = NOTHING,
        listener: Listener | None = None,
        looking: bool = False,
    ) -> None:
        self.study = study
        self.store = Store(study / "runs" / run)
        self.listener: Listener = listener or Silent()
        self.redo = redo
        self.cohort = config.read_cohort()
        self.cohort.require_sound()
        self.config = settled(config, self.cohort)
        self.ledger = Ledger(self.store, self.config, self.cohort)
        self.only = _known(only, self.cohort)
        self.executor = LocalExecutor(config.execution.jobs)
        self.seconds: dict[str, float] = {}
        self.looking = looking
        self.log = RunLog(self.store.root / "log.jsonl")
        self._lock = FileLock(self.store.root / ".lock", timeout=0)

    def __enter__(self) -> Session:
        with suppress(OSError, ValueError):
            self.seconds = json.loads((self.store.root / TIMINGS).read_text(encoding="utf-8"))
        if self.looking:
            return self
        try:
            self.store.root.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise StageError(
                f"another radfuse works in {self.store.root}", hint="Wait for it, or give this run another --run name."
            ) from error
        except OSError as error:
            raise ConfigError(f"cannot write into {self.store.root}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.executor.__exit__(kind, error, trace)
        self._lock.release()

    def describe(self) -> None:
        """Write the settings and versions that the results now come from."""
        write_text(self.store.root / "run.yaml", self.config.to_yaml())
        write_text(self.store.root / "environment.json", describe_environment())

    def everyone(self, what: str) -> None:
        """Refuse a part of the cohort for work that judges all of it."""
        if set(self.only) != set(self.cohort.ids):
            raise ConfigError(
                f"--subject cannot be given to {what}, which judges the whole cohort",
                hint="To leave subjects out, take their rows out of the manifest.",
            )

    @property
    def ids(self) -> list[str]:
        """The subjects to work on: those asked for that can take part, by the manifest alone."""
        return [subject for subject in self.ledger.eligible if subject in self.only]

    def align(self) -> list[Record]:
        """Put every subject's volumes on one grid."""
        self.config.align.require()
        require_tools(self.config.align)
        return self._map(self.config.align)

    def fuse(self) -> list[Record]:
        """Fuse the aligned volumes of every subject; nothing to do for one modality, or without a method."""
        if not self.ledger.fuses:
            return []
        self.config.fuse.require()
        return self._map(self.config.fuse)

    def extract(self) -> list[Record]:
        """Measure every volume of every subject, and write the feature table."""
        records = self._map(self.config.extract)
        self.write_features()
        return records

    def write_features(self) -> FeatureTable:
        """Stack the rows that stand into features.csv and .parquet, with subjects.csv and dictionary.csv beside."""
        ids = self.ledger.measured
        if not ids:
            raise DataError(
                "no subject has features", hint=f"See {self.store.root / 'report' / 'failures.csv'} for each reason."
            )
        rows = [subjects.load_row(self.store.folder("extract", subject), subject) for subject in ids]
        facts = self.cohort.subjects.loc[ids]
        root = self.store.root
        (root / SOURCE).unlink(missing_ok=True)
        values = subjects.write_rows(root / "features.csv", root / "diagnostics.csv", rows, facts.index)
        write(root / "subjects.csv", lambda path: facts.to_csv(path))
        extract = self.config.extract
        meaning = data_dictionary(values.columns, extract.extractor, extract.parameters)
        write(root / "dictionary.csv", lambda path: meaning.to_csv(path, index=False))
        write_text(root / SOURCE, json.dumps({"made_from": self.ledger.made_from(ids)}) + "\n")
        return FeatureTable(values, facts)

    def table(self) -> FeatureTable:
        """The feature table of this run; refused when settings, scans or manifest have changed since it was made."""
        path = self.store.root / "features.parquet"
        if not path.is_file():
            raise StageError(f"{self.store.root} has no features", hint="Run `radfuse extract` first.")
        self.ledger.require(self.ledger.eligible, self.ledger.stages)
        if not self.ledger.tabled:
            raise StageError(
                f"{path.with_suffix('.csv')} was made from other scans, settings or subjects",
                hint="Run `radfuse extract`; it redoes only what changed.",
            )
        values = pd.read_parquet(path)
        facts = self.cohort.subjects.loc[list(values.index)]
        return FeatureTable(values.set_axis(facts.index), facts)

    def plan(self, stage: str) -> dict[str, int]:
        """How many results of a stage would be reused and how many computed."""
        found = next(each for each in self.ledger.stages if each.name == stage)
        records = [self.store.current(stage, subject, self.ledger.key(found, subject)) for subject in self.ids]
        redo = sum(self.redo.wants(record) for record in records)
        return {"reuse": len(records) - redo, "redo": redo}

    def failures(self) -> list[Problem]:
        """Give what the records of all stages say went wrong, for the subjects that this session works on."""
        found = gathered(self.ledger)
        if set(self.only) == set(self.cohort.ids):
            return found
        return [problem for problem in found if problem.subject in self.only]

    def write_failures(self) -> Path:
        """Write report/failures.csv, of everybody and every stage: subject, stage, what, hint."""
        table = failure_table(gathered(self.ledger))
        path = self.store.root / "report" / "failures.csv"
        write(path, lambda temporary: table.to_csv(temporary, index=False))
        return path

    def timed(self, stage: str, began: float, *, worked: bool = True) -> float:
        """Note how long a stage took; one that only reused results keeps the time of its work."""
        seconds = round(time.perf_counter() - began, 2)
        if worked or stage not in self.seconds:
            self.seconds[stage] = seconds
            write_text(self.store.root / TIMINGS, json.dumps(self.seconds, indent=1) + "\n")
        self.log.wrote("ended", stage=stage, seconds=seconds)
        self.listener.ended(stage, seconds)
        return seconds

    def _map(self, stage: Stage) -> list[Record]:
        began = time.perf_counter()
        before = self.ledger.before(stage)
        self.ledger.require(self.ids, before)
        ready = [s for s in self.ids if all(self.ledger.done(each, s) is not None for each in before)]
        standing = {s: self.store.current(stage.name, s, self.ledger.key(stage, s)) for s in ready}
        records = {s: record for s, record in standing.items() if record is not None and not self.redo.wants(record)}
        tasks = [self._task(stage, subject) for subject in ready if subject not in records]
        if tasks:
            self.describe()
        self.listener.began(stage.name, len(ready), len(records))
        self.log.wrote("began", stage=stage.name, reused=sorted(records), redo=[task.subject for task in tasks])
        for task, record in self.executor.map(perform, tasks, lost):
            records[task.subject] = record
            result = {"subject": task.subject, "seconds": record.seconds, "what": record.what}
            self.log.wrote(record.status, stage=stage.name, **result)
            self.listener.advanced(stage.name, record)
        self.timed(stage.name, began, worked=bool(tasks))
        self.write_failures()
        return [records[subject] for subject in ready]

    def _task(self, stage: Stage, subject: str) -> SubjectTask:
        return SubjectTask(
            stage,
            subject,
            scans=tuple(self.cohort.scans_of(subject)) if stage.name == "align" else (),
            root=self.store.root,
            key=self.ledger.key(stage, subject),
            device=device_of(stage.name, self.config.execution.device),
            fused=self.ledger.fuses,
        )


def failure_table(problems: Sequence[Problem]) -> pd.DataFrame:
    """The columns subject, stage, what, hint; a problem's text starts with its stage."""
    rows = [(p.subject, *p.what.split(": ", 1), p.hint) for p in problems]
    return pd.DataFrame(rows, columns=["subject", "stage", "what", "hint"])


def _known(only: Sequence[str], cohort: Cohort) -> list[str]:
    unknown = [subject for subject in only if subject not in cohort.ids]
    if unknown:
        raise ConfigError(f"not in the manifest: {', '.join(unknown)}", hint="See the manifest's subject column.")
    return list(only) or cohort.ids


def settled(config: Config, cohort: Cohort) -> Config:
    """Settle what depends on the cohort: the reference modality and the grid's spacing."""
    reference = config.cohort.reference or config.align.reference or cohort.modalities[0]
    if reference not in cohort.modalities:
        raise ConfigError(f"the reference {reference!r} is not a modality of the study: {', '.join(cohort.modalities)}")
    align = config.align.model_copy(update={"reference": reference})
    if align.spacing_mm == "auto":
        grids = []
        for scan in cohort.scans:
            if scan.modality == reference:
                try:
                    grids.append(read_geometry(scan.image))
                except (RadfuseError, OSError):
                    continue  # the subject fails by name in align; the others decide the spacing
        if grids:
            align = align.resolved(grids)
    fuse = config.fuse
    if fuse.inputs is None and len(cohort.modalities) > 1:
        # Settled here, so that a subject that lacks a modality does not get a fused volume of its own kind.
        fuse = fuse.model_copy(update={"inputs": (cohort.modalities,)})
    return config.model_copy(update={"align": align, "fuse": fuse})
