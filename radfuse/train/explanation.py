"""Which features and modalities a model leans on, judged on rows it never saw, and how steadily over the folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, PositiveInt

from radfuse.component import Frozen
from radfuse.data.names import modality_of
from radfuse.train.attribution import attributions
from radfuse.train.statistics import pair_auc

IMPORTANCE, MODALITIES, WEIGHTS = "importance", "modality_importance", "modality_weights"
WHOLE = "*"
FEATURE_COLUMNS = (
    "arm", "feature", "modality", "chosen", "auc_drop", "auc_drop_sd", "folds_dropping", "shap_share", "direction",
)  # fmt: skip
MODALITY_COLUMNS = ("arm", "modality", "auc_drop", "auc_drop_sd", "folds_dropping", "shap_share")
WEIGHT_COLUMNS = ("arm", "modality", "weight", "weight_sd", "folds")


class Explain(Frozen):
    """Which arms are explained, and how thoroughly."""

    arms: Literal["primary", "all"] = Field(
        "primary", description="primary: the two arms of the declared comparison; all: every arm, each as costly."
    )
    permutations: PositiveInt = Field(10, description="How often a feature is permuted among a fold's validation rows.")


def explained(
    model: Any, validation: pd.DataFrame, outcome: np.ndarray, settings: Explain, seed: Sequence[int]
) -> pd.DataFrame:
    """Explain one fold's model on its validation rows.

    A feature's values change places among the validation rows, as the last step sees them (harmonised and scaled), so
    that no value meets another scanner's correction; the loss of AUC is its importance [Breiman 2001,
    doi:10.1023/A:1010933404324]. A whole modality's chosen features change places together: where two of its features
    say the same, neither is missed alone. SHAP values are given as each feature's share of the sum of their sizes.

    Parameters
    ----------
    model : an arm's fitted pipeline.
    outcome : of the validation rows; 0 or 1.
    seed : decides the permutations.

    Returns
    -------
    Columns feature (``*`` for all of a modality), modality, auc_drop, shap_share, direction (the sign of the
    correlation between value and SHAP value). Values that cannot be given are NaN: without a pair of outcomes there
    is no AUC.
    """
    rows, last = model[:-1].transform(validation), model[-1]
    columns = chosen_columns(last)
    shares = dict(_shap(last, rows))
    rng = np.random.default_rng(seed)
    groups: list[tuple[str, str, Sequence[str]]] = [
        (column, modality, [column]) for modality, own in columns.items() for column in own
    ]
    groups += [(WHOLE, modality, own) for modality, own in columns.items() if own]
    whole = pair_auc(outcome, _score(last, rows))
    found = []
    for name, modality, own in groups:
        drop = float("nan")
        if np.isfinite(whole):
            orders = [rng.permutation(len(rows)) for _ in range(settings.permutations)]
            drop = whole - float(np.mean(_permuted_auc(last, rows, own, orders, outcome)))
        share, direction = shares.get(name, (float("nan"), float("nan")))
        if name == WHOLE:
            share = float(np.sum([shares[c][0] for c in own])) if all(c in shares for c in own) else float("nan")
        found.append((name, modality, drop, share, direction))
    return pd.DataFrame(found, columns=["feature", "modality", "auc_drop", "shap_share", "direction"])


def chosen_columns(last: Any) -> dict[str, list[str]]:
    """The columns that a fitted strategy looks at, by modality; members of a network choose each for themselves."""
    found = {}
    for modality, columns in last.columns_.items():
        flat = [c for part in columns for c in ([part] if isinstance(part, str) else part)]
        found[modality] = list(dict.fromkeys(flat))
    return found


def decision_weights(last: Any) -> dict[str, float]:
    """The weights of late fusion by modality, where its combination has any; its mean weighs all alike.

    A product, a vote and a rule weigh nothing, and give none.
    """
    from radfuse.train.steps.combiners import MeanOfPresent

    combiner = getattr(last, "combiner_", None)
    present = [m in last.classifiers_ for m in last.modalities] if combiner is not None else []
    if isinstance(combiner, MeanOfPresent):
        weights = np.array(present, dtype=float) / max(sum(present), 1)
    else:
        weights = np.asarray(getattr(combiner, "weights_", ()))
    return dict(zip(last.modalities, map(float, weights), strict=True)) if len(weights) else {}


def importance_table(evidence: pd.DataFrame) -> pd.DataFrame:
    """Stack the folds: one row per arm and feature, with ``chosen``, the share of folds in which it took part.

    ``auc_drop`` is the mean over the folds that chose the feature, ``folds_dropping`` the share of those in which
    permuting it cost AUC: near 1/2 or below is noise.
    """
    features = evidence[evidence["feature"] != WHOLE]
    folds = evidence[["arm", "repeat", "fold"]].drop_duplicates().groupby("arm").size().to_dict()
    found = [
        (arm, feature, modality, len(rows) / folds[arm], *_drop(rows), rows["shap_share"].mean(),
         rows["direction"].mean())
        for (arm, feature, modality), rows in features.groupby(["arm", "feature", "modality"], sort=False)
    ]  # fmt: skip
    table = pd.DataFrame(found, columns=list(FEATURE_COLUMNS))
    weight = (table["auc_drop"].fillna(0.0) * table["chosen"]).rename("weight")
    order = table.assign(weight=weight).sort_values(["arm", "weight", "feature"], ascending=[True, False, True])
    return order.drop(columns="weight").reset_index(drop=True)


def modality_table(evidence: pd.DataFrame) -> pd.DataFrame:
    """The same of whole modalities: one row per arm and modality."""
    whole = evidence[evidence["feature"] == WHOLE]
    found = [
        (arm, modality, *_drop(rows), rows["shap_share"].mean())
        for (arm, modality), rows in whole.groupby(["arm", "modality"], sort=False)
    ]
    return pd.DataFrame(found, columns=list(MODALITY_COLUMNS))


def weights_table(evidence: pd.DataFrame) -> pd.DataFrame:
    """The weights of late fusion over the folds: one row per arm and modality (evidence: arm, modality, weight)."""
    found = [
        (arm, modality, rows["weight"].mean(), rows["weight"].std(), len(rows))
        for (arm, modality), rows in evidence.groupby(["arm", "modality"], sort=False)
    ]
    return pd.DataFrame(found, columns=list(WEIGHT_COLUMNS))


def _drop(rows: pd.DataFrame) -> tuple[float, float, float]:
    known = rows["auc_drop"].dropna()
    if known.empty:
        return float("nan"), float("nan"), float("nan")
    return float(known.mean()), float(known.std()), float((known > 0).mean())


def _permuted_auc(
    last: Any, rows: pd.DataFrame, columns: Sequence[str], orders: Sequence[np.ndarray], outcome: np.ndarray
) -> list[float]:
    """The AUC after each permutation; all of them are scored in one call."""
    stacked = pd.concat([rows] * len(orders), ignore_index=True)
    values = rows[list(columns)].to_numpy()
    stacked[list(columns)] = np.concatenate([values[order] for order in orders])
    score = _score(last, stacked).reshape(len(orders), len(rows))
    return [pair_auc(outcome, each) for each in score]


def _score(last: Any, rows: pd.DataFrame) -> np.ndarray:
    return np.asarray(last.predict_proba(rows), dtype=float)[:, 1]


def _shap(last: Any, rows: pd.DataFrame) -> Iterator[tuple[str, tuple[float, float]]]:
    """Share and direction of each column, from the classifiers that a strategy is made of.

    Where it is a mean or a sum of theirs, each counts by its weight there, and by the slope of its calibration.
    """
    parts = []
    weights, calibrations = decision_weights(last), getattr(last, "calibrations_", {})
    for columns, classifier, values in last.parts(rows) if hasattr(last, "parts") else []:
        contribution = attributions(classifier, values)
        if contribution is None:
            return
        modality = modality_of(columns[0]) if weights else ""
        contribution = contribution * weights.get(modality, 1.0) * calibrations.get(modality, [1.0])[0]
        parts += [(c, contribution[:, i], values[:, i]) for i, c in enumerate(columns)]
    total = sum(float(np.abs(contribution).mean()) for _, contribution, _ in parts)
    for column, contribution, values in parts:
        size = float(np.abs(contribution).mean())
        yield column, (size / total if total > 0 else float("nan"), _direction(values, contribution))


def _direction(values: np.ndarray, contribution: np.ndarray) -> float:
    if np.ptp(values) == 0 or np.ptp(contribution) == 0:
        return float("nan")
    return float(np.sign(np.corrcoef(values, contribution)[0, 1]))
