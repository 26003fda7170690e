"""Operating points: where to cut a score, decided on training rows alone, and what that gives on the others.

The threshold of a fold comes from inner out-of-fold probabilities of its training rows. Out-of-fold scores of other
folds would not do: their models have seen this fold's rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from radfuse.component import Frozen
from radfuse.data.predictions import Predictions
from radfuse.errors import RadfuseError
from radfuse.train.scores import Bootstrap
from radfuse.train.splits.dealing import deal_together
from radfuse.train.statistics import percentile_interval

if TYPE_CHECKING:
    from radfuse.train.arms import Arm

OPERATING = "operating_points"
INNER, INNER_ALL = "inner", "inner_all"
RULES = YOUDEN, SENSITIVE = "youden", "sensitive"
PLACE = ("repeat", "fold")
MEASURES = ("sensitivity", "specificity", "ppv", "npv", "balanced_accuracy")
COLUMNS = (
    "arm", "rule", "threshold", "threshold_low", "threshold_high", "threshold_all", "folds", "folds_without",
    *(f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")), "note",
)  # fmt: skip


class Operating(Frozen):
    """Which arms get thresholds, and how they are chosen."""

    arms: Literal["primary", "all"] = Field(
        "primary", description="primary: the two arms of the declared comparison; all: every arm, each as costly."
    )
    inner_folds: int = Field(5, ge=2, description="Inner folds of each training part; so many more fits per fold.")
    sensitivity: float = Field(0.9, gt=0, le=1, description="Least sensitivity that the second threshold keeps.")

    def thresholds(self, inner: pd.DataFrame) -> dict[str, float]:
        """Choose a threshold by each rule from inner out-of-fold scores (columns outcome, score); NaN if it cannot be.

        ``youden`` has the largest sensitivity + specificity - 1 [Youden 1950], ``sensitive`` is the highest one that
        keeps the sensitivity asked for.
        """
        known = inner.dropna(subset=["score"])
        outcome, score = known["outcome"].to_numpy(), known["score"].to_numpy(dtype=float)
        if not (outcome == 1).any() or not (outcome == 0).any():
            return {YOUDEN: float("nan"), SENSITIVE: float("nan")}
        cuts = candidates(score)
        found = score >= cuts[:, None]
        sensitivity = found[:, outcome == 1].mean(axis=1)
        specificity = 1 - found[:, outcome == 0].mean(axis=1)
        kept = cuts[sensitivity >= self.sensitivity - 1e-12]
        return {YOUDEN: float(cuts[np.argmax(sensitivity + specificity)]), SENSITIVE: float(kept.max())}


def candidates(score: np.ndarray) -> np.ndarray:
    """Thresholds half-way between neighbouring scores, and 0, which calls everyone ill; rising.

    Examples
    --------
    >>> candidates(np.array([0.5, 0.25, 0.25])).tolist()
    [0.0, 0.375]
    """
    values = np.unique(score)
    return np.concatenate([[0.0], (values[:-1] + values[1:]) / 2])


def inner_scores(
    arm: Arm, folds: int, rows: pd.DataFrame, outcome: pd.Series, groups: pd.Series, harmonizer: Any, rng: Any
) -> pd.DataFrame:
    """Score training rows by the arm's whole pipeline, each by one that did not see its group.

    Parameters
    ----------
    rows, outcome, groups : of the training rows only.
    rng : deals the inner folds, `numpy.random.Generator`.

    Returns
    -------
    Columns subject, outcome, score, error. Where an inner part cannot be trained its scores are NaN, and ``error``
    says why: the outer fold stands without its threshold.
    """
    part = deal_together(outcome.to_numpy(), groups.to_numpy(), folds, rng)
    score, why = np.full(len(rows), np.nan), np.full(len(rows), "", dtype=object)
    for number in range(folds):
        outside = part == number
        inside = rows[~outside]
        if not outside.any():
            continue
        if outcome[~outside].nunique() < 2:
            why[outside] = "the rest of the training rows holds one outcome only"
            continue
        try:
            model = arm.fitted(inside, outcome.loc[inside.index], harmonizer)
            score[outside] = model.predict_proba(rows[outside])[:, 1]
        except RadfuseError as error:
            why[outside] = error.message
    frame = pd.DataFrame({"subject": rows.index, "outcome": outcome.to_numpy(), "score": score, "error": why})
    return frame.assign(arm=arm.name)


def operating_table(
    predictions: Predictions, inner: pd.DataFrame, everyone: pd.DataFrame, bootstrap: Bootstrap, operating: Operating
) -> pd.DataFrame:
    """Give one row per arm and rule, with the columns of ``COLUMNS``.

    Each fold's threshold is applied to its validation rows; the counts of all folds and repeats are added up, each
    patient with his weight in the resample. ``threshold`` is the median over the folds, with the least and largest;
    ``threshold_all`` is that of the model fitted on all rows, for new patients. A fold without a threshold is left out.

    Parameters
    ----------
    inner : inner scores, with columns arm, repeat, fold beside those of `inner_scores`.
    everyone : the same for the model that is fitted on all rows, without repeat and fold.
    """
    found = []
    for arm, own in inner.groupby("arm", sort=False):
        if arm not in predictions.arms:
            continue
        rows = predictions.of(str(arm)).reset_index(drop=True)
        by_fold = {place: operating.thresholds(part) for place, part in own.groupby(list(PLACE))}
        final = operating.thresholds(everyone[everyone["arm"] == arm])
        errors = [error for error in own["error"].unique() if error]
        for rule in RULES:
            cuts = pd.DataFrame(list(by_fold), columns=list(PLACE)).assign(cut=[cut[rule] for cut in by_fold.values()])
            judged = rows.merge(cuts.dropna(), on=list(PLACE))
            values = cuts["cut"].dropna()
            span = (values.median(), values.min(), values.max()) if len(values) else (np.nan,) * 3
            note = f"inner folds that could not be trained: {errors[0]}" if errors else ""
            found.append(
                (arm, rule, *span, final[rule], len(cuts), len(cuts) - len(values), *_measured(judged, bootstrap), note)
            )
    return pd.DataFrame(found, columns=list(COLUMNS))


def counted(outcome: np.ndarray, called: np.ndarray) -> np.ndarray:
    """True positives, false negatives, true negatives, false positives: (row, 4) of 0 and 1."""
    return np.column_stack([outcome * called, outcome * (1 - called), (1 - outcome) * (1 - called),
                            (1 - outcome) * called]).astype(float)  # fmt: skip


def measures(counts: np.ndarray) -> Mapping[str, np.ndarray]:
    """The measures of ``MEASURES`` from counts (..., 4) as `counted` orders them; NaN where nothing is counted.

    Examples
    --------
    >>> found = measures(np.array([8.0, 2.0, 15.0, 5.0]))
    >>> {name: round(float(value), 3) for name, value in found.items()}
    {'sensitivity': 0.8, 'specificity': 0.75, 'ppv': 0.615, 'npv': 0.882, 'balanced_accuracy': 0.775}
    """
    hit, missed, cleared, false = np.moveaxis(counts, -1, 0)

    def share(part: np.ndarray, rest: np.ndarray) -> np.ndarray:
        whole = np.asarray(part + rest)
        return np.asarray(np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0))

    sensitivity, specificity = share(hit, missed), share(cleared, false)
    balanced = (sensitivity + specificity) / 2
    return dict(
        zip(MEASURES, (sensitivity, specificity, share(hit, false), share(cleared, missed), balanced), strict=True)
    )


def _measured(judged: pd.DataFrame, bootstrap: Bootstrap) -> list[float]:
    """Each measure with its interval, in the order of the columns."""
    called = (judged["score"].to_numpy(dtype=float) >= judged["cut"].to_numpy(dtype=float)).astype(float)
    totals = bootstrap.total(judged, counted(judged["outcome"].to_numpy(dtype=float), called))
    found: list[float] = []
    for values in measures(totals).values():
        found += [float(values[0]), *percentile_interval(values[1:], bootstrap.confidence)]
    return found
