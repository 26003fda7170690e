"""Boosted trees that take both outcomes for equally common."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone


class Balanced(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Give XGBoost the training rows' ratio of outcome 0 to 1 as ``scale_pos_weight``, the weight of each event.

    Parameters
    ----------
    classifier : an unfitted ``XGBClassifier``.
    """

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    def fit(self, values: np.ndarray, outcome: np.ndarray) -> Self:
        """Learn the ratio, and the trees."""
        target = np.asarray(outcome)
        self.classes_ = np.array([0, 1])
        ratio = float((target == 0).sum() / max((target == 1).sum(), 1))
        self.classifier_ = clone(self.classifier).set_params(scale_pos_weight=ratio).fit(values, target)
        return self

    def predict_proba(self, values: np.ndarray) -> np.ndarray:
        """Probabilities of outcome 0 and 1, as if they were equally common."""
        return np.asarray(self.classifier_.predict_proba(values), dtype=float)

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The likelier outcome."""
        return np.asarray(self.predict_proba(values)[:, 1] > 0.5, dtype=int)
