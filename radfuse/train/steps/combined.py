"""Late fusion as a scikit-learn classifier; with one modality it is that modality alone."""

from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression

from radfuse.errors import DataError
from radfuse.train.splits import deal_together
from radfuse.train.steps.blocks import columns_by_modality, groups_of, has_both_classes, is_missing

INNER = 5


class Averaged(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Train one classifier per modality and average the probabilities over the modalities that a row has.

    Each classifier is trained on the rows that have its modality; a modality whose training rows hold one outcome
    only takes no part. A row with none of the modalities gets the training rows' share of outcome 1.

    Parameters
    ----------
    calibrate_from : rows of a modality from which its probabilities are calibrated; None never does.
    seed : deals the inner folds of the calibration.
    """

    def __init__(
        self, modalities: list[str], selector: Any, classifier: Any, calibrate_from: int | None = None, seed: int = 0
    ) -> None:
        self.modalities = modalities
        self.selector = selector
        self.classifier = classifier
        self.calibrate_from = calibrate_from
        self.seed = seed

    def fit(self, rows: pd.DataFrame, outcome: pd.Series) -> Self:
        """Learn a selection and a classifier per modality."""
        target = np.asarray(outcome)
        self.classes_ = np.array([0, 1])
        self.prevalence_ = float(target.mean())
        self.columns_: dict[str, list[str]] = {}
        self.classifiers_: dict[str, Any] = {}
        self.calibrations_: dict[str, list[float]] = {}
        for modality, columns in columns_by_modality(rows, self.modalities).items():
            present = ~is_missing(rows, modality)
            if not has_both_classes(target[present]):
                continue
            values = rows.loc[present, columns].to_numpy(dtype=float)
            selector = clone(self.selector).fit(values, target[present])
            self.columns_[modality] = [columns[i] for i in selector.chosen_]
            self.classifiers_[modality] = clone(self.classifier).fit(selector.transform(values), target[present])
            if self.calibrate_from is not None and len(values) >= self.calibrate_from:
                self.calibrations_[modality] = self._calibrate(values, target[present], groups_of(rows)[present])
        if not self.classifiers_:
            raise DataError(
                f"no modality of {', '.join(self.modalities)} has both outcomes among the training rows",
                hint="The modality is missing in too many subjects to be judged; leave it out.",
            )
        return self

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities of outcome 0 and 1."""
        total, count = np.zeros(len(rows)), np.zeros(len(rows))
        for modality, classifier in self.classifiers_.items():
            present = ~is_missing(rows, modality)
            values = np.ascontiguousarray(rows[self.columns_[modality]].to_numpy(dtype=float))
            one = np.asarray(classifier.predict_proba(values)[:, 1], dtype=float)
            if modality in self.calibrations_:
                slope, intercept = self.calibrations_[modality]
                one = expit(slope * log_odds(one) + intercept)
            total += np.where(present, one, 0.0)
            count += present
        one = np.divide(total, count, out=np.full(len(rows), self.prevalence_), where=count > 0)
        return np.column_stack([1 - one, one])

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """The likelier outcome."""
        return np.asarray(self.predict_proba(rows)[:, 1] > 0.5, dtype=int)

    def _calibrate(self, values: np.ndarray, target: np.ndarray, groups: np.ndarray) -> list[float]:
        """Slope and intercept of the outcome's log odds on those of inner out-of-fold predictions.

        A modality that predicts worse than chance there gets slope 0: it then says the prevalence for everyone.
        """
        part = deal_together(target, groups, INNER, np.random.default_rng(self.seed))
        outside = np.empty(len(target))
        for fold in range(INNER):
            inside = part != fold
            if not has_both_classes(target[inside]):
                return [1.0, 0.0]
            selector = clone(self.selector).fit(values[inside], target[inside])
            classifier = clone(self.classifier).fit(selector.transform(values[inside]), target[inside])
            outside[~inside] = classifier.predict_proba(selector.transform(values[~inside]))[:, 1]
        fitted = LogisticRegression(C=100.0).fit(log_odds(outside)[:, None], target)
        slope = float(fitted.coef_[0, 0])
        if slope <= 0:
            return [0.0, float(log_odds(target.mean()[None])[0])]
        return [slope, float(fitted.intercept_[0])]


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Log odds, of probabilities kept a millionth away from 0 and 1."""
    return np.asarray(logit(np.clip(probability, 1e-6, 1 - 1e-6)))
