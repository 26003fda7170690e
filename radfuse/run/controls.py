"""Negative controls on a run: every draw is a task with its own record, below ``control/``; the run's arms stay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from radfuse.data.cohort import Problem
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, DataError
from radfuse.harmonize.stage import Harmonize
from radfuse.run.executors.local import LocalExecutor
from radfuse.run.judging import Judged, arm_key, load_table, with_measurements, with_tables
from radfuse.run.progress import Listener
from radfuse.run.store import NOTHING, Record, Redo, Store, digest
from radfuse.run.tasks import killed, recorded
from radfuse.train.controls import (
    CONTROLS,
    NOT_CONTROLLED,
    PERMUTE,
    PERMUTED,
    SHUFFLE,
    VERSION,
    WITHOUT,
    Control,
    control_table,
    permuted_table,
    without,
)
from radfuse.train.permutation import whole_pipeline_auc
from radfuse.train.shared_information import CLASSES, SHARED, shared_classes, shared_information
from radfuse.train.splits import Splits
from radfuse.train.stage import Arm, Train

FOLDER = "control"
DRAWS, PERMUTATIONS = 5, 99


@dataclass(frozen=True)
class Asked:
    """Which controls to run.

    Parameters
    ----------
    controls : as typed, such as ``shuffle:PET``.
    arms : names of the arms; empty: singles and fusion levels, and for ``permute-outcome`` the declared comparison's.
    draws : of each modality's control.
    permutations : of the outcome.
    """

    controls: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    draws: int = DRAWS
    permutations: int = PERMUTATIONS

    def __post_init__(self) -> None:
        if self.arms and not self.controls:
            raise ConfigError("--arm names arms for a control, and no control is asked for", hint="Add --control.")

    def draws_of(self, control: Control) -> int:
        """How many draws a control has."""
        return self.permutations if control.kind == PERMUTE else self.draws


NOTHING_ASKED = Asked()


@dataclass(frozen=True)
class ControlTask:
    """One arm in every fold, in one draw of one control; ``trained`` is the run's arm that it belongs to."""

    control: Control
    arm: Arm
    trained: str
    draw: int
    splits: Splits
    harmonize: Harmonize
    seed: int
    root: Path
    key: str

    @property
    def stage(self) -> str:
        """The folder of the control in the run."""
        return f"{FOLDER}/{self.control.title.replace(':', '-')}"

    @property
    def item(self) -> str:
        """The folder of the draw below it."""
        return f"{self.trained}/{self.draw}"


@dataclass(frozen=True, eq=False)
class Judging:
    """What the arms were judged by: the run, its table and its settings."""

    store: Store
    table: FeatureTable
    train: Train
    harmonize: Harmonize

    def tasks(self, control: Control, arm: Arm, draws: Iterable[int]) -> list[ControlTask]:
        """Describe some draws of an arm; their keys hold the arm's, so that they stand as long as the arm does."""
        train, trained = self.train, arm.name
        if control.kind == WITHOUT:
            lesser = without(arm, control.modality, self.table)
            if lesser is None:
                return []
            arm = lesser
        own = arm_key(self.store, arm, self.train, self.harmonize)
        settings = [train.splits.deciding, train.seed]
        keys = {draw: digest(FOLDER, VERSION, control.title, draw, own, settings) for draw in draws}
        return [
            ControlTask(control, arm, trained, draw, train.splits, self.harmonize, train.seed, self.store.root, key)
            for draw, key in keys.items()
        ]


def require(of: Judging, asked: Asked) -> None:
    """Refuse controls and arms that this study does not have, before anything is trained."""
    for control in _controls(asked, of):
        _chosen(of, control, asked, of.train.arms(of.table))


def run_controls(
    of: Judging,
    judged: Judged,
    asked: Asked,
    executor: LocalExecutor,
    listener: Listener,
    *,
    redo: Redo = NOTHING,
    tell: Callable[[str], None] = lambda line: None,
) -> Judged:
    """Run what is asked for and does not stand yet, and add the tables of every control that stands.

    Parameters
    ----------
    judged : the arms of this run, just judged.
    tell : called with a line about the time before each control starts.
    """
    arms = [arm for arm in of.train.arms(of.table) if arm.name in set(judged.auc["arm"])]
    for control in _controls(asked, of):
        tasks = _tasks(of, control, asked, arms)
        due = [task for task in tasks if redo.wants(of.store.current(task.stage, task.item, task.key))]
        if due:
            tell(f"{control.title}: {len(due)} trainings, {told(seconds(of.store, due, executor.jobs))}")
        name, began = f"control {control.title}", time.perf_counter()
        listener.began(name, len(tasks), len(tasks) - len(due))
        for _, record in executor.map(perform_control, due, _lost):
            listener.advanced(name, record)
        listener.ended(name, time.perf_counter() - began)
    tables, failed = standing(of, arms, judged.auc)
    return with_tables(of.store, replace(judged, failed=(*judged.failed, *failed)), tables)


def plan_controls(of: Judging, asked: Asked, jobs: int) -> dict[str, dict[str, int]]:
    """How many trainings of each control stand and how many are due; with ``seconds`` where the arms are trained."""
    found: dict[str, dict[str, int]] = {}
    arms = of.train.arms(of.table)
    for control in _controls(asked, of):
        due = len(_chosen(of, control, asked, arms)) * asked.draws_of(control)
        counts = found[f"control {control.title}"] = {"reuse": 0, "redo": due}
        if (of.store.root / "splits.csv").is_file():
            tasks = _tasks(of, control, asked, arms)
            left = [task for task in tasks if of.store.current(task.stage, task.item, task.key) is None]
            counts |= {"reuse": len(tasks) - len(left), "redo": len(left)}
            took = seconds(of.store, left, jobs)
            counts |= {} if took is None else {"seconds": round(took)}
    return found


def seconds(store: Store, tasks: Sequence[ControlTask], jobs: int) -> float | None:
    """Estimate from what the arms took, which also made a final model; None where an arm is not trained yet."""
    records = {name: store.read("train", name) for name in {task.trained for task in tasks}}
    took = {name: record.seconds for name, record in records.items() if record is not None and record.done}
    if len(took) < len(records):
        return None
    each = [took[task.trained] for task in tasks]
    return max(sum(each) / jobs, max(each, default=0.0))


def told(took: float | None) -> str:
    """Say a time.

    Examples
    --------
    >>> told(40.2), told(200.0), told(None)
    ('about 41 s at most', 'about 3.3 min at most', 'of unknown length until the arms are trained')
    """
    if took is None:
        return "of unknown length until the arms are trained"
    return f"about {int(took) + 1} s at most" if took < 90 else f"about {took / 60:.1f} min at most"


def perform_control(task: ControlTask) -> Record:
    """Judge one arm in one draw, in a worker process."""
    store = Store(task.root)

    def work(folder: Path) -> tuple[list[str], Mapping[str, Any]]:
        table = load_table(store)
        drawn = task.control(table, task.seed, task.draw, task.splits.strata(table.subjects))
        harmonizer = task.harmonize.harmonizer.resolved(table.modalities).build()
        arm = task.control.seen_by(with_measurements(task.arm, store))
        auc = whole_pipeline_auc([arm], drawn, task.splits, harmonizer)[arm.name]
        if auc != auc:
            raise DataError("no fold holds both outcomes in this draw", hint="Lower train.splits.folds.")
        return [], {"auc": auc}

    return recorded(store, task.stage, task.item, task.key, work)


def control_metrics(tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    """Give the numbers of each control by its title, named ``<arm>/<what>``."""
    found: dict[str, dict[str, float]] = {}
    for name, shown in ((CONTROLS, ("auc_control", "gain", "gain_control")), (PERMUTED, ("null_mean", "p"))):
        for row in tables[name].to_dict("records") if name in tables else ():
            numbers = {f"{row['arm']}/{what}": float(row[what]) for what in ("auc", *shown)}
            found.setdefault(row.get("control", PERMUTE), {}).update(numbers)
    return found


def with_shared(of: Judging, judged: Judged) -> Judged:
    """Add what the modalities share; descriptive, of all rows, without the outcome."""
    tables = {SHARED: shared_information(of.table, of.train.seed), CLASSES: shared_classes(of.table, of.train.seed)}
    return with_tables(of.store, judged, {name: table for name, table in tables.items() if len(table)})


def standing(of: Judging, arms: Sequence[Arm], auc: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], list[Problem]]:
    """Gather the controls that belong to the present arms, whichever command made them; others are left out."""
    rows: list[dict[str, Any]] = []
    failed: list[Problem] = []
    for folder in sorted((of.store.root / FOLDER).glob("*")):
        control = _named(folder.name, of)
        if control is None:
            continue
        for arm in arms:
            draws = sorted(int(path.name) for path in (folder / arm.name).glob("*") if path.name.isdigit())
            for task in of.tasks(control, arm, draws):
                record = of.store.read(task.stage, task.item)
                if record is None or record.key != task.key:
                    continue
                if record.done:
                    found = {"control": control.title, "arm": arm.name, "draw": task.draw}
                    rows.append(found | {"auc": record.findings["auc"]})
                else:
                    what = f"train: {control.title}, draw {task.draw}: {record.what}"
                    failed.append(Problem(arm.name, what, record.hint, fatal=False))
    return _tables(of, pd.DataFrame(rows, columns=["control", "arm", "draw", "auc"]), auc), failed


def _tables(of: Judging, draws: pd.DataFrame, auc: pd.DataFrame) -> dict[str, pd.DataFrame]:
    tables: dict[str, pd.DataFrame] = {}
    of_outcome = draws["control"] == PERMUTE
    if not of_outcome.all():
        declared = of.train.primary.against or next(iter(of.table.single), "")
        table = control_table(draws[~of_outcome], auc, declared, of.train.declared_classifier)
        tables |= {CONTROLS: table} if len(table) else {}
    if of_outcome.any():
        tables[PERMUTED] = permuted_table(draws[of_outcome], auc)
    return tables


def _controls(asked: Asked, of: Judging) -> list[Control]:
    facts = of.train.clinical_modality
    return list(dict.fromkeys(Control.parse(text, of.table, facts) for text in asked.controls))


def _tasks(of: Judging, control: Control, asked: Asked, arms: Sequence[Arm]) -> list[ControlTask]:
    chosen, draws = _chosen(of, control, asked, arms), range(1, asked.draws_of(control) + 1)
    tasks = [task for arm in chosen for task in of.tasks(control, arm, draws)]
    if control.kind != PERMUTE:  # the bar, where several other modalities could hold a gain of their own
        tasks += [task for arm in chosen for task in of.tasks(Control(WITHOUT, control.modality), arm, [1])]
    return tasks


def _chosen(of: Judging, control: Control, asked: Asked, arms: Sequence[Arm]) -> list[Arm]:
    """The arms that a control is run on: those named, or its own choice, as far as it changes what they look at."""
    known = [arm.name for arm in arms]
    unknown = [name for name in asked.arms if name not in known]
    if unknown:
        close = get_close_matches(unknown[0], known, n=1)
        raise ConfigError(
            f"--arm {unknown[0]}: no such arm was trained" + (f"; did you mean {close[0]!r}?" if close else ""),
            hint=f"Trained: {', '.join(known)}.",
        )
    wanted = [arm for arm in arms if arm.name in asked.arms] if asked.arms else _by_default(of, control, arms)
    touched = set(control.touched(of.table))
    chosen = [arm for arm in wanted if touched & set(arm.modalities)]
    if not chosen:
        raise ConfigError(
            f"--control {control.title} changes none of the arms {', '.join(arm.name for arm in wanted) or '(none)'}",
            hint=f"Name arms with --arm; trained: {', '.join(known)}.",
        )
    return chosen


def _by_default(of: Judging, control: Control, arms: Sequence[Arm]) -> list[Arm]:
    if control.kind != PERMUTE:
        return [arm for arm in arms if arm.fusion not in NOT_CONTROLLED]
    declared = of.train.declared(next(iter(of.table.single), ""))
    return [arm for name in declared for arm in arms if arm.name == name]


def _named(folder: str, of: Judging) -> Control | None:
    """The control of a folder; None for another study's modality."""
    kind, _, modality = folder.partition("-")
    text = folder if folder == PERMUTE else f"{SHUFFLE if kind == WITHOUT else kind}:{modality}"
    try:
        found = Control.parse(text, of.table, of.train.clinical_modality)
    except ConfigError:
        return None
    return Control(WITHOUT, modality) if kind == WITHOUT else found


def _lost(task: ControlTask) -> Record:
    return killed(Store(task.root), task.stage, task.item, task.key)
