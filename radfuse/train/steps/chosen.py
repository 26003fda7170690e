"""One image chosen among several, as a scikit-learn classifier."""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from radfuse.errors import DataError
from radfuse.train.splits import deal_together
from radfuse.train.statistics import pair_auc
from radfuse.train.steps.blocks import blocks_by_modality, groups_of, has_both_classes, is_missing


class Chosen(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Choose the image that predicts best inside the training rows, and train on that one alone.

    Every candidate is judged by the same inner folds: selection and classifier are fitted on the rest, and the AUC
    counts pairs within an inner fold. The choice is part of the model, so what it costs is part of its outer AUC.

    Parameters
    ----------
    modalities : the candidates; of equals the first wins. ``scores_`` holds each one's inner AUC.
    folds, repeats : of the inner cross-validation.
    seed : deals the inner folds.
    """

    def __init__(
        self, modalities: list[str], selector: Any, classifier: Any, folds: int = 5, repeats: int = 2, seed: int = 0
    ) -> None:
        self.modalities = modalities
        self.selector = selector
        self.classifier = classifier
        self.folds = folds
        self.repeats = repeats
        self.seed = seed

    def fit(self, rows: pd.DataFrame, outcome: pd.Series) -> Self:
        """Choose, then learn selection and classifier on all rows that have the chosen image."""
        target = np.asarray(outcome)
        self.classes_ = np.array([0, 1])
        self.prevalence_ = float(target.mean())
        self.scores_: dict[str, float] = {}
        candidates = blocks_by_modality(rows, self.modalities)
        for modality, block in candidates.items():
            present = ~is_missing(rows, modality)
            if has_both_classes(target[present]):
                self.scores_[modality] = self._inner_auc(block.of(present), target[present], groups_of(rows)[present])
        if not self.scores_:
            raise DataError(
                f"none of {', '.join(self.modalities)} has both outcomes among the training rows",
                hint="The images are missing in too many subjects to be judged; leave them out.",
            )
        self.chosen_ = max(self.scores_, key=self.scores_.__getitem__)
        block, present = candidates[self.chosen_], ~is_missing(rows, self.chosen_)
        values = block.of(present)
        selector = clone(self.selector).fit(values, target[present])
        self.columns_ = {self.chosen_: [block.columns[i] for i in selector.chosen_]}
        self.classifier_ = clone(self.classifier).fit(selector.transform(values), target[present])
        return self

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities of outcome 0 and 1; a row without the chosen image gets the training rows' share of 1."""
        values = np.ascontiguousarray(rows[self.columns_[self.chosen_]].to_numpy(dtype=float))
        one = np.asarray(self.classifier_.predict_proba(values)[:, 1], dtype=float)
        one = np.where(is_missing(rows, self.chosen_), self.prevalence_, one)
        return np.column_stack([1 - one, one])

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """The likelier outcome."""
        return np.asarray(self.predict_proba(rows)[:, 1] > 0.5, dtype=int)

    def parts(self, rows: pd.DataFrame) -> Iterator[tuple[list[str], Any, np.ndarray]]:
        """Give what it is made of: the columns, the classifier and the values that it takes of some rows."""
        columns = self.columns_[self.chosen_]
        yield columns, self.classifier_, np.ascontiguousarray(rows[columns].to_numpy(dtype=float))

    def _inner_auc(self, values: np.ndarray, target: np.ndarray, groups: np.ndarray) -> float:
        parts = max(2, min(self.folds, int(target.sum()), int((1 - target).sum())))
        found = []
        for repeat in range(self.repeats):
            part = deal_together(target, groups, parts, np.random.default_rng([self.seed, repeat]))
            for fold in range(parts):
                inside = part != fold
                if not has_both_classes(target[inside]) or not has_both_classes(target[~inside]):
                    continue
                selector = clone(self.selector).fit(values[inside], target[inside])
                classifier = clone(self.classifier).fit(selector.transform(values[inside]), target[inside])
                score = classifier.predict_proba(selector.transform(values[~inside]))[:, 1]
                found.append(pair_auc(target[~inside], score))
        return float(np.mean(found)) if found else 0.5
