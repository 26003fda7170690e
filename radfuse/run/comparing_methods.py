"""Judge every fusion method on one cohort, under the same folds, and say what the best of them is worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from radfuse.config import Config, External
from radfuse.data.names import fused_name
from radfuse.data.subject import Subject
from radfuse.errors import ConfigError, RadfuseError
from radfuse.fuse import FusionMethod
from radfuse.fuse.roles import FUNCTIONAL, functional_first
from radfuse.fuse.stage import Fuse
from radfuse.run import subjects
from radfuse.run.device import choose_device
from radfuse.run.judging import Judged
from radfuse.run.permuting import Permuted, permute
from radfuse.run.progress import Listener
from radfuse.run.session import Session
from radfuse.run.store import write, write_text
from radfuse.run.study import train_study
from radfuse.train.arms import Arm
from radfuse.train.fusion.chosen import ChosenImage
from radfuse.train.permutation import max_adjusted_p, reality_check
from radfuse.train.scores import Bootstrap

WEIGHTED = ("average", "dwt3d", "swt3d")
WEIGHTS = {"1to3": 1 / 3, "3to1": 3.0}  # of the functional modality, each other one weighing 1
LARGEST_SET = 3
TABLE, READING = "fusion_methods.csv", "fusion_methods.txt"


@dataclass(frozen=True, eq=False)
class Comparison:
    """What comparing the methods gave.

    Parameters
    ----------
    table : one row per fused image, best first: method, inputs, seconds (of one volume), auc, ci_low, ci_high,
        p_chance (against permuted outcomes, adjusted for all images) and auc_chance, the AUC that it is the p of, with
        as many repeats as the permutations have; gain, p_gain (against the best single modality, adjusted likewise).
    left_out : method and reason.
    reading : what may be claimed, in words.
    """

    table: pd.DataFrame
    left_out: dict[str, str]
    reading: str


def compare_methods(
    config: Config,
    study: Path,
    run: str,
    listener: Listener,
    *,
    methods: Sequence[str] = (),
    seconds: float = 60.0,
    permutations: int = 99,
    repeats: int = 1,
    tell: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Fuse by every method and set of modalities, measure, and judge each image by itself.

    Parameters
    ----------
    config : the study. Its alignment, extraction, harmonisation, folds and first classifier are used as they are.
    methods : names to compare; empty: every method radfuse knows, with weights where the method takes them. Those of
        the config go by its settings.
    seconds : a method that takes longer than this for one volume of a typical subject is left out, and named.
    permutations : of the outcome, for the p of the best.
    repeats : of the cross-validation in each permutation.
    tell : called with lines for the user.
    """
    train = config.train.model_copy(
        update={"classifiers": config.train.classifiers[:1], "fusions": (ChosenImage(),), "images": True}
    )
    fuse = config.fuse.model_copy(update={"methods": ()})
    plain = config.model_copy(update={"train": train, "fuse": fuse, "external": External()})
    with Session(plain, study, run, listener=listener) as session:
        session.everyone("comparing fusion methods")
        session.align()
        sets = compared_sets(session.cohort.modalities) if config.fuse.inputs is None else config.fuse.inputs
        chosen, took, left_out = timed(
            session, candidates(methods, session.cohort.modalities, config.fuse.methods), sets, seconds, tell
        )
    fuse = config.fuse.model_copy(update={"methods": tuple(chosen), "inputs": tuple(sets)})
    with Session(plain.model_copy(update={"fuse": fuse}), study, run, listener=listener) as session:
        session.fuse()
        session.extract()
        judged = train_study(session, "all")
        arms = [arm for arm in train.arms(session.table()) if arm.fusion == "image"]
        tell(f"{permutations} permutations of {len(arms)} arms: about {_minutes(session, arms, permutations, repeats)}")
        under = permute(
            session.store, session.table(), arms, train.splits.repeated(repeats),
            session.config.harmonize, session.executor, listener, permutations=permutations, seed=train.seed,
        )  # fmt: skip
        found = _compared(session, judged, under, took, left_out)
        folder = session.store.folder("report")
        write(folder / TABLE, lambda path: found.table.to_csv(path, index=False))
        write_text(folder / READING, found.reading + "\n")
    return found


def compared_sets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """All pairs and triples; where there is a functional modality, those that hold one.

    Examples
    --------
    >>> compared_sets(["CT", "MR", "PET"])
    [('CT', 'PET'), ('MR', 'PET'), ('CT', 'MR', 'PET')]
    """
    functional = {name for name in modalities if name.upper().split("_")[0] in FUNCTIONAL}
    groups = [group for size in range(2, LARGEST_SET + 1) for group in combinations(sorted(modalities), size)]
    return [group for group in groups if not functional or functional & set(group)]


def candidates(names: Sequence[str], modalities: Sequence[str], own: Sequence[FusionMethod] = ()) -> list[FusionMethod]:
    """Give the methods to compare, by their defaults; those with weights also with the functional modality at 1:3, 3:1.

    Weights are relative: at 3:1 it has three quarters of a pair, and three fifths of three.

    Parameters
    ----------
    own : methods with settings of their own; they join, or take the place of the default of the same title.
    """
    known = FusionMethod.members()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"unknown fusion methods: {', '.join(unknown)}", hint=f"Known: {', '.join(known)}.")
    functional = modalities[functional_first(modalities, None)[0]]
    found: list[FusionMethod] = []
    for name in names or known:
        found.append(FusionMethod.choose(name))
        for label, weight in WEIGHTS.items() if name in WEIGHTED else ():
            weights = {modality: weight if modality == functional else 1.0 for modality in modalities}
            found.append(FusionMethod.choose({"method": name, "label": label, "weights": weights}))
    chosen = [method for method in own if not names or method.method in names]
    return list({method.title: method for method in (*found, *chosen)}.values())


def timed(
    session: Session,
    methods: Sequence[FusionMethod],
    sets: Sequence[tuple[str, ...]],
    limit: float,
    tell: Callable[[str], None],
) -> tuple[list[FusionMethod], dict[str, float], dict[str, str]]:
    """Fuse one volume of a typical subject by each method; keep those within the limit, and say who was left out."""
    group = max(sets, key=len)
    device = choose_device(session.config.execution.device)
    subject = _typical(session)
    tasks = [
        TimingTask(
            Fuse(methods=(m,), inputs=(group,), normalisation=session.config.fuse.normalisation), subject, device
        )
        for m in methods
    ]
    took: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for task, found in session.executor.map(time_method, tasks, lambda task: "its worker process was killed"):
        title = task.stage.methods[0].title
        if isinstance(found, str):
            left_out[title] = found
            continue
        took[title] = found
        tell(f"{title}: {found:.2f} s for one volume")
        if found > limit:
            left_out[title] = f"{found:.0f} s for one volume, above the limit of {limit:g} s"
    return [method for method in methods if method.title not in left_out], took, left_out


@dataclass(frozen=True)
class TimingTask:
    """One method on one subject, in a worker process like those that fuse."""

    stage: Fuse
    subject: Subject
    device: str


def time_method(task: TimingTask) -> float | str:
    """Give the seconds of fusing one volume, or what went wrong."""
    began = time.perf_counter()
    try:
        task.stage(task.subject, task.device)
    except RadfuseError as error:
        return error.message
    return time.perf_counter() - began


def _minutes(session: Session, arms: Sequence[Arm], permutations: int, repeats: int) -> str:
    """Estimate from what the arms took; a permutation does the same with fewer repeats and no report."""
    took = sum(record.seconds for arm in arms if (record := session.store.read("train", arm.name)) is not None)
    splits = session.config.train.splits
    share = splits.repeated(repeats).rounds / splits.rounds
    return f"{took * share * permutations / session.executor.jobs / 60:.0f} min at most"


def _typical(session: Session) -> Subject:
    found = [
        subjects.load_aligned(session.store, subject)
        for subject in session.ids
        if session.ledger.done(session.config.align, subject) is not None
    ]
    if not found:
        raise ConfigError("no subject could be aligned", hint="See report/failures.csv for each reason.")
    return sorted(found, key=lambda subject: next(iter(subject.volumes.values())).array.size)[len(found) // 2]


def _compared(
    session: Session, judged: Judged, under: Permuted, took: dict[str, float], left_out: dict[str, str]
) -> Comparison:
    auc = judged.auc.set_index("arm")
    images = [arm for arm in auc.index[auc["fusion"] == "image"] if arm in under.observed]
    single = str(auc[auc["fusion"] == "single"]["auc"].idxmax())
    train = session.config.train
    bootstrap = Bootstrap(judged.predictions, train.bootstrap, train.confidence, train.seed)
    gains = reality_check(judged.predictions, images, single, bootstrap)
    chance = max_adjusted_p(under.observed, under.null)
    made = {
        fused_name(method.title, group): (method.title, "+".join(sorted(group)))
        for method in session.config.fuse.methods
        for group in session.config.fuse.inputs or ()
    }
    rows: list[dict[str, Any]] = []
    for arm in images:
        method, inputs = made[auc.loc[arm, "modalities"]]
        rows.append(
            {
                "method": method, "inputs": inputs, "seconds": round(took[method], 3),
                **auc.loc[arm, ["auc", "ci_low", "ci_high"]],
                "p_chance": chance[arm], "auc_chance": under.observed[arm],
                "gain": gains.loc[arm, "difference"], "p_gain": gains.loc[arm, "p_best"],
            }
        )  # fmt: skip
    table = pd.DataFrame(rows).sort_values("auc", ascending=False, ignore_index=True)
    return Comparison(table, left_out, reading(table, auc, single, len(under.null)))


def reading(table: pd.DataFrame, auc: pd.DataFrame, single: str, permutations: int) -> str:
    """Say what the table allows one to claim.

    Parameters
    ----------
    table : as in `Comparison`.
    auc : the run's AUC table, indexed by arm.
    single : the arm of the best single modality.
    permutations : how many.
    """
    best, count, against = table.iloc[0], len(table), float(auc["auc"][single])
    name = f"{best['method']} of {best['inputs']}"
    chance = "more than" if best["p_chance"] <= 0.05 else "no more than"
    gain = (
        "a gain that survives having looked at all of them"
        if best["p_gain"] <= 0.05
        else "no gain may be claimed once all of them were looked at"
    )
    lines = [
        f"Best of {count} images: {name}, AUC {best['auc']:.2f} ({best['ci_low']:.2f} to {best['ci_high']:.2f}).",
        f"Under {permutations} permuted outcomes the best of {count} reaches the {best['auc_chance']:.2f} that it has "
        f"on the permutations' folds with p = {best['p_chance']:.2f}: {chance} the luck of the draw.",
        f"Against {single} ({against:.2f}) it gains {best['gain']:+.2f}, p = {best['p_gain']:.2f} for "
        f"the best of {count}: {gain}.",
    ]
    for row in auc[auc["fusion"] == "chosen"].reset_index().to_dict("records"):
        lines.append(
            f"Choosing the image inside each training part ({row['arm']!s}) earns {row['auc']:.2f} "
            f"({row['ci_low']:.2f} to {row['ci_high']:.2f}): what a new patient may expect of that search."
        )
    for row in auc[auc["fusion"] == "baseline"].reset_index().to_dict("records"):
        if row["auc"] >= best["auc"]:
            lines.append(f"{row['arm']}, without any texture, reaches {row['auc']:.2f}.")
    return "\n".join(lines)
