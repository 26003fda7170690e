"""Run the whole pipeline on permuted outcomes, one permutation in each task; what stands is not done again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from radfuse.data.table import FeatureTable
from radfuse.errors import StageError
from radfuse.harmonize.stage import Harmonize
from radfuse.run.executors.local import LocalExecutor
from radfuse.run.judging import DECIDING, arm_settings, load_table, measurements_digest, with_measurements
from radfuse.run.progress import Listener
from radfuse.run.store import Record, Store, digest, file_digest, libraries, write_text
from radfuse.run.tasks import killed, recorded
from radfuse.train.permutation import permuted, whole_pipeline_auc
from radfuse.train.splits import Splits
from radfuse.train.stage import Arm, Train

STAGE, FOUND = "permute", "auc.json"
OBSERVED = 0


@dataclass(frozen=True)
class PermutationTask:
    """Every arm under one permutation of the outcome; number 0 is the outcome as it is."""

    index: int
    arms: tuple[Arm, ...]
    splits: Splits
    harmonize: Harmonize
    seed: int
    root: Path
    key: str


@dataclass(frozen=True, eq=False)
class Permuted:
    """AUCs of the same arms by the same steps, under the true outcome and under permuted ones.

    Parameters
    ----------
    observed : AUC by arm.
    null : one row per permutation, one column per arm.
    """

    observed: Mapping[str, float]
    null: pd.DataFrame


def permute(
    store: Store,
    table: FeatureTable,
    arms: Sequence[Arm],
    splits: Splits,
    harmonize: Harmonize,
    executor: LocalExecutor,
    listener: Listener,
    *,
    permutations: int,
    seed: int,
) -> Permuted:
    """Judge the arms under the true outcome and under so many permutations; needs `judge` to have run on this table.

    Parameters
    ----------
    splits : folds and repeats of every permutation; drawn anew each time, since they are stratified by the outcome.
        Where sites are left out, outcomes change places within a site.
    """
    key = digest(
        STAGE, Train.version,
        [arm_settings(replace(arm, operating=None, explain=None)) for arm in arms],  # neither is done here
        splits.deciding, harmonize.model_dump(mode="json"),
        harmonize.version, seed, libraries(*DECIDING),
        [file_digest(store.root / "train" / name) for name in ("table.parquet", "subjects.parquet")],
        *[measured for arm in arms if (measured := measurements_digest(arm, store))][:1],
    )  # fmt: skip
    tasks = [
        PermutationTask(index, tuple(arms), splits, harmonize, seed, store.root, key)
        for index in range(permutations + 1)
    ]
    due = [task for task in tasks if (found := store.current(STAGE, str(task.index), key)) is None or not found.done]
    listener.began("permutations", len(tasks), len(tasks) - len(due))
    for task, record in executor.map(perform_permutation, due, _lost):
        listener.advanced("permutations", record)
        if not record.done:
            raise StageError(f"permutation {task.index} failed: {record.what}", hint=record.hint)
    auc = [json.loads((store.folder(STAGE, str(task.index)) / FOUND).read_text(encoding="utf-8")) for task in tasks]
    return Permuted(auc[OBSERVED], pd.DataFrame(auc[OBSERVED + 1 :], columns=[arm.name for arm in arms]))


def perform_permutation(task: PermutationTask) -> Record:
    """Judge every arm under one permutation, in a worker process."""
    store = Store(task.root)

    def work(folder: Path) -> tuple[list[str], Mapping[str, Any]]:
        table = load_table(store)
        if task.index != OBSERVED:
            table = permuted(table, task.seed, task.index, task.splits.strata(table.subjects))
        arms = [with_measurements(arm, store) for arm in task.arms]
        harmonizer = task.harmonize.harmonizer.resolved(table.modalities).build()
        found = whole_pipeline_auc(arms, table, task.splits, harmonizer)
        write_text(folder / FOUND, json.dumps(found, indent=1, sort_keys=True) + "\n")
        return [FOUND], {}

    return recorded(store, STAGE, str(task.index), task.key, work)


def _lost(task: PermutationTask) -> Record:
    return killed(Store(task.root), STAGE, str(task.index), task.key)
