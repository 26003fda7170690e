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
from radfuse.data.names import modality_of
from radfuse.data.table import BATCH, CONTEXT, FeatureTable, feature_columns
from radfuse.errors import ConfigError, RadfuseError
from radfuse.harmonize.labels import text_of
from radfuse.run.judging import TABLES
from radfuse.run.lock import alone
from radfuse.run.measuring import feature_table, known_columns, measure
from radfuse.run.newcomers import Newcomers, learned_from, read_measured, read_newcomers
from radfuse.run.predictor import Predictor
from radfuse.run.progress import Listener
from radfuse.run.session import failure_table
from radfuse.run.store import Store, file_digest, require_csv, write, write_text
from radfuse.train.calibration import recalibrated
from radfuse.train.clinical import CLINICAL, lacks_facts
from radfuse.train.operating import OPERATING, RULES, counted, measures
from radfuse.train.stage import Arm
from radfuse.train.statistics import DeLong, pair_auc

COLUMNS = ("subject", "arm", "score", "missing", "harmonised", "seen_in_training", "error")
EXTERNAL = ("arm", "n", "events", "auc", "ci_low", "ci_high")
PROBABILITIES = ("brier", "brier_prevalence", "intercept", "slope")
DECISIONS = tuple(f"{rule}_{what}" for rule in RULES for what in ("threshold", "sensitivity", "specificity"))
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
    run: Predictor, manifest: Path, tables: Sequence[Path], names: Sequence[str], output: Path, listener: Listener
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
    require_csv(output)
    if not run.images:
        raise ConfigError(
            f"{run.place} was trained on a feature table: it does not know how its features were made from images",
            hint="Measure the new patients as its own were, and give --features.",
        )
    arms = run.arms(names)
    new = read_newcomers(run, manifest, tables, arms)
    store = Store(output.with_suffix(".radfuse"))
    with alone(store.root):
        failed = measure(run, arms, new, store, listener)
        new = replace(new, seen={**learned_from(run, new.cohort, store), **new.seen})
        table = feature_table(run, new, store, failed)
        return _scored(run, arms, new, table, failed, {"manifest": manifest}, output, listener)


def predict_measured(
    run: Predictor, features: Path, tables: Sequence[Path], names: Sequence[str], output: Path, listener: Listener
) -> Predicted:
    """Score new patients from features that were measured already, with the settings of the run.

    Parameters
    ----------
    features, tables : see `radfuse.run.newcomers.read_measured`.
    names, output : as for `predict_patients`.
    """
    require_csv(output)
    arms = run.arms(names)
    new, values = read_measured(run, features, tables, arms)
    ids = [subject for subject in new.cohort.ids if subject not in new.refused]
    rows = known_columns(run, values.loc[ids])
    table = FeatureTable(rows, new.cohort.subjects.loc[ids].set_axis(rows.index))
    return _scored(run, arms, new, table, new.refused, {"features": features}, output, listener)


def score(
    run: Predictor, arms: Sequence[Arm], new: Newcomers, table: FeatureTable, failed: Mapping[str, Problem]
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
            {"subject": subject, "arm": arm.name, "seen_in_training": new.was_seen(subject), "error": ""}
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
    absent = [m for m in looked_at(arm, model) if _is_absent(row, m, arm)]
    present = [m for m in looked_at(arm, model) if m not in absent]
    if absent and not (arm.joins and present):
        return {
            "missing": "+".join(absent),
            "error": f"{arm.name} looks at {' and '.join(absent)}, which the patient lacks"
            + ("" if arm.joins else "; fusion arms bear that"),
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


def judge_externally(run: Predictor, new: Newcomers, scores: pd.DataFrame) -> tuple[pd.DataFrame | None, list[str]]:
    """The AUC on these patients, with DeLong's interval, for those whose outcome is known and who are truly new.

    Beside it how good the scores are as probabilities, and what the thresholds of training give, where there are any.
    """
    known = [s for s in new.outcome.index if s not in new.seen]
    if not known:
        return None, ["no external AUC: every patient with an outcome was seen in training"] if len(new.outcome) else []
    rows, repeated = [], False
    points = _operating_points(run)
    for arm, part in scores[scores["subject"].isin(known)].groupby("arm", sort=False):
        part = part.dropna(subset=["score"])
        outcome = new.outcome[part["subject"]].to_numpy(dtype=int)
        value = part["score"].to_numpy(dtype=float)
        auc, low, high = pair_auc(outcome, value), float("nan"), float("nan")
        twice = len(new.group) > 0 and bool(new.group[part["subject"]].duplicated().any())
        if 2 <= outcome.sum() <= len(outcome) - 2 and not twice and 0 < auc < 1:
            low, high = DeLong.of(outcome, value).interval(run.config.train.confidence)
        repeated |= twice
        further = (*_probabilities(outcome, value), *_decisions(outcome, value, points.get(str(arm), {})))
        rows.append((arm, len(part), int(outcome.sum()), auc, low, high, *further))
    note = "no interval of the external AUC: several rows are of one patient, and DeLong's takes rows for patients"
    return pd.DataFrame(rows, columns=[*EXTERNAL, *PROBABILITIES, *DECISIONS]), [note] if repeated else []


def _probabilities(outcome: np.ndarray, score: np.ndarray) -> tuple[float, ...]:
    """Brier score, that of always saying these patients' prevalence, calibration in the large and slope."""
    if not len(outcome):
        return (float("nan"),) * len(PROBABILITIES)
    prevalence = float(outcome.mean())
    intercept, slope = recalibrated(outcome.astype(float), score)[0]
    return float(((score - outcome) ** 2).mean()), prevalence * (1 - prevalence), float(intercept), float(slope)


def _decisions(outcome: np.ndarray, score: np.ndarray, points: Mapping[str, float]) -> Iterator[float]:
    """Each rule's threshold, and the sensitivity and specificity that it has here."""
    for rule in RULES:
        threshold = points.get(rule, float("nan"))
        called = (score >= threshold).astype(float)
        found = measures(counted(outcome.astype(float), called).sum(axis=0))
        known = np.isfinite(threshold)
        yield threshold
        yield float(found["sensitivity"]) if known else float("nan")
        yield float(found["specificity"]) if known else float("nan")


def _operating_points(run: Predictor) -> Mapping[str, Mapping[str, float]]:
    """By arm and rule, the threshold of the model that was fitted on all rows, as a run or an export keeps it."""
    for folder in (run.place / "report" / TABLES, run.place):
        path = folder / f"{OPERATING}.csv"
        if path.is_file():
            table = pd.read_csv(path)
            return {str(arm): dict(zip(own["rule"], own["threshold_all"], strict=True))
                    for arm, own in table.groupby("arm")}  # fmt: skip
    return {}


def _is_absent(row: pd.DataFrame, modality: str, arm: Arm) -> bool:
    if modality == CLINICAL and arm.clinical:
        return lacks_facts(row, arm.clinical)
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


def _warnings(new: Newcomers, run: Predictor) -> Iterator[str]:
    for subject, twin in new.seen.items():
        yield f"{subject} was seen in training, as {twin}: its scores test nothing"
    yield from run.remarks


def _scored(
    run: Predictor,
    arms: Sequence[Arm],
    new: Newcomers,
    table: FeatureTable,
    failed: Mapping[str, Problem],
    given: Mapping[str, Path],
    output: Path,
    listener: Listener,
) -> Predicted:
    """Score, judge where outcomes are known, and write."""
    began = time.perf_counter()
    scores = score(run, arms, new, table, failed)
    listener.ended(STAGE, time.perf_counter() - began)
    external, notes = judge_externally(run, new, scores)
    found = Predicted(scores, external, _problems(failed, scores), (*new.notes, *_warnings(new, run), *notes))
    return _written(run, arms, found, given, output)


def _written(
    run: Predictor, arms: Sequence[Arm], found: Predicted, given: Mapping[str, Path], output: Path
) -> Predicted:
    text = found.scores.assign(score=[repr(float(s)) if np.isfinite(s) else "" for s in found.scores["score"]])
    write(output, lambda path: text.to_csv(path, index=False))
    failures, source = output.with_suffix(".failures.csv"), output.with_suffix(".json")
    write(failures, lambda path: failure_table(found.failed).to_csv(path, index=False))
    made_from = {
        "radfuse": radfuse.__version__,
        "run": str(run.place.resolve()),
        **{what: file_digest(path) for what, path in given.items()},
        "models": {arm.name: run.model_digest(arm) for arm in arms},
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
