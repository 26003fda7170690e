"""The smallest difference between two AUCs of the same patients that a cohort could show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from radfuse.train.statistics import hanley_mcneil_error

POWER = 0.8
ALPHA = 0.05


def area_correlation(area: float, scores: float, ones: int, zeros: int) -> float:
    """Correlation of two AUCs from that of the scores behind them, normal in both outcomes [Hanley & McNeil 1983].

    The covariance of two Mann-Whitney statistics [Hanley & McNeil 1982, eq. 1, for two scores]: both look at one pair
    of patients, or at two pairs that share one. Differences of two normal scores correlate by as much as the scores
    where the pair is the same, and by half of it where one patient is shared. For 50 and 50 patients this gives their
    table I to its two digits (doi:10.1148/radiology.148.3.6878708).

    Parameters
    ----------
    area : the mean of the two AUCs.
    scores : correlation of the two scores, mean of that among events and that among the others.
    ones, zeros : patients with and without the event.

    Examples
    --------
    >>> round(area_correlation(0.8, 0.5, 50, 50), 2)
    0.45
    """
    area, others = float(np.clip(area, 0.01, 0.99)), ones + zeros - 2
    shared = _both(area, scores) - area**2 + others * (_both(area, scores / 2) - area**2)
    return shared / (_both(area, 1.0) - area**2 + others * (_both(area, 0.5) - area**2))


def _both(area: float, correlation: float) -> float:
    """Chance that two normal differences are both above 0, each being so with chance ``area`` [Owen 1956, eq. 3.1]."""
    from scipy.special import ndtri, owens_t

    correlation = max(correlation, -1 + 1e-12)
    return float(area - 2 * owens_t(ndtri(area), ((1 - correlation) / (1 + correlation)) ** 0.5))


def score_correlation(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Correlation of two arms' scores within the outcomes, as if they were normal; 0 where one of them is constant.

    The rank correlation rho is that of normal scores after ``2 sin(pi rho / 6)`` [Pearson 1907].

    Parameters
    ----------
    first, second : predictions of one arm each; a subject's scores are averaged over the repeats.
    """
    means = [rows.groupby("subject", sort=True)["score"].mean() for rows in (first, second)]
    outcome = first.groupby("subject", sort=True)["outcome"].first()
    found = []
    for label in (0, 1):
        one, other = (score[outcome == label].rank() for score in means)
        if one.nunique() > 1 and other.nunique() > 1:
            found.append(float(np.corrcoef(one, other)[0, 1]))
    return float(np.mean([2 * np.sin(np.pi * rho / 6) for rho in found])) if found else 0.0


def smallest_visible(
    auc: float, ones: int, zeros: int, correlation: float, power: float = POWER, alpha: float = ALPHA
) -> float | None:
    """The smallest gain over an AUC that a two-sided test of these patients finds with the given power.

    Solves ``d = z(1 - alpha / 2) se_0 + z(power) se_1`` [Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747,
    sample sizes], where ``se_0`` and ``se_1`` are the standard errors of the difference of two AUCs when both are
    ``auc`` and when the second is ``auc + d``, reduced by the correlation of the two [Hanley & McNeil 1983].

    Parameters
    ----------
    auc : of the arm that is to be beaten.
    correlation : of the two arms' scores, as `score_correlation` gives it.

    Returns
    -------
    None where not even a perfect arm would be told from it.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    reach_null, reach_gain = float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))

    def lacks(gain: float) -> float:
        null = _difference_error(auc, auc, ones, zeros, correlation)
        return reach_null * null + reach_gain * _difference_error(auc, auc + gain, ones, zeros, correlation) - gain

    if not auc < 1 or min(ones, zeros) < 2 or lacks(1 - auc) > 0:
        return None
    return 0.0 if lacks(0.0) <= 0 else float(brentq(lacks, 0.0, 1 - auc, xtol=1e-9))


def _difference_error(first: float, second: float, ones: int, zeros: int, correlation: float) -> float:
    one, other = hanley_mcneil_error(first, ones, zeros), hanley_mcneil_error(second, ones, zeros)
    shared = area_correlation((first + second) / 2, correlation, ones, zeros)
    return float(max(one**2 + other**2 - 2 * shared * one * other, 0.0) ** 0.5)


def visible(gain: float | None, ones: int, correlation: float) -> str:
    """Say what `smallest_visible` found.

    Examples
    --------
    >>> visible(0.153, 14, 0.6)
    'With 14 events, a true difference under about 0.15 between these two arms would be missed more than one time in \
five (p < 0.05, scores correlated at 0.60; Hanley-McNeil).'
    """
    basis = f"(p < {ALPHA:g}, scores correlated at {correlation:.2f}; Hanley-McNeil)"
    if gain is None:
        return f"With {ones} events, not even a perfect arm could be told from the other one {basis}."
    return (
        f"With {ones} events, a true difference under about {gain:.2f} between these two arms would be missed more "
        f"than one time in five {basis}."
    )
