"""The AUC and its uncertainty.

`pair_auc` within a fold is the headline: scores of different folds come from different models, and pooling them puts
a correct null model well below 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


def pairs(outcome: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Compare every subject with outcome 1 (rows) to every one with outcome 0 (columns): 1 above, 1/2 tied, 0 below."""
    one, zero = score[outcome == 1], score[outcome == 0]
    difference = one[:, None] - zero[None, :]
    return np.asarray((np.sign(difference) + 1) / 2)


def pair_auc(outcome: np.ndarray, score: np.ndarray) -> float:
    """The share of pairs in the right order; NaN where there is no pair.

    Examples
    --------
    >>> pair_auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8]))
    0.875
    """
    compared = pairs(outcome, score)
    return float(compared.mean()) if compared.size else float("nan")


def within_fold_auc(rows: pd.DataFrame, weights: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Mean over repeats of the mean over folds of the AUC of pairs within a fold, for each weighting of the subjects.

    Parameters
    ----------
    rows : columns repeat, fold, outcome, score.
    weights : (weighting, unit); a pair counts with the product of its two weights.
    position : the unit of each row.

    Returns
    -------
    One value per weighting. A fold without a weighted pair is skipped, then a repeat without a fold; NaN where
    nothing is left.
    """
    outcome, score = rows["outcome"].to_numpy(), rows["score"].to_numpy(dtype=float)
    by_repeat: dict[object, list[np.ndarray]] = {}
    for index in rows.groupby(["repeat", "fold"]).indices.values():
        repeat = rows["repeat"].iloc[index[0]]
        one, zero = index[outcome[index] == 1], index[outcome[index] == 0]
        compared = pairs(outcome[index], score[index])
        heavy, light = weights[:, position[one]].astype(float), weights[:, position[zero]].astype(float)
        total = heavy.sum(axis=1) * light.sum(axis=1)
        right = ((heavy @ compared) * light).sum(axis=1)
        auc = np.divide(right, total, out=np.full(len(weights), np.nan), where=total > 0)
        by_repeat.setdefault(repeat, []).append(auc)
    return _mean([_mean(folds) for folds in by_repeat.values()])


def _mean(values: list[np.ndarray]) -> np.ndarray:
    stacked = np.array(values)
    known = ~np.isnan(stacked)
    total, count = np.where(known, stacked, 0.0).sum(axis=0), known.sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(stacked.shape[1], np.nan), where=count > 0))


def resample(has_event: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw bootstrap weights within class: (resample, unit), how often each unit is drawn."""
    weights = np.zeros((resamples, len(has_event)), dtype=np.int64)
    for label in np.unique(has_event):
        units = np.flatnonzero(has_event == label)
        weights[:, units] = rng.multinomial(len(units), np.full(len(units), 1 / len(units)), size=resamples)
    return weights


def percentile_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The central interval of bootstrap values, without those that could not be computed."""
    known = values[~np.isnan(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bootstrap_p(differences: np.ndarray) -> float:
    """Two-sided p of a difference by inverting the percentile interval [Davison & Hinkley 1997, section 4.4].

    ``2 min((1 + #{d <= 0}), (1 + #{d >= 0})) / (R + 1)``, at most 1.

    Examples
    --------
    >>> bootstrap_p(np.array([0.1, 0.2, 0.3]))
    0.5
    """
    known = differences[~np.isnan(differences)]
    tail = min((known <= 0).sum(), (known >= 0).sum())
    return min(1.0, float(2 * (1 + tail) / (len(known) + 1)))


def corrected_resampled_t(differences: np.ndarray, test_share: float) -> tuple[float, float, float]:
    """Standard error, t and two-sided p of a mean difference between two models over folds and repeats.

    Training parts overlap, so the plain variance is too small: ``(1 / J + n_test / n_train) s^2`` stands for it, with
    J - 1 degrees of freedom [Nadeau & Bengio 2003, doi:10.1023/A:1024068626366, section 5; for repeated folds Bouckaert
    & Frank 2004, doi:10.1007/978-3-540-24775-3_3]. NaN for fewer than two folds.

    Parameters
    ----------
    differences : one per fold of every repeat.
    test_share : subjects that validate for each one that trains, such as 1/4 for five folds.

    Examples
    --------
    >>> error, t, p = corrected_resampled_t(np.array([0.1, -0.1, 0.2]), 0.5)
    >>> round(error**2, 6), round(t, 3)
    (0.019444, 0.478)
    """
    from scipy.stats import t as student

    known = differences[~np.isnan(differences)]
    if len(known) < 2:
        return float("nan"), float("nan"), float("nan")
    gap, error = float(known.mean()), float(((1 / len(known) + test_share) * known.var(ddof=1)) ** 0.5)
    if error == 0:
        return 0.0, 0.0 if gap == 0 else float(np.copysign(np.inf, gap)), 1.0 if gap == 0 else 0.0
    return error, gap / error, float(2 * student.sf(abs(gap / error), len(known) - 1))


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust each p for having made all these comparisons [Holm 1979, Scand. J. Statist. 6:65]; a NaN is none of them.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate((len(order) - np.arange(len(order))) * p[order]))
    return adjusted


@dataclass(frozen=True)
class DeLong:
    """AUCs of scores on the same subjects, and the covariance of the AUCs."""

    auc: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, outcome: np.ndarray, *scores: np.ndarray) -> DeLong:
        """Compute both from the placements [DeLong 1988, doi:10.2307/2531595]; two of each outcome are needed."""
        compared = [pairs(outcome, score) for score in scores]
        ones, zeros = compared[0].shape
        v10 = np.array([part.mean(axis=1) for part in compared])
        v01 = np.array([part.mean(axis=0) for part in compared])
        auc = np.array([part.mean() for part in compared])
        if min(ones, zeros) < 2:
            return cls(auc, np.full((len(scores), len(scores)), np.nan))
        return cls(auc, np.atleast_2d(np.cov(v10)) / ones + np.atleast_2d(np.cov(v01)) / zeros)

    def interval(self, confidence: float) -> tuple[float, float]:
        """The normal interval of the first AUC, cut to [0, 1]."""
        from scipy.stats import norm

        half = float(norm.ppf((1 + confidence) / 2)) * float(self.covariance[0, 0]) ** 0.5
        return max(0.0, float(self.auc[0]) - half), min(1.0, float(self.auc[0]) + half)

    def difference(self) -> tuple[float, float, float]:
        """Standard error, z and two-sided p of the first AUC minus the second."""
        from scipy.stats import norm

        variance = self.covariance[0, 0] + self.covariance[1, 1] - 2 * self.covariance[0, 1]
        gap, error = float(self.auc[0] - self.auc[1]), float(variance) ** 0.5
        if error == 0:
            return 0.0, 0.0 if gap == 0 else float(np.copysign(np.inf, gap)), 1.0 if gap == 0 else 0.0
        return error, gap / error, float(2 * norm.sf(abs(gap / error)))


def hanley_mcneil_error(auc: float, ones: int, zeros: int) -> float:
    """Standard error of an AUC from the counts alone [Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747].

    Examples
    --------
    >>> round(1.96 * hanley_mcneil_error(0.75, 19, 32), 3)
    0.146
    """
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (ones - 1) * (q1 - auc**2) + (zeros - 1) * (q2 - auc**2)
    return float((max(variance, 0.0) / (ones * zeros)) ** 0.5)
