"""Combiners of late fusion: a table of probabilities in (rows x modalities, NaN where missing), one probability out.

Every row has at least one modality. ``fit`` gets the training outcomes, and inner out-of-fold probabilities where the
combination learns (`radfuse.train.combinations`).
"""

from typing import Self

import numpy as np
from scipy.special import expit, logit
from sklearn.base import BaseEstimator

from radfuse.train.combinations.expression import margin, parse


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Log odds, of probabilities kept a millionth away from 0 and 1."""
    return np.asarray(logit(np.clip(probability, 1e-6, 1 - 1e-6)))


class MeanOfPresent(BaseEstimator):  # type: ignore[misc]
    """The mean of what is there."""

    def fit(self, outcome: np.ndarray, outside: np.ndarray | None) -> Self:
        """Learn nothing."""
        return self

    def combine(self, probability: np.ndarray) -> np.ndarray:
        """Average each row."""
        return np.asarray(np.nansum(probability, axis=1) / np.isfinite(probability).sum(axis=1))


class InverseBrier(BaseEstimator):  # type: ignore[misc]
    """A mean weighted by 1 / Brier score. ``weights_`` are per modality and add up to 1."""

    def fit(self, outcome: np.ndarray, outside: np.ndarray) -> Self:
        """Weigh each modality by how well it predicts rows it was not trained on."""
        # A modality without an inner prediction counts as one that says the prevalence.
        outside = np.where(np.isfinite(outside).any(axis=0), outside, outcome.mean())
        brier = np.nanmean((outside - outcome[:, None]) ** 2, axis=0)
        inverse = 1 / np.maximum(brier, 1e-3)  # a perfect modality does not silence the others
        self.weights_ = inverse / inverse.sum()
        return self

    def combine(self, probability: np.ndarray) -> np.ndarray:
        """Average each row with the weights of what is there."""
        weights = np.where(np.isfinite(probability), self.weights_, 0.0)
        return np.asarray((weights * np.nan_to_num(probability)).sum(axis=1) / weights.sum(axis=1))


class Stacked(BaseEstimator):  # type: ignore[misc]
    """Logistic regression on log odds, weights not below 0. ``weights_`` per modality, ``intercept_``.

    Parameters
    ----------
    strength : inverse of the squared penalty on the weights; the intercept has none.
    """

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def fit(self, outcome: np.ndarray, outside: np.ndarray) -> Self:
        """Minimise the penalised log loss of inner out-of-fold predictions."""
        from scipy.optimize import minimize

        self.neutral_ = float(log_odds(np.asarray(outcome.mean())))
        design = np.column_stack([np.ones(len(outcome)), self._evidence(outside)])
        sign = np.where(outcome == 1, 1.0, -1.0)

        def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
            score = sign * (design @ weights)
            penalty = np.concatenate([[0.0], weights[1:]]) / self.strength
            value = np.logaddexp(0, -score).sum() + 0.5 * penalty @ weights
            return value, -(design * (sign * expit(-score))[:, None]).sum(axis=0) + penalty

        start = np.zeros(design.shape[1])
        bounds = [(None, None)] + [(0.0, None)] * (len(start) - 1)
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-8})
        self.intercept_, self.weights_ = float(found.x[0]), np.asarray(found.x[1:])
        return self

    def combine(self, probability: np.ndarray) -> np.ndarray:
        """Predict each row."""
        return np.asarray(expit(self.intercept_ + self._evidence(probability) @ self.weights_))

    def _evidence(self, probability: np.ndarray) -> np.ndarray:
        return np.asarray(np.nan_to_num(log_odds(probability) - self.neutral_))


class Evidence(BaseEstimator):  # type: ignore[misc]
    """Log odds added up, the prevalence counted once: ``logit p = sum logit p_m - (M - 1) logit prevalence``."""

    def fit(self, outcome: np.ndarray, outside: np.ndarray | None) -> Self:
        """Learn the prevalence."""
        self.neutral_ = float(log_odds(np.asarray(outcome.mean())))
        return self

    def combine(self, probability: np.ndarray) -> np.ndarray:
        """Add up the evidence of what is there."""
        return np.asarray(expit(self.neutral_ + np.nansum(log_odds(probability) - self.neutral_, axis=1)))


class Majority(BaseEstimator):  # type: ignore[misc]
    """The share of modalities that say yes; the mean probability decides between equals.

    Among patients with the same number of modalities the mean is never worth a vote.

    Parameters
    ----------
    threshold : above it a modality says yes; None is the training prevalence.
    """

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = threshold

    def fit(self, outcome: np.ndarray, outside: np.ndarray | None) -> Self:
        """Learn the prevalence where it is the threshold."""
        self.threshold_ = float(outcome.mean()) if self.threshold is None else self.threshold
        return self

    def combine(self, probability: np.ndarray) -> np.ndarray:
        """Count the votes of each row."""
        present = np.isfinite(probability)
        voters = present.sum(axis=1)
        votes = (np.where(present, probability, 0.0) > self.threshold_).sum(axis=1)
        mean = np.nansum(probability, axis=1) / voters
        # The mean can move a row by less than one vote of as many modalities as there are.
        return np.asarray((votes / voters * probability.shape[1] + mean) / (probability.shape[1] + 1))


class Margin(BaseEstimator):  # type: ignore[misc]
    """How far a row is inside a rule.

    Parameters
    ----------
    rule : see `radfuse.train.combinations.rule`.
    modalities : the columns.
    """

    def __init__(self, rule: str, modalities: list[str]) -> None:
        self.rule = rule
        self.modalities = modalities

    def fit(self, outcome: np.ndarray, outside: np.ndarray | None) -> Self:
        """Learn the prevalence, for rows of which nothing can be compared."""
        self.neutral_ = float(outcome.mean())
        return self

    def combine(self, probability: np.ndarray) -> np.ndarray:
        """Give the margin as a probability: above 1/2 where the rule holds."""
        columns = dict(zip(self.modalities, log_odds(probability).T, strict=True))
        inside = expit(margin(parse(self.rule), columns))
        return np.asarray(np.where(np.isnan(inside), self.neutral_, inside))
