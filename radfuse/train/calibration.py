"""Whether a score is the probability that it looks like: Brier score, recalibration, and the calibration curve.

The intercept is calibration in the large: how much is missing from the log odds on average, 0 being right; below 0 the
arm promises too many events. The slope is 1 where probabilities are as spread as they should be, and below 1 where they
are too extreme, as those of an overfitted model are [Van Calster et al. 2019, doi:10.1186/s12916-019-1466-7].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from radfuse.data.predictions import Predictions
from radfuse.train.scores import Bootstrap
from radfuse.train.statistics import percentile_interval

CALIBRATION, CURVE = "calibration", "calibration_curve"
BINS = 5
RESAMPLES = 200
FURTHEST = 1e-6
COLUMNS = (
    "arm", "brier", "brier_low", "brier_high", "brier_prevalence", "brier_scaled", "intercept", "intercept_low",
    "intercept_high", "slope", "slope_low", "slope_high", "note",
)  # fmt: skip
CURVE_COLUMNS = ("arm", "bin", "predicted", "observed", "ci_low", "ci_high", "n", "events")


def calibration_table(predictions: Predictions, bootstrap: Bootstrap, unsure: Mapping[str, str]) -> pd.DataFrame:
    """Give one row per arm, with the columns of ``COLUMNS``.

    ``brier_prevalence`` is the Brier score of saying the cohort's prevalence to everyone, ``brier_scaled`` the share
    of it that the arm saves. Intercept and slope are fitted to each repeat and averaged; the intervals of resampled
    patients come from the first 200 resamples, and are left out for arms of one image each, of which a study may hold
    hundreds. ``note`` says what could not be told, and why.

    Parameters
    ----------
    unsure : by arm, why its scores are no probabilities.
    """
    found = []
    for arm in predictions.arms:
        rows = predictions.of(arm).reset_index(drop=True)
        outcome, score = rows["outcome"].to_numpy(dtype=float), rows["score"].to_numpy(dtype=float)
        count = bootstrap.total(rows, np.ones(len(rows)))
        brier = bootstrap.total(rows, (score - outcome) ** 2) / count
        prevalence = float(outcome.mean())
        always = prevalence * (1 - prevalence)
        resamples = 0 if rows["fusion"].iloc[0] == "image" else RESAMPLES
        (intercept, slope), why = _recalibration(rows, bootstrap, resamples)
        said = [unsure[arm]] if arm in unsure else []
        found.append(
            (arm, brier[0], *percentile_interval(brier[1:], bootstrap.confidence), always, 1 - brier[0] / always,
             intercept[0], *percentile_interval(intercept[1:], bootstrap.confidence),
             slope[0], *percentile_interval(slope[1:], bootstrap.confidence), "; ".join(said + why))
        )  # fmt: skip
    return pd.DataFrame(found, columns=list(COLUMNS))


def calibration_curve(predictions: Predictions, arms: Sequence[str], bootstrap: Bootstrap) -> pd.DataFrame:
    """Give, per arm and bin of its scores, the mean probability and the share of events, with its interval.

    The bins are fifths of the scores of all repeats; equal scores share one. ``n`` and ``events`` are per repeat.
    """
    found: list[tuple[object, ...]] = []
    for arm in arms:
        rows = predictions.of(arm).reset_index(drop=True)
        outcome, score = rows["outcome"].to_numpy(dtype=float), rows["score"].to_numpy(dtype=float)
        place = np.searchsorted(np.quantile(score, np.arange(1, BINS) / BINS), score, side="left")
        repeats = rows["repeat"].nunique()
        for number, label in enumerate(np.unique(place)):
            inside = place == label
            drawn, events = bootstrap.total(rows, np.column_stack([inside, inside * outcome]).astype(float)).T
            share = np.divide(events, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)
            found.append(
                (arm, number, score[inside].mean(), share[0], *percentile_interval(share[1:], bootstrap.confidence),
                 inside.sum() / repeats, outcome[inside].sum() / repeats)
            )  # fmt: skip
    return pd.DataFrame(found, columns=list(CURVE_COLUMNS))


def log_odds_of(score: np.ndarray) -> np.ndarray:
    """Log odds, of probabilities kept a millionth away from 0 and 1."""
    from scipy.special import logit

    return np.asarray(logit(np.clip(score, FURTHEST, 1 - FURTHEST)))


def recalibrated(outcome: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Calibration in the large and calibration slope of some probabilities [Cox 1958, doi:10.1093/biomet/45.3-4.562].

    ``logit P(y = 1) = a + logit p`` for the intercept, ``logit P(y = 1) = a' + b logit p`` for the slope, both without
    a penalty.

    Parameters
    ----------
    weights : (weighting, row), how often each row counts; by default once.

    Returns
    -------
    (weighting, 2): intercept a and slope b. Both are NaN where one outcome is absent; the slope is NaN where the
    scores are constant or separate the outcomes, since no finite slope is then the likeliest.
    """
    weights = np.ones((1, len(outcome))) if weights is None else weights.astype(float)
    x = log_odds_of(score)
    events, total = weights @ outcome, weights.sum(axis=1)
    both = (events > 0) & (events < total)
    found = np.full((len(weights), 2), np.nan)
    start = np.zeros((int(both.sum()), 1))
    found[both, 0] = _likeliest(np.ones((len(x), 1)), x, outcome, weights[both], start)[:, 0]
    told = both & ~_separated(x, outcome, weights)
    if told.any():
        middle, spread = x.mean(), x.std()
        design = np.column_stack([np.ones(len(x)), (x - middle) / spread])
        share = events[told] / total[told]
        start = np.column_stack([np.log(share / (1 - share)), np.zeros(len(share))])
        found[told, 1] = _likeliest(design, np.zeros(len(x)), outcome, weights[told], start)[:, 1] / spread
    return found


def _recalibration(rows: pd.DataFrame, bootstrap: Bootstrap, resamples: int) -> tuple[np.ndarray, list[str]]:
    """Intercepts and slopes (2, 1 + resamples), means over the repeats that give one, and what to know about them."""
    weights, each = bootstrap.weights[: 1 + resamples], []
    for _, part in rows.groupby("repeat", sort=True):
        outcome, score = part["outcome"].to_numpy(dtype=float), part["score"].to_numpy(dtype=float)
        each.append(recalibrated(outcome, score, weights[:, bootstrap.places(part)]))
    fitted = np.array(each)
    known = np.isfinite(fitted)
    mean = np.divide(
        np.where(known, fitted, 0.0).sum(axis=0), known.sum(axis=0), out=np.full(fitted.shape[1:], np.nan),
        where=known.any(axis=0),
    )  # fmt: skip
    return mean.T, list(_notes(rows["score"].to_numpy(dtype=float), int((~known[:, 0, 1]).sum()), len(each)))


def _notes(score: np.ndarray, without: int, repeats: int) -> Iterator[str]:
    if without:
        why = "the scores are constant" if np.ptp(score) == 0 else "scores are constant or separate the outcomes"
        yield f"no slope in {without} of {repeats} repeats: {why}"
    extreme = int(((score <= FURTHEST) | (score >= 1 - FURTHEST)).sum())
    if extreme:
        yield f"{extreme} of {len(score)} probabilities are 0 or 1, and were taken for {FURTHEST:g} from it"


def _separated(x: np.ndarray, outcome: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Whether a threshold parts the outcomes among the rows that count, scores on it apart; so do constant scores."""

    def ends(label: int) -> tuple[np.ndarray, np.ndarray]:
        own = np.where((weights > 0) & (outcome == label), x, np.nan)
        empty = np.isnan(own).all(axis=1)
        own[empty] = 0.0
        return np.nanmin(own, axis=1), np.nanmax(own, axis=1)

    (low_zero, high_zero), (low_one, high_one) = ends(0), ends(1)
    return np.asarray((high_zero <= low_one) | (high_one <= low_zero))


def _likeliest(
    design: np.ndarray, offset: np.ndarray, outcome: np.ndarray, weights: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Maximum likelihood of a logistic model for each weighting, by Newton's steps of bounded length."""
    from scipy.special import expit
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    value, kinds = start.copy(), design.shape[1]
    squares = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    with threadpool_limits(1):  # sums over threads would round differently
        for _ in range(200):
            chance = expit(value @ design.T + offset)
            slope = (weights * (outcome - chance)) @ design
            bend = ((weights * chance * (1 - chance)) @ squares).reshape(-1, kinds, kinds) + 1e-12 * np.eye(kinds)
            step = np.clip(np.linalg.solve(bend, slope[..., None])[..., 0], -1.0, 1.0)
            value += step
            if np.abs(step).max(initial=0.0) < 1e-10:
                break
    return value
