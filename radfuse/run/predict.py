"""Predict new patients with the models of a finished run: aligned, fused and measured as its own patients were."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import radfuse
from radfuse.data.cohort import Problem
from radfuse.data.names import modality_of, region_of
from radfuse.data.table import BATCH, CONTEXT, FeatureTable, feature_columns
from radfuse.errors import ConfigError, DataError, RadfuseError
from radfuse.harmonize.labels import text_of
from radfuse.run import subjects
from radfuse.run.device import choose_device
from radfuse.run.executors.local import LocalExecutor
from radfuse.run.fitted import AGAIN, FittedRun
from radfuse.run.ledger import Ledger
from radfuse.run.lock import alone
from radfuse.run.newcomers import Newcomers, learned_from, read_newcomers
from radfuse.run.progress import Listener
from radfuse.run.session import failure_table
from radfuse.run.store import Store, file_digest, write, write_text
from radfuse.run.tasks import SubjectTask, lost, perform
from radfuse.train.stage import Arm
from radfuse.train.statistics import DeLong, pair_auc

COLUMNS = ("subject", "arm", "score", "missing", "harmonised", "seen_in_training", "error")
EXTERNAL = ("arm", "n", "events", "auc", "ci_low", "ci_high")
STAGE = "predict"


@dataclass(frozen=True, eq=False)
class Predicted:
    """What became of the new patients.

    Parameters
    ----------
    scores : one row per subject and arm, with the columns of ``COLUMNS``; a score that could not be given is NaN, and
        ``error`` says why. ``missing`` names the modalities that the arm had to do without; ``harmonised`` is ``yes``,
        ``no`` (the arm has no harmoniser for what it looks at) or says what was left raw, and why.
    external : one row per arm: the AUC on these patients, where their outcomes are known; None elsewhere.
    failed : who could not be scored, and by which arm.
    notes : sentences that the user should read.
    places : where things were written.
    """

    scores: pd.DataFrame
    external: pd.DataFrame | None = None
    failed: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)


def predict_patients(
    run: FittedRun, manifest: Path, tables: Sequence[Path], names: Sequence[str], output: Path, listener: Listener
) -> Predicted:
    """Score new patients from their images, and write what was found beside ``output``.

    Aligned images and features are kept in ``<name>.radfuse/``, so that an interrupted command goes on where it was.

    Parameters
    ----------
    run : whose settings and models are used; its folder is only read.
    manifest, tables : as those of a study; the outcome is not needed.
    names : of arms; empty is the primary one, ``all`` is every one.
    output : the CSV to write.
    """
    if output.suffix != ".csv":
        raise ConfigError(f"-o {output}: expected a name that ends in .csv")
    arms = run.arms(names)
    new = read_newcomers(run, manifest, tables, arms)
    store = Store(output.with_suffix(".radfuse"))
    with alone(store.root):
        failed = measure(run, new, store, listener)
        new = replace(new, seen={**learned_from(run, new.cohort, store), **new.seen})
        table = feature_table(run, new, store, failed)
        began = time.perf_counter()
        scores = score(run, arms, new, table, failed)
        listener.ended(STAGE, time.perf_counter() - began)
        external, notes = judge_externally(run, new, scores)
        found = Predicted(scores, external, _problems(failed, scores), (*new.notes, *_warnings(new, run), *notes))
        return _written(run, arms, found, manifest, output)


def measure(run: FittedRun, new: Newcomers, store: Store, listener: Listener) -> dict[str, Problem]:
    """Take the patients through the stored stages; give, by subject, why somebody has no features."""
    ledger = Ledger(store, run.config, new.cohort)
    failed = dict(new.refused)
    device = choose_device(run.config.execution.device)
    with LocalExecutor(run.config.execution.jobs) as executor:
        for stage in run.stages:
            began = time.perf_counter()
            tasks = []
            ready = [subject for subject in new.cohort.ids if subject not in failed]
            for subject in ready:
                scans = tuple(new.cohort.scans_of(subject)) if stage.name == "align" else ()
                where = device if stage.name == "fuse" else "cpu"
                key = ledger.key(stage, subject)
                tasks.append(SubjectTask(stage, subject, scans, store.root, key, where, run.fuses))
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


def feature_table(run: FittedRun, new: Newcomers, store: Store, failed: Mapping[str, Problem]) -> FeatureTable:
    """Stack the rows of those who were measured, under the columns that the models know.

    Raises
    ------
    DataError : a column that the models know is in no row, although its modality was measured.
    """
    ids = [subject for subject in new.cohort.ids if subject not in failed]
    columns = run.table.values.columns
    rows = [subjects.load_row(store.folder("extract", subject), subject) for subject in ids]
    values = subjects.feature_values(rows)
    measured = {modality_of(column) for column in values.columns}
    lacking = [c for c in columns if c not in values.columns and modality_of(c) in measured]
    if lacking:
        region = region_of(lacking[0])
        raise DataError(
            f"the new patients lack {len(lacking)} of the {len(columns)} columns that the models were fitted on, first "
            f"{lacking[0]!r}",
            hint=f"Draw the region {region!r} in the manifest, as in the study's." if region else AGAIN,
        )
    return FeatureTable(values.reindex(columns=columns), new.cohort.subjects.loc[ids].set_axis(values.index))


def score(
    run: FittedRun, arms: Sequence[Arm], new: Newcomers, table: FeatureTable, failed: Mapping[str, Problem]
) -> pd.DataFrame:
    """Score every subject by every arm; one row each, in the manifest's order, also of those without a score.

    Each subject is scored alone, so that a score does not depend on who else is in the manifest.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rows = table.rows()
    found: dict[tuple[str, str], dict[str, Any]] = {}
    known = {m: set(labels) for m in table.modalities if (labels := run.table.batch_of(m)) is not None}
    with threadpool_limits(1):
        for arm in arms:
            # A study of many images has a hundred thousand columns, and every step would walk over all of them.
            model, own = run.model(arm), rows[arm.visible(list(rows.columns))]
            for subject in own.index:
                found[str(subject), arm.name] = score_row(arm, model, own.loc[[subject]], known)
    nothing = {"score": float("nan"), "missing": "", "harmonised": ""}
    return pd.DataFrame(
        [
            {"subject": subject, "arm": arm.name, "seen_in_training": subject in new.seen, "error": ""}
            | nothing
            | found.get((subject, arm.name), {"error": failed[subject].what if subject in failed else ""})
            for subject in new.cohort.ids
            for arm in arms
        ],
        columns=list(COLUMNS),
    )


def score_row(arm: Arm, model: Any, row: pd.DataFrame, known: Mapping[str, set[str]]) -> dict[str, Any]:
    """Score one subject by one arm: a score and its flags, or the error that says why there is none.

    Parameters
    ----------
    model : the arm's fitted pipeline.
    row : one row of `FeatureTable.rows`.
    known : by modality, the batch labels of the training rows.
    """
    absent = [m for m in looked_at(arm, model) if _is_absent(row, m)]
    present = [m for m in looked_at(arm, model) if m not in absent]
    if absent and not (arm.joins and present):
        return {
            "missing": "+".join(absent),
            "error": f"{arm.name} looks at {' and '.join(absent)}, which the patient lacks; fusion arms bear that",
        }
    try:
        value = float(np.asarray(model.predict_proba(row), dtype=float)[0, 1])
        harmonised = _harmonised(model, row, present, known)
    except RadfuseError as error:
        return {"missing": "+".join(absent), "error": error.message}
    if not np.isfinite(value):
        return {"missing": "+".join(absent), "error": f"{arm.name} gave {value}: extreme feature values?"}
    return {"score": value, "missing": "+".join(absent), "harmonised": harmonised}


def looked_at(arm: Arm, model: Any) -> list[str]:
    """The modalities whose features an arm's model looks at."""
    from radfuse.train.steps.chosen import Chosen

    if arm.baseline is not None:
        return list(dict.fromkeys(modality_of(c) for c in arm.baseline.columns if not c.startswith(CONTEXT)))
    last = model.named_steps["classify"]
    return [last.chosen_] if isinstance(last, Chosen) else list(arm.modalities)


def judge_externally(run: FittedRun, new: Newcomers, scores: pd.DataFrame) -> tuple[pd.DataFrame | None, list[str]]:
    """The AUC on these patients, with DeLong's interval, for those whose outcome is known and who are truly new."""
    known = [s for s in new.outcome.index if s not in new.seen]
    if not known:
        return None, ["no external AUC: every patient with an outcome was seen in training"] if len(new.outcome) else []
    rows, repeated = [], False
    for arm, part in scores[scores["subject"].isin(known)].groupby("arm", sort=False):
        part = part.dropna(subset=["score"])
        outcome = new.outcome[part["subject"]].to_numpy(dtype=int)
        value = part["score"].to_numpy(dtype=float)
        auc, low, high = pair_auc(outcome, value), float("nan"), float("nan")
        twice = len(new.group) > 0 and bool(new.group[part["subject"]].duplicated().any())
        if 2 <= outcome.sum() <= len(outcome) - 2 and not twice and 0 < auc < 1:
            low, high = DeLong.of(outcome, value).interval(run.config.train.confidence)
        repeated |= twice
        rows.append((arm, len(part), int(outcome.sum()), auc, low, high))
    note = "no interval of the external AUC: several rows are of one patient, and DeLong's takes rows for patients"
    return pd.DataFrame(rows, columns=list(EXTERNAL)), [note] if repeated else []


def _is_absent(row: pd.DataFrame, modality: str) -> bool:
    return bool(row[[c for c in feature_columns(row) if modality_of(c) == modality]].isna().all(axis=None))


def _harmonised(model: Any, row: pd.DataFrame, present: Sequence[str], known: Mapping[str, set[str]]) -> str:
    """What the harmoniser did to the modalities that the patient has."""
    if "harmonize" not in model.named_steps:
        return "no"
    flags = model.named_steps["harmonize"].flagged(model[: list(model.named_steps).index("harmonize")].transform(row))
    own = [modality for modality in present if modality in flags.columns]
    if not own:
        return "no"
    raw, told = [], []
    for modality in own:
        label = text_of(row[f"{CONTEXT}{BATCH}{modality}"].iloc[0])
        seen = {text_of(each) for each in known.get(modality, ())}
        why = "no batch given" if not label else "" if label in seen else f"unseen batch {label}"
        if flags[modality].iloc[0]:
            raw.append(f"{modality} ({why or f'batch {label} was left raw in training'})")
        elif why:
            told.append(f"{modality} by policy ({why})")
    told += [
        f"{c.removeprefix(CONTEXT)} filled in" for c in flags.columns if c.startswith(CONTEXT) and flags[c].iloc[0]
    ]
    return "; ".join([f"raw: {', '.join(raw)}" if raw else "yes", *told])


def _problems(failed: Mapping[str, Problem], scores: pd.DataFrame) -> tuple[Problem, ...]:
    """One line for each patient without features, and one for each arm that could not score a patient."""
    found = list(failed.values())
    for row in scores[(scores["error"] != "") & ~scores["subject"].isin(failed)].to_dict("records"):
        found.append(Problem(row["subject"], f"{STAGE}: {row['error']}", fatal=False))
    return tuple(found)


def _warnings(new: Newcomers, run: FittedRun) -> Iterator[str]:
    for subject, twin in new.seen.items():
        yield f"{subject} was seen in training, as {twin}: its scores test nothing"
    if run.cohort is None or not all(scan.image.is_file() for scan in run.cohort.scans):
        yield "images of the study are elsewhere: its patients are recognised only where all their scans are the same"


def _written(run: FittedRun, arms: Sequence[Arm], found: Predicted, manifest: Path, output: Path) -> Predicted:
    text = found.scores.assign(score=[repr(float(s)) if np.isfinite(s) else "" for s in found.scores["score"]])
    write(output, lambda path: text.to_csv(path, index=False))
    failures, source = output.with_suffix(".failures.csv"), output.with_suffix(".json")
    write(failures, lambda path: failure_table(found.failed).to_csv(path, index=False))
    made_from = {
        "radfuse": radfuse.__version__,
        "run": str(run.store.root.resolve()),
        "manifest": file_digest(manifest),
        "models": {arm.name: file_digest(run.model_file(arm)) for arm in arms},
    }
    write_text(source, json.dumps(made_from, indent=1) + "\n")
    places = {"scores": str(output), "made from": str(source)}
    path = output.with_suffix(".external.csv")
    path.unlink(missing_ok=True)
    if found.external is not None:
        table = found.external
        write(path, lambda temporary: table.to_csv(temporary, index=False))
        places["external"] = str(path)
    return Predicted(found.scores, found.external, found.failed, found.notes, places)
