"""Judge a feature table: the splits, every arm in its own task, the AUC table and the primary contrast."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from radfuse.data.predictions import Predictions
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, StageError
from radfuse.harmonize.stage import Harmonize
from radfuse.run.executors.local import LocalExecutor
from radfuse.run.logs import RunLog
from radfuse.run.models import save_model
from radfuse.run.progress import Listener
from radfuse.run.store import Record, Store, digest, file_digest, libraries, write, write_text
from radfuse.run.tasks import recorded
from radfuse.train.stage import Arm, Train

DECIDING = ("scikit-learn", "xgboost", "torch", "scipy", "numpy", "pandas")
PREDICTIONS, FOLDS, MODEL, REPORTS = "predictions.parquet", "folds.csv", "model.skops", "folds.json"


@dataclass(frozen=True, eq=False)
class Judged:
    """What training found.

    Parameters
    ----------
    auc : one row per arm.
    contrast : the primary comparison, or None when one of its arms was not run.
    predictions : out-of-fold scores.
    places : what to open, by name.
    """

    auc: pd.DataFrame
    contrast: Mapping[str, Any] | None
    predictions: Predictions
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The primary comparison in words."""
        return str(self.contrast.get("verdict", "")) if self.contrast else ""

    def summary(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        records = json.loads(self.auc.to_json(orient="records", double_precision=15))
        return {"auc": records, "contrast": dict(self.contrast) if self.contrast else None, **self.places}


@dataclass(frozen=True)
class ArmTask:
    """One arm in every fold."""

    arm: Arm
    train: Train
    harmonize: Harmonize
    root: Path
    key: str


def judge(
    store: Store,
    table: FeatureTable,
    train: Train,
    harmonize: Harmonize,
    executor: LocalExecutor,
    listener: Listener,
    log: RunLog,
    *,
    redo: bool = False,
) -> Judged:
    """Run every arm that does not stand yet, and score all arms on the same splits."""
    began = time.perf_counter()
    write(store.root / "splits.csv", lambda path: train.splits(table).to_csv(path, index=False))
    write(store.root / "train" / "table.parquet", lambda path: table.values.to_parquet(path))
    write(store.root / "train" / "subjects.csv", lambda path: table.subjects.to_csv(path))
    arms = train.arms(table)
    tasks, standing = [], 0
    for arm in arms:
        key = _key(store, arm, train, harmonize)
        record = None if redo else store.current("train", arm.name, key)
        if record is not None and (record.done or not record.trace):
            standing += 1
        else:
            tasks.append(ArmTask(arm, train, harmonize, store.root, key))
    listener.began("train", len(arms), standing)
    log.wrote("began", stage="train", redo=[task.arm.name for task in tasks])
    for task, record in executor.map(perform_arm, tasks, _lost):
        log.wrote(record.status, stage="train", arm=task.arm.name, seconds=record.seconds, what=record.what)
        listener.advanced("train", record)
    seconds = round(time.perf_counter() - began, 2)
    log.wrote("ended", stage="train", seconds=seconds)
    listener.ended("train", seconds)
    return score(store, table, train, harmonize)


def plan_arms(
    store: Store, table: FeatureTable, train: Train, harmonize: Harmonize, *, stale: bool = False
) -> dict[str, int]:
    """How many arms still stand and how many would be trained; all of them where the table is about to change."""
    arms = train.arms(table)
    standing = 0
    if not stale and (store.root / "splits.csv").is_file():
        standing = sum(store.current("train", a.name, _key(store, a, train, harmonize)) is not None for a in arms)
    return {"reuse": standing, "redo": len(arms) - standing}


def score(store: Store, table: FeatureTable, train: Train, harmonize: Harmonize) -> Judged:
    """Score every arm of this run that stands, whichever command trained it."""
    frames, failed = [], []
    for arm in train.arms(table):
        record = store.read("train", arm.name)
        if record is None or record.key != _key(store, arm, train, harmonize):
            continue
        if record.done:
            frames.append(pd.read_parquet(store.folder("train", arm.name) / PREDICTIONS))
        else:
            failed.append(f"{arm.name}: {record.what}")
    if not frames:
        raise StageError("no arm was trained" + (": " + "; ".join(failed) if failed else ""))
    predictions = Predictions(pd.concat(frames, ignore_index=True))
    auc, contrast = train.score(predictions), train.contrast(predictions)
    write(store.root / "report" / "auc.csv", lambda path: auc.to_csv(path, index=False))
    write(store.root / "report" / "predictions.parquet", lambda path: predictions.rows.to_parquet(path, index=False))
    text = json.dumps(contrast, indent=1, sort_keys=True) + "\n"
    write_text(store.root / "report" / "contrast.json", text)
    return Judged(auc, contrast, predictions)


def perform_arm(task: ArmTask) -> Record:
    """Fit and score one arm in every fold, in a worker process."""
    store = Store(task.root)

    def work(folder: Path) -> tuple[list[str], Mapping[str, Any]]:
        import torch

        torch.set_num_threads(1)
        table = load_table(store)
        splits = pd.read_csv(store.root / "splits.csv", dtype={"subject": str})
        result = task.train.run_arm(task.arm, table, splits, task.harmonize.harmonizer.build())
        write(folder / PREDICTIONS, lambda path: result.predictions.rows.to_parquet(path, index=False))
        write(folder / FOLDS, lambda path: result.folds.to_csv(path, index=False))
        write(folder / MODEL, lambda path: save_model(result.model, path))
        write_text(folder / REPORTS, json.dumps(result.fold_reports, indent=1, sort_keys=True) + "\n")
        return [PREDICTIONS, FOLDS, MODEL, REPORTS], {"modalities": list(task.arm.modalities)}

    return recorded(store, "train", task.arm.name, task.key, work)


def load_table(store: Store) -> FeatureTable:
    """The table that the arms are trained on."""
    values = pd.read_parquet(store.root / "train" / "table.parquet")
    facts = pd.read_csv(store.root / "train" / "subjects.csv", dtype={"subject": str}).set_index("subject")
    batches = {name: str for name in facts.columns if name.startswith("batch.") or name == "group"}
    return FeatureTable(values.set_axis(facts.index), facts.astype(batches))


def _key(store: Store, arm: Arm, train: Train, harmonize: Harmonize) -> str:
    files = [file_digest(store.root / name) for name in ("splits.csv", "train/table.parquet", "train/subjects.csv")]
    return digest("train", train.version, _settings(arm), harmonize.model_dump(mode="json"), harmonize.version,
                  files, libraries(*DECIDING))  # fmt: skip


def _settings(arm: Arm) -> dict[str, Any]:
    """Everything about an arm that decides its scores; the other arms of the study are not part of it."""
    parts = (arm.imputation, arm.selection, arm.member, arm.strategy)
    described = [None if part is None else part.model_dump(mode="json") for part in parts]
    baseline = None if arm.baseline is None else asdict(arm.baseline)
    return {"name": arm.name, "modalities": arm.modalities, "seed": arm.seed, "parts": described, "baseline": baseline}


def _lost(task: ArmTask) -> Record:
    def killed(folder: Path) -> tuple[list[str], Mapping[str, Any]]:
        raise ConfigError("the worker process was killed, most likely for want of memory", hint="Use --jobs 1.")

    return recorded(Store(task.root), "train", task.arm.name, task.key, killed)
