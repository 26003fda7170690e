"""A classifier's margins as probabilities."""

from typing import Any, Self

import numpy as np
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone

INNER = 3
# A slope that says next to nothing and still keeps the order.
FLATTEST = 1e-3


class Margin(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Fit a sigmoid to inner out-of-fold margins [Platt 1999]; it rises, so that no patient changes places.

    The inner folds do not know which rows belong to one patient: that can make probabilities too sure, never their
    order. With fewer than two training rows of an outcome the margin itself is taken for the log odds.

    Parameters
    ----------
    classifier : an unfitted one with ``decision_function``.
    seed : deals the inner folds.
    """

    def __init__(self, classifier: Any, seed: int = 0) -> None:
        self.classifier = classifier
        self.seed = seed

    def fit(self, values: np.ndarray, outcome: np.ndarray) -> Self:
        """Learn the classifier, and the sigmoid."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        target = np.asarray(outcome)
        self.classes_ = np.array([0, 1])
        self.classifier_ = clone(self.classifier).fit(values, target)
        self.slope_, self.intercept_ = 1.0, 0.0
        rarer = int(min((target == 1).sum(), (target == 0).sum()))
        if rarer >= 2:
            inner = StratifiedKFold(min(INNER, rarer), shuffle=True, random_state=self.seed)
            outside = cross_val_predict(self.classifier, values, target, cv=inner, method="decision_function")
            sigmoid = LogisticRegression(C=100.0).fit(outside[:, None], target)
            self.slope_, self.intercept_ = float(sigmoid.coef_[0, 0]), float(sigmoid.intercept_[0])
            if self.slope_ < FLATTEST:
                self.slope_, self.intercept_ = FLATTEST, float(logit(target.mean()))
        return self

    def predict_proba(self, values: np.ndarray) -> np.ndarray:
        """Probabilities of outcome 0 and 1."""
        one = expit(self.slope_ * self.classifier_.decision_function(values) + self.intercept_)
        return np.column_stack([1 - one, one])

    def predict(self, values: np.ndarray) -> np.ndarray:
        """The likelier outcome."""
        return np.asarray(self.predict_proba(values)[:, 1] > 0.5, dtype=int)
