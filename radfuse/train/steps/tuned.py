"""A classifier's settings, chosen inside the training rows."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from radfuse.train.splits import deal_together
from radfuse.train.statistics import pair_auc
from radfuse.train.steps.blocks import groups_of, has_both_classes, is_missing

FOLDS, REPEATS = 5, 2


class Tuned(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Fit a fusion strategy with each of several classifiers in inner folds, and keep the one that predicts best.

    The whole strategy is judged, so that features are selected anew in each inner fold: features selected on all
    training rows would make every setting look better than it is, the boldest most [Cawley & Talbot, JMLR 11:2079,
    2010]. Judged by the AUC of pairs within an inner fold, the measure of the arms themselves, averaged; of equals the
    first wins. The rows of a patient stay together. Where no inner fold holds both outcomes on both sides, nothing can
    be judged, and the strategy keeps the classifier it came with: the settings as they are declared.

    ``strategy_`` is the winner fitted on all training rows; its ``tuning_`` holds the settings chosen.

    Parameters
    ----------
    strategy : an unfitted one of `radfuse.train.fusion`, with ``modalities`` and ``classifier``.
    classifiers : unfitted; what is tried.
    settings : what each of them is called, in plain values.
    seed : deals the inner folds.
    """

    def __init__(self, strategy: Any, classifiers: list[Any], settings: list[dict[str, Any]], seed: int = 0) -> None:
        self.strategy = strategy
        self.classifiers = classifiers
        self.settings = settings
        self.seed = seed

    def fit(self, rows: pd.DataFrame, outcome: pd.Series) -> Self:
        """Choose, then fit the strategy on all rows."""
        from sklearn.model_selection import GridSearchCV

        target = np.asarray(outcome)
        self.classes_ = np.array([0, 1])
        folds = self._inner(rows, target)
        if not folds:
            self.strategy_ = clone(self.strategy).fit(rows, outcome)
            self.strategy_.tuning_ = {}
            return self
        search = GridSearchCV(
            self.strategy, {"classifier": self.classifiers}, scoring=_within, cv=folds, error_score="raise", refit=_best
        )
        search.fit(rows, outcome)
        self.scores_ = np.asarray(search.cv_results_["mean_test_score"], dtype=float)
        self.strategy_ = search.best_estimator_
        self.strategy_.tuning_ = dict(self.settings[search.best_index_])
        return self

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities of outcome 0 and 1."""
        return np.asarray(self.strategy_.predict_proba(rows), dtype=float)

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """The likelier outcome."""
        return np.asarray(self.strategy_.predict(rows))

    def _inner(self, rows: pd.DataFrame, target: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Inner folds, as row positions, in which a strategy can be trained and judged."""
        groups = groups_of(rows)
        parts = max(2, min(FOLDS, int(target.sum()), int((1 - target).sum())))
        found = []
        for repeat in range(REPEATS):
            part = deal_together(target, groups, parts, np.random.default_rng([self.seed, repeat]))
            for fold in range(parts):
                inside = part != fold
                if self._trainable(rows, target, inside) and has_both_classes(target[~inside]):
                    found.append((np.flatnonzero(inside), np.flatnonzero(~inside)))
        return found

    def _trainable(self, rows: pd.DataFrame, target: np.ndarray, inside: np.ndarray) -> bool:
        present = [inside & ~is_missing(rows, modality) for modality in self.strategy.modalities]
        return any(has_both_classes(target[each]) for each in present)


def _best(results: Mapping[str, Any]) -> int:
    """The first of the best; the order in which AUCs are added up is not what makes one better."""
    return int(np.argmax(np.round(results["mean_test_score"], 12)))


def _within(model: Any, rows: pd.DataFrame, outcome: pd.Series) -> float:
    return pair_auc(np.asarray(outcome), np.asarray(model.predict_proba(rows), dtype=float)[:, 1])
