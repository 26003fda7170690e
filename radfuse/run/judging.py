"""Judge a feature table: the splits, every arm in its own task, the AUC table and the primary contrast."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from radfuse.data.cohort import Problem
from radfuse.data.predictions import Predictions
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, DataError, StageError
from radfuse.harmonize.stage import Harmonize
from radfuse.run.executors.local import LocalExecutor
from radfuse.run.left_out import refuse_unsaid
from radfuse.run.logs import RunLog
from radfuse.run.models import save_model
from radfuse.run.progress import Listener
from radfuse.run.store import NOTHING, Record, Redo, Store, digest, file_digest, libraries, write, write_text
from radfuse.run.tasks import killed, recorded
from radfuse.train.stage import Arm, Train

DECIDING = ("scikit-learn", "xgboost", "torch", "scipy", "numpy", "pandas")
PERTURBED = Path("stability", "features.parquet")
PREDICTIONS, FOLDS, MODEL, REPORTS = "predictions.parquet", "folds.csv", "model.skops", "folds.json"
EVIDENCE, TABLES = "evidence", "tables"
JUDGED = "judged.json"
ALONE = ("single", "image")


@dataclass(frozen=True, eq=False)
class Judged:
    """What training found.

    Parameters
    ----------
    auc : one row per arm.
    contrast : the primary comparison, or None when one of its arms was not run.
    predictions : out-of-fold scores.
    failed : the arms that could not be trained, and why.
    tables : what else the scores say, by name; see `Train.tables`.
    trained : how many arms were trained now; the others still stood.
    places : what to open, by name.
    """

    auc: pd.DataFrame
    contrast: Mapping[str, Any] | None
    predictions: Predictions
    failed: tuple[Problem, ...] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    trained: int = 0
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The primary comparison in words."""
        return str(self.contrast.get("verdict", "")) if self.contrast else ""

    def summary(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        records = json.loads(self.auc.to_json(orient="records", double_precision=15))
        shown = {name: self.tables[name] for name in ("controls", "permuted") if name in self.tables}
        beside = {name: json.loads(table.to_json(orient="records")) for name, table in shown.items()}
        return {"auc": records, "contrast": dict(self.contrast) if self.contrast else None, **beside, **self.places}


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
    fusion: str = "all",
    redo: Redo = NOTHING,
) -> Judged:
    """Run the arms that do not stand yet, and score every arm of the study that stands on the same splits.

    Parameters
    ----------
    fusion : the fusion level to train beside the single, image and baseline arms, or ``all``.
    """
    chosen_fusions(train, fusion)  # refused before anything is written
    drawn = train.splits(table)
    refuse_unsaid(harmonize.harmonizer, table, drawn)
    write(store.root / "splits.csv", lambda path: drawn.to_csv(path, index=False))
    write(store.root / "train" / "table.parquet", lambda path: table.values.to_parquet(path))
    write(store.root / "train" / "subjects.parquet", lambda path: table.subjects.to_parquet(path))
    arms = chosen_arms(train, table, fusion)
    tasks = []
    for arm in arms:
        key = arm_key(store, arm, train, harmonize)
        if redo.wants(store.current("train", arm.name, key)):
            tasks.append(ArmTask(arm, train, harmonize, store.root, key))
    listener.began("train", len(arms), len(arms) - len(tasks))
    log.wrote("began", stage="train", redo=[task.arm.name for task in tasks])
    for task, record in executor.map(perform_arm, tasks, _lost):
        log.wrote(record.status, stage="train", arm=task.arm.name, seconds=record.seconds, what=record.what)
        listener.advanced("train", record)
    return replace(score(store, table, train, harmonize), trained=len(tasks))


def chosen_fusions(train: Train, fusion: str) -> Train:
    """Keep the fusion level asked for; ``all`` keeps the config's."""
    if fusion == "all":
        return train
    kept = tuple(member for member in train.fusions if fusion in (member.title, member.method))
    if not kept:
        known = ", ".join([member.title for member in train.fusions] + ["all"])
        raise ConfigError(f"--fusion {fusion}: not among the study's fusion levels", hint=f"Known: {known}.")
    return train.model_copy(update={"fusions": kept})


def chosen_arms(train: Train, table: FeatureTable, fusion: str) -> list[Arm]:
    """The study's arms without those of other fusion levels; each as the whole study has it, so that its key stands."""
    kept = {member.title for member in chosen_fusions(train, fusion).fusions}
    arms = train.arms(table)
    return [arm for arm in arms if arm.strategy is None or arm.fusion in ALONE or arm.strategy.title in kept]


def plan_arms(store: Store, table: FeatureTable, train: Train, harmonize: Harmonize, fusion: str) -> dict[str, int]:
    """How many arms still stand and how many would be trained."""
    arms = chosen_arms(train, table, fusion)
    standing = 0
    if (store.root / "splits.csv").is_file():
        standing = sum(store.current("train", a.name, arm_key(store, a, train, harmonize)) is not None for a in arms)
    return {"reuse": standing, "redo": len(arms) - standing}


def score(store: Store, table: FeatureTable, train: Train, harmonize: Harmonize) -> Judged:
    """Score every arm of this run that stands, whichever command trained it."""
    frames: list[pd.DataFrame] = []
    failed: list[Problem] = []
    for arm in train.arms(table):
        record = store.read("train", arm.name)
        if record is None or record.key != arm_key(store, arm, train, harmonize):
            continue
        if record.done:
            frames.append(pd.read_parquet(store.folder("train", arm.name) / PREDICTIONS))
        else:
            failed.append(Problem(arm.name, f"train: {record.what}", record.hint, fatal=False))
    if not frames:
        reasons = "; ".join(f"{problem.subject}: {problem.what}" for problem in failed)
        raise DataError(f"no arm could be trained: {reasons}" if failed else "no arm was trained")
    predictions = Predictions(pd.concat(frames, ignore_index=True))
    auc, contrast = train.score(predictions), train.contrast(predictions)
    tables = train.tables(predictions, _evidence(store, predictions.arms))  # all is known before anything is written
    (store.root / "report" / JUDGED).unlink(missing_ok=True)  # an interruption from here on leaves nothing to believe
    write(store.root / "report" / "auc.csv", lambda path: auc.to_csv(path, index=False))
    write(store.root / "report" / "predictions.parquet", lambda path: predictions.rows.to_parquet(path, index=False))
    text = json.dumps(contrast, indent=1, sort_keys=True) + "\n"
    write_text(store.root / "report" / "contrast.json", text)
    folder = store.root / "report" / TABLES
    shutil.rmtree(folder, ignore_errors=True)  # those of an earlier judgement, with other arms
    for name, table_ in tables.items():
        write(folder / f"{name}.csv", partial(table_.to_csv, index=False))
    return Judged(auc, contrast, predictions, tuple(failed), tables)


def with_tables(store: Store, judged: Judged, tables: Mapping[str, pd.DataFrame]) -> Judged:
    """Put further tables beside those of the judgement, as report/tables/<name>.csv."""
    for name, table in tables.items():
        write(store.root / "report" / TABLES / f"{name}.csv", partial(table.to_csv, index=False))
    return replace(judged, tables={**judged.tables, **tables})


def read_tables(store: Store) -> dict[str, pd.DataFrame]:
    """The tables of the last judgement, by name."""
    paths = sorted((store.root / "report" / TABLES).glob("*.csv"))
    # A site 01 is not 1, and NA is a continent; what is absent was written as nothing.
    text = dict.fromkeys(("subject", "site"), str)
    return {path.stem: pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""]) for path in paths}


def _evidence(store: Store, arms: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Stack what the arms left beside their predictions."""
    found: dict[str, list[pd.DataFrame]] = {}
    for arm in arms:
        for path in sorted((store.folder("train", arm) / EVIDENCE).glob("*.parquet")):
            found.setdefault(path.stem, []).append(pd.read_parquet(path))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}


def perform_arm(task: ArmTask) -> Record:
    """Fit and score one arm in every fold, in a worker process."""
    store = Store(task.root)

    def work(folder: Path) -> tuple[list[str], Mapping[str, Any]]:
        table = load_table(store)
        splits = pd.read_csv(store.root / "splits.csv", dtype={"subject": str, "site": str}, keep_default_na=False)
        arm = with_measurements(task.arm, store)
        result = task.train.run_arm(arm, table, splits, task.harmonize.harmonizer.resolved(table.modalities).build())
        write(folder / PREDICTIONS, lambda path: result.predictions.rows.to_parquet(path, index=False))
        write(folder / FOLDS, lambda path: result.folds.to_csv(path, index=False))
        write(folder / MODEL, lambda path: save_model(result.model, path))
        write_text(folder / REPORTS, json.dumps(result.fold_reports, indent=1, sort_keys=True) + "\n")
        files = [PREDICTIONS, FOLDS, MODEL, REPORTS]
        shutil.rmtree(folder / EVIDENCE, ignore_errors=True)  # of an earlier model, which may have found more
        for name, rows in result.evidence.items():
            file = f"{EVIDENCE}/{name}.parquet"
            write(folder / file, partial(rows.to_parquet, index=False))
            files.append(file)
        return files, {"modalities": list(task.arm.modalities)}

    return recorded(store, "train", task.arm.name, task.key, work)


def load_table(store: Store) -> FeatureTable:
    """The table that the arms are trained on."""
    values = pd.read_parquet(store.root / "train" / "table.parquet")
    return FeatureTable(values, pd.read_parquet(store.root / "train" / "subjects.parquet"))


def arm_key(store: Store, arm: Arm, train: Train, harmonize: Harmonize) -> str:
    """Hash everything that decides an arm's scores."""
    files = [file_digest(store.root / name) for name in ("splits.csv", "train/table.parquet", "train/subjects.parquet")]
    files += measurements_digest(arm, store)
    return digest("train", train.version, arm_settings(arm), harmonize.model_dump(mode="json"), harmonize.version,
                  files, libraries(*DECIDING))  # fmt: skip


def arm_settings(arm: Arm) -> dict[str, Any]:
    """Everything about an arm that decides its scores; the other arms of the study are not part of it."""
    parts = (arm.imputation, arm.selection, arm.member, arm.strategy)
    described = [None if part is None else part.model_dump(mode="json") for part in parts]
    baseline = None if arm.baseline is None else asdict(arm.baseline)
    stability = {} if arm.stability is None else {"stability": arm.stability.model_dump(mode="json")}
    explain = {} if arm.explain is None else {"permutations": arm.explain.permutations}
    operating = {} if arm.operating is None else {"inner_folds": arm.operating.inner_folds}  # the rest reads its scores
    return {"name": arm.name, "modalities": arm.modalities, "seed": arm.seed, "parts": described, "baseline": baseline,
            **stability, **({"clinical": arm.clinical} if arm.clinical else {}), **operating, **explain}  # fmt: skip


def with_measurements(arm: Arm, store: Store) -> Arm:
    """Give an arm that leaves out unstable features the measurements that it judges them by."""
    if arm.stability is None:
        return arm
    return replace(arm, perturbed=pd.read_parquet(_measurements(store)))


def measurements_digest(arm: Arm, store: Store) -> list[str]:
    """Hash the measurements that decide an arm's features; empty where none do."""
    return [] if arm.stability is None else [file_digest(_measurements(store))]


def _measurements(store: Store) -> Path:
    path = store.root / PERTURBED
    if not path.is_file():
        raise StageError(
            f"train.stability needs {path}, which does not exist",
            hint="Run `radfuse stability` in a study first, or set train.stability: null.",
        )
    return path


def _lost(task: ArmTask) -> Record:
    return killed(Store(task.root), "train", task.arm.name, task.key)
