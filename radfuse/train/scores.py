"""From predictions to the table of arms and the primary contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from radfuse.data.predictions import Predictions
from radfuse.errors import ConfigError
from radfuse.train.power import score_correlation, smallest_visible, visible
from radfuse.train.statistics import (
    DeLong,
    bootstrap_p,
    hanley_mcneil_error,
    pairs,
    percentile_interval,
    resample,
    within_fold_auc,
)


class Bootstrap:
    """Resampled patients, the same for every arm, so that differences between arms are paired.

    A patient is a group where the predictions have a column ``group``, else a subject.
    """

    def __init__(self, predictions: Predictions, resamples: int, confidence: float, seed: int) -> None:
        rows = predictions.rows
        self.unit = "group" if "group" in rows.columns else "subject"
        has_event = rows.groupby(self.unit)["outcome"].max().sort_index()
        self.units = has_event.index
        self.confidence = confidence
        self.ones = int((has_event > 0).sum())
        drawn = resample(has_event.to_numpy(), resamples, np.random.default_rng(seed))
        self.weights = np.vstack([np.ones((1, len(self.units)), dtype=np.int64), drawn])

    def auc(self, rows: pd.DataFrame) -> tuple[float, np.ndarray]:
        """The AUC of an arm's rows, and its bootstrap values."""
        values = within_fold_auc(rows, self.weights, self.places(rows))
        return float(values[0]), values[1:]

    def total(self, rows: pd.DataFrame, values: np.ndarray) -> np.ndarray:
        """Add up a value of each row, or several, under every weighting of the patients: the first is the cohort's.

        Parameters
        ----------
        values : (row,) or (row, kind).

        Returns
        -------
        (1 + resamples,) or (1 + resamples, kind).
        """
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        by_unit = np.zeros((len(self.units), *values.shape[1:]))
        np.add.at(by_unit, self.places(rows), values)
        with threadpool_limits(1):  # sums over threads would round differently
            return np.asarray(self.weights @ by_unit)

    @property
    def zeros(self) -> int:
        """Patients without an event, in any of their rows; ``ones`` are those with one."""
        return len(self.units) - self.ones

    def places(self, rows: pd.DataFrame) -> np.ndarray:
        """The patient of each row, as a column of ``weights``."""
        return np.asarray(self.units.get_indexer(pd.Index(rows[self.unit])))


def score_table(predictions: Predictions, bootstrap: Bootstrap) -> pd.DataFrame:
    """One row per arm: the AUC of pairs within a fold with its interval, and beside it other views of the same scores.

    ``auc_pooled`` (with DeLong's interval) averages each subject's scores over the repeats and compares all pairs:
    approximate, and too low for a weak model; no interval where several rows are of one patient, which DeLong's takes
    for patients. ``auc_within_batch`` compares pairs of one fold and one batch only.
    """
    table = []
    for name in predictions.arms:
        rows = predictions.of(name).reset_index(drop=True)
        auc, values = bootstrap.auc(rows)
        low, high = percentile_interval(values, bootstrap.confidence)
        subjects = rows.groupby("subject", sort=True).agg(outcome=("outcome", "first"), score=("score", "mean"))
        delong = DeLong.of(subjects["outcome"].to_numpy(), subjects["score"].to_numpy())
        several = len(subjects) > len(bootstrap.units)
        pooled_low, pooled_high = (float("nan"),) * 2 if several else delong.interval(bootstrap.confidence)
        first = rows.iloc[0]
        table.append(
            {
                "arm": name,
                "fusion": first["fusion"],
                "modalities": first["modalities"],
                "classifier": first["classifier"],
                "auc": auc,
                "ci_low": low,
                "ci_high": high,
                "n": len(subjects),
                "events": int(subjects["outcome"].sum()),
                "auc_within_batch": within_batch_auc(rows),
                "auc_pooled": float(delong.auc[0]),
                "pooled_delong_low": pooled_low,
                "pooled_delong_high": pooled_high,
            }
        )
    return pd.DataFrame(table)


def within_batch_auc(rows: pd.DataFrame) -> float:
    """The share of right pairs among those of one repeat, fold and batch; NaN without batches or without a pair."""
    if "batch" not in rows.columns or not (rows["batch"] != "").any():
        return float("nan")
    right = total = 0.0
    for _, part in rows.groupby(["repeat", "fold", "batch"]):
        compared = pairs(part["outcome"].to_numpy(), part["score"].to_numpy(dtype=float))
        right, total = right + compared.sum(), total + compared.size
    return float(right / total) if total else float("nan")


def compare(predictions: Predictions, arm: str, against: str, bootstrap: Bootstrap) -> dict[str, Any]:
    """Compare two arms in pairs: the same resampled patients, folds and repeats for both."""
    for name in (arm, against):
        if name not in predictions.arms:
            raise ConfigError(
                f"the primary contrast names the arm {name!r}, which was not run; found {', '.join(predictions.arms)}",
                hint="Set train.primary to a fusion, a modality and a classifier that are in the run.",
            )
    first, second = predictions.of(arm).reset_index(drop=True), predictions.of(against).reset_index(drop=True)
    (auc, values), (auc_against, values_against) = bootstrap.auc(first), bootstrap.auc(second)
    low, high = percentile_interval(values - values_against, bootstrap.confidence)
    subjects = first.drop_duplicates("subject")
    events, n = int(subjects["outcome"].sum()), len(subjects)
    found = {
        "arm": arm,
        "against": against,
        "auc": auc,
        "auc_against": auc_against,
        "difference": auc - auc_against,
        "ci_low": low,
        "ci_high": high,
        "p": bootstrap_p(values - values_against),
        "n": n,
        "events": events,
        "confidence": bootstrap.confidence,
    }
    correlation = score_correlation(first, second)
    ones, zeros = bootstrap.ones, bootstrap.zeros  # rows of one patient are no further evidence
    seen = smallest_visible(auc_against, ones, zeros, correlation)
    said = f"{power(auc, ones, zeros, bootstrap.confidence)} {visible(seen, ones, correlation)}"
    if n > ones + zeros:
        said += f" These are patients; that they have {n} rows is no further evidence."
    return {**found, "correlation": correlation, "visible": seen, "verdict": verdict(found), "power": said}


def verdict(found: dict[str, Any]) -> str:
    """Say what the contrast allows one to claim.

    Examples
    --------
    >>> verdict({"arm": "early-logistic", "against": "single-CT-logistic", "auc": 0.72, "auc_against": 0.70,
    ...          "difference": 0.02, "ci_low": -0.05, "ci_high": 0.09, "confidence": 0.95, "p": 0.6})
    'early-logistic 0.72 against single-CT-logistic 0.70: fusion adds 0.02 (95 % interval -0.05 to 0.09, p = 0.600); \
the interval includes 0: do not claim a gain.'
    """
    gap, low, high = found["difference"], found["ci_low"], found["ci_high"]
    word = "adds" if gap >= 0 else "loses"
    if low > 0:
        claim = "the interval excludes 0: fusion predicted better in this cohort"
    elif high < 0:
        claim = "the interval excludes 0: fusion predicted worse in this cohort"
    else:
        claim = "the interval includes 0: do not claim a gain"
    return (
        f"{found['arm']} {found['auc']:.2f} against {found['against']} {found['auc_against']:.2f}: fusion {word} "
        f"{abs(gap):.2f} ({100 * found['confidence']:g} % interval {low:.2f} to {high:.2f}, p = {found['p']:.3f}); "
        f"{claim}."
    )


def power(auc: float, ones: int, zeros: int, confidence: float) -> str:
    """Say how well a cohort of this size can know an AUC at all."""
    from scipy.stats import norm

    half = float(norm.ppf((1 + confidence) / 2)) * hanley_mcneil_error(auc, ones, zeros)
    return (
        f"With {ones} events among {ones + zeros} subjects an AUC of {auc:.2f} is known to within "
        f"{half:.2f} either way (Hanley-McNeil, {100 * confidence:g} %)."
    )
