"""New patients measured as a finished run's own were, as far as the arms asked for look."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import pandas as pd

from radfuse.data.cohort import Problem
from radfuse.data.names import modality_of, region_of
from radfuse.data.table import FeatureTable
from radfuse.errors import DataError, StageError
from radfuse.run import subjects
from radfuse.run.device import device_of
from radfuse.run.executors.local import LocalExecutor
from radfuse.run.fitted import AGAIN
from radfuse.run.ledger import Ledger
from radfuse.run.newcomers import Newcomers
from radfuse.run.predictor import Predictor
from radfuse.run.progress import Listener
from radfuse.run.store import Store
from radfuse.run.tasks import SubjectTask, lost, perform
from radfuse.run.tissues import require_tools
from radfuse.train.stage import Arm


def measure(
    run: Predictor, arms: Sequence[Arm], new: Newcomers, store: Store, listener: Listener
) -> dict[str, Problem]:
    """Take the patients through the stored stages; give, by subject, why somebody has no features.

    Fused volumes that none of the arms looks at are not made.
    """
    ledger = _ledger(run, arms, new, store)
    config = ledger.config
    config.align.require()
    require_tools(config.align)
    config.fuse.require()
    devices = {stage.name: device_of(stage.name, config.execution.device) for stage in ledger.stages}
    failed = dict(new.refused)
    with LocalExecutor(config.execution.jobs) as executor:
        for stage in ledger.stages:
            began = time.perf_counter()
            tasks = []
            ready = [subject for subject in new.cohort.ids if subject not in failed]
            for subject in ready:
                scans = tuple(new.cohort.scans_of(subject)) if stage.name == "align" else ()
                key = ledger.key(stage, subject)
                tasks.append(SubjectTask(stage, subject, scans, store.root, key, devices[stage.name], ledger.fuses))
            standing = {t.subject: store.current(stage.name, t.subject, t.key) for t in tasks}
            records = {s: r for s, r in standing.items() if r is not None and not r.transient}
            due = [task for task in tasks if task.subject not in records]
            listener.began(stage.name, len(tasks), len(records))
            for task, record in executor.map(perform, due, lost):
                records[task.subject] = record
                listener.advanced(stage.name, record)
            listener.ended(stage.name, time.perf_counter() - began)
            for subject in ready:
                record = records[subject]
                if not record.done:
                    failed[subject] = Problem(subject, f"{stage.name}: {record.what}", record.hint, fatal=False)
    return failed


def _ledger(run: Predictor, arms: Sequence[Arm], new: Newcomers, store: Store) -> Ledger:
    whole = Ledger(store, run.config, new.cohort)
    with suppress(StageError):  # what was measured for all arms serves some of them
        whole.require([subject for subject in new.cohort.ids if subject not in new.refused], [run.config.extract])
        return whole
    columns = list(run.table.values.columns)
    names = {modality_of(column) for arm in arms for column in arm.visible(columns)}
    return Ledger(store, run.config.model_copy(update={"fuse": run.config.fuse.only(names)}), new.cohort)


def feature_table(run: Predictor, new: Newcomers, store: Store, failed: Mapping[str, Problem]) -> FeatureTable:
    """Stack the rows of those who were measured, under the columns that the models know."""
    ids = [subject for subject in new.cohort.ids if subject not in failed]
    rows = [subjects.load_row(store.folder("extract", subject), subject) for subject in ids]
    values = known_columns(run, subjects.feature_values(rows))
    return FeatureTable(values, new.cohort.subjects.loc[ids].set_axis(values.index))


def known_columns(run: Predictor, values: pd.DataFrame) -> pd.DataFrame:
    """Give features the columns that the models know, empty where a modality was not measured.

    Raises
    ------
    DataError : a column that the models know is not there, although its modality was measured.
    """
    columns = run.table.values.columns
    measured = {modality_of(column) for column in values.columns}
    lacking = [c for c in columns if c not in values.columns and modality_of(c) in measured]
    if lacking:
        region = region_of(lacking[0])
        raise DataError(
            f"the new patients lack {len(lacking)} of the {len(columns)} columns that the models were fitted on, first "
            f"{lacking[0]!r}",
            hint=f"Draw the region {region!r} in the manifest, as in the study's."
            if region and run.images
            else AGAIN
            if run.images
            else "Give every feature that the run was trained on; where a value is not known, leave the cell empty.",
        )
    return values.reindex(columns=columns)
