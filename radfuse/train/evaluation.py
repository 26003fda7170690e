"""Run one arm through the folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from radfuse.data.predictions import COLUMNS, Predictions
from radfuse.data.table import BATCH, CONTEXT, GROUP, FeatureTable
from radfuse.errors import DataError, RadfuseError
from radfuse.train.arms import Arm
from radfuse.train.explanation import IMPORTANCE, WEIGHTS, decision_weights, explained
from radfuse.train.operating import INNER, INNER_ALL, inner_scores
from radfuse.train.selection_stability import CHOSEN, chosen_rows
from radfuse.train.sites import SITES, site_evidence
from radfuse.train.splits import SITE, check_splits
from radfuse.train.statistics import pair_auc
from radfuse.train.tuning import TUNING, tuning_rows
from radfuse.train.withheld import WITHHELD, withheld_sets, without


@dataclass(frozen=True, eq=False)
class ArmResult:
    """What one arm gave.

    Parameters
    ----------
    arm : the arm.
    predictions : out-of-fold scores; beside the usual columns ``group`` and ``batch`` (the labels of the arm's
        modalities, joined by ``+``; empty where none is declared).
    folds : one row per repeat and fold: repeat, fold, auc (NaN where the fold has one outcome only).
    model : the pipeline fitted on all rows, for `radfuse predict`.
    fold_reports : per fold, plain JSON values: counts, what was left out, which features were chosen.
    evidence : what else was found fold by fold, a table by name, from which `Train.tables` makes those of the report.
        ``withheld``: out-of-fold scores of the same models with modalities taken out of the validation rows, a column
        ``withheld`` naming them; absent for arms that join none. ``sites``: the site of each fold, where sites are left
        out. ``chosen``: which features were selected; absent for baselines. ``tuning``: which settings were chosen;
        absent for arms that choose none.
        ``inner``: inner out-of-fold scores of each fold's training rows, ``inner_all`` those of all rows, from which
        thresholds are chosen; absent for arms without operating points.
    """

    arm: Arm
    predictions: Predictions
    folds: pd.DataFrame
    model: Any
    fold_reports: list[dict[str, Any]] = field(default_factory=list)
    evidence: Mapping[str, pd.DataFrame] = field(default_factory=dict)


@runtime_checkable
class Explains(Protocol):
    """A fitted harmoniser that says what it did, as those of `radfuse harmonize` do."""

    report_: dict[str, Any]

    def flagged(self, X: pd.DataFrame) -> pd.DataFrame:
        """Per row, a true value for everything out of the ordinary."""


def fit_fold(arm: Arm, table: FeatureTable, splits: pd.DataFrame, repeat: int, fold: int, harmonizer: Any) -> Any:
    """Fit the arm's pipeline on the training rows of one fold, and on nothing else."""
    training, _ = _sides(table.rows(), splits, repeat, fold)
    return _fit(arm, training, table.outcome.loc[training.index], harmonizer)


def run_arm(arm: Arm, table: FeatureTable, splits: pd.DataFrame, harmonizer: Any) -> ArmResult:
    """Predict every subject in every repeat by a pipeline that never saw it, then fit on all rows.

    Parameters
    ----------
    splits : columns subject, repeat, fold, as `Splits` gives them for this table.
    harmonizer : an unfitted scikit-learn transformer of the rows; a fresh copy is fitted in each fold.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    check_splits(table, splits)
    rows, outcome = table.rows(), table.outcome
    _check_rows(table)
    batches = _batches(arm, rows)
    # A study of many images has a hundred thousand columns, and every step would walk over all of them.
    rows = rows[arm.visible(list(rows.columns))]
    beside = pd.DataFrame({"group": table.group, "batch": batches}, index=rows.index)
    parts, folds, reports, poorer = [], [], [], []
    inner: list[pd.DataFrame] = []
    leaned: list[pd.DataFrame] = []
    weights: list[dict[str, Any]] = []
    sets = withheld_sets(arm.modalities) if arm.joins else []
    with threadpool_limits(1):
        for repeat, fold in sorted(set(zip(splits["repeat"], splits["fold"], strict=True))):
            training, validation = _sides(rows, splits, repeat, fold)
            try:
                model = _fit(arm, training, outcome.loc[training.index], harmonizer)
                score = _score(model, validation)
                less = poorer_scores(model, validation, sets)
            except RadfuseError as error:
                error.add_note(f"while training {arm.name} for fold {fold} of repeat {repeat}")
                raise
            truth = outcome.loc[validation.index].to_numpy()
            part = pd.DataFrame({"subject": validation.index, "repeat": repeat, "fold": fold})
            part = part.assign(outcome=truth, **beside.loc[validation.index].reset_index(drop=True))
            parts.append(part.assign(score=score))
            poorer += [part.assign(score=lower, withheld=gone) for gone, lower in less.items()]
            folds.append({"repeat": repeat, "fold": fold, "auc": pair_auc(truth, score)})
            reports.append(_report(model, repeat, fold, training, validation, outcome))
            inner += _inner(arm, training, table, harmonizer, repeat, fold)
            leaned += _explained_fold(arm, model, validation, truth, repeat, fold)
            weights += [{"modality": m, "weight": w} for m, w in decision_weights(model[-1]).items()]
        final = _fit(arm, rows, outcome, harmonizer)
        everyone = _inner(arm, rows, table, harmonizer)
    scores = pd.concat(parts, ignore_index=True).assign(
        arm=arm.name, fusion=arm.fusion, modalities="+".join(arm.modalities), classifier=arm.classifier
    )
    evidence = {WITHHELD: pd.concat(poorer, ignore_index=True).assign(arm=arm.name)} if poorer else {}
    if inner:
        evidence |= {INNER: pd.concat(inner, ignore_index=True), INNER_ALL: pd.concat(everyone, ignore_index=True)}
    evidence |= found_out(arm, final, reports)
    if leaned:
        evidence[IMPORTANCE] = pd.concat(leaned, ignore_index=True).assign(arm=arm.name)
    if weights and arm.joins:
        evidence[WEIGHTS] = pd.DataFrame(weights).assign(arm=arm.name)
    if SITE in splits:
        evidence[SITES] = site_evidence(arm.name, splits, reports)
    found = Predictions(scores[[*COLUMNS, GROUP, "batch"]])
    return ArmResult(arm, found, pd.DataFrame(folds), final, reports, evidence)


def out_of_fold(
    arm: Arm, rows: pd.DataFrame, outcome: pd.Series, splits: pd.DataFrame, harmonizer: Any
) -> pd.DataFrame:
    """Predict every subject in every repeat by a pipeline that never saw it, and keep the scores alone.

    Parameters
    ----------
    rows, outcome : of the table, row for row.
    splits, harmonizer : as for `run_arm`.

    Returns
    -------
    Columns subject, repeat, fold, outcome, score: what `run_arm` gives, without its reports and its final model.
    """
    rows = rows[arm.visible(list(rows.columns))]
    parts = []
    for repeat, fold in sorted(set(zip(splits["repeat"], splits["fold"], strict=True))):
        training, validation = _sides(rows, splits, repeat, fold)
        score = _score(_fit(arm, training, outcome.loc[training.index], harmonizer), validation)
        part = pd.DataFrame({"subject": validation.index, "repeat": repeat, "fold": fold})
        parts.append(part.assign(outcome=outcome.loc[validation.index].to_numpy(), score=score))
    return pd.concat(parts, ignore_index=True)


def poorer_scores(model: Any, rows: pd.DataFrame, sets: Sequence[tuple[str, ...]]) -> dict[str, np.ndarray]:
    """Score the rows once for each set of modalities taken out of them, by the set's name, such as ``CT+PET``.

    Every step before the last treats each row by itself, so that all sets go through them at once. The last step gets
    one set at a time: how a sum over features is rounded may depend on how many rows there are.
    """
    if not sets:
        return {}
    ready = model[:-1].transform(without(rows, *sets))
    parts = [ready.iloc[start : start + len(rows)] for start in range(0, len(ready), len(rows))]
    return {"+".join(gone): _score(model[-1], part) for gone, part in zip(sets, parts, strict=True)}


def _sides(rows: pd.DataFrame, splits: pd.DataFrame, repeat: int, fold: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    part = splits[(splits["repeat"] == repeat) & (splits["fold"] == fold)]
    validates = rows.index.isin(part["subject"])
    return rows[~validates], rows[validates]


def _inner(arm: Arm, rows: pd.DataFrame, table: FeatureTable, harmonizer: Any, *place: int) -> list[pd.DataFrame]:
    """Inner scores of training rows, with the repeat and fold that they train for; none without an operating point."""
    if arm.operating is None:
        return []
    rng = np.random.default_rng([arm.seed, *place])
    outcome, groups = table.outcome.loc[rows.index], table.group.loc[rows.index]
    found = inner_scores(arm, arm.operating.inner_folds, rows, outcome, groups, harmonizer, rng)
    return [found.assign(**dict(zip(("repeat", "fold"), place, strict=False)))]


def _fit(arm: Arm, rows: pd.DataFrame, outcome: pd.Series, harmonizer: Any) -> Any:
    return arm.fitted(rows, outcome, harmonizer)


def _score(model: Any, rows: pd.DataFrame) -> np.ndarray:
    score = np.asarray(model.predict_proba(rows), dtype=float)[:, 1]
    if not np.isfinite(score).all():
        raise DataError(
            f"the model gave no finite score for {', '.join(map(str, rows.index[~np.isfinite(score)]))}",
            hint="Look for extreme feature values of these subjects.",
        )
    return score


def _check_rows(table: FeatureTable) -> None:
    empty = table.values.isna().all(axis=1)
    if empty.any():
        raise DataError(
            f"no feature of any modality for {', '.join(map(str, table.values.index[empty]))}",
            hint="Leave these subjects out; their lines in failures.csv say why they have no features.",
        )


def _batches(arm: Arm, rows: pd.DataFrame) -> pd.Series:
    labels = [f"{CONTEXT}{BATCH}{modality}" for modality in arm.modalities]
    known = list(dict.fromkeys(tuple(rows[label]) for label in labels if label in rows.columns))
    return pd.Series(["+".join(row) for row in zip(*known, strict=True)] if known else "", index=rows.index)


def _explained_fold(
    arm: Arm, model: Any, validation: pd.DataFrame, outcome: np.ndarray, repeat: int, fold: int
) -> list[pd.DataFrame]:
    """What the model leans on, where the arm is to be explained; a baseline says it by its name."""
    if arm.explain is None or arm.baseline is not None:
        return []
    found = explained(model, validation, outcome, arm.explain, [arm.seed, int(repeat), int(fold)])
    return [found.assign(repeat=repeat, fold=fold)]


def _report(
    model: Any, repeat: int, fold: int, training: pd.DataFrame, validation: pd.DataFrame, outcome: pd.Series
) -> dict[str, Any]:
    report: dict[str, Any] = {
        "repeat": int(repeat),
        "fold": int(fold),
        "training": len(training),
        "training_events": int(outcome.loc[training.index].sum()),
        "validation": len(validation),
        "validation_events": int(outcome.loc[validation.index].sum()),
    }
    if "stable" in model.named_steps:
        report["left_out_unstable"] = list(model.named_steps["stable"].dropped_)
    if "impute" in model.named_steps:
        report["left_out_missing"] = list(model.named_steps["impute"].dropped_)
    if "clinical" in model.named_steps:
        report["left_out_unknown"] = list(model.named_steps["clinical"].dropped_)
    if "scale" in model.named_steps:
        last = model.named_steps["classify"]
        report["left_out_constant"] = list(model.named_steps["scale"].dropped_)
        report["chosen"] = {name: _flat(columns) for name, columns in last.columns_.items()}
        report |= {"tuned": last.tuning_} if "tuning_" in vars(last) else {}
    if "harmonize" in model.named_steps:
        report["harmonised"] = _explained(model.named_steps["harmonize"], model.named_steps["columns"], validation)
    return report


def found_out(arm: Arm, final: Any, reports: list[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    """Which features and which settings were chosen fold by fold, as evidence.

    Parameters
    ----------
    final : the pipeline fitted on all rows, which knows how many features there were to choose from.
    """
    if arm.baseline is not None:
        return {}
    features = len(final.named_steps["scale"].kept_) + len(final.named_steps["scale"].dropped_)
    chosen = [row for each in reports for row in chosen_rows(each["chosen"], each["repeat"], each["fold"])]
    found = {CHOSEN: pd.DataFrame(chosen).assign(candidates=features, arm=arm.name)} if chosen else {}
    settings = [row for each in reports for row in tuning_rows(each.get("tuned", {}), each["repeat"], each["fold"])]
    return found | ({TUNING: pd.DataFrame(settings).assign(arm=arm.name)} if settings else {})


def _explained(harmonizer: Any, columns: Any, validation: pd.DataFrame) -> dict[str, Any]:
    """What the harmoniser flagged while fitting, and the validation subjects that it had to leave as they were."""
    if not isinstance(harmonizer, Explains):
        return {}
    flagged = harmonizer.flagged(columns.transform(validation))
    found: dict[str, Any] = {name: list(done.get("flags", [])) for name, done in harmonizer.report_.items()}
    passed = {name: [str(subject) for subject in flagged.index[flagged[name]]] for name in flagged.columns}
    return {"flags": found, "validation_flagged": {name: subjects for name, subjects in passed.items() if subjects}}


def _flat(columns: list[Any]) -> list[str]:
    """A network's members choose each for itself; report every column that any of them chose."""
    flat = [c for part in columns for c in ([part] if isinstance(part, str) else part)]
    return list(dict.fromkeys(flat))
