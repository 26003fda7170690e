"""Early fusion as a scikit-learn classifier."""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from radfuse.train.steps.blocks import blocks_by_modality, has_both_classes, is_missing
from radfuse.train.steps.imputer import MISSING


class Concatenated(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Select per modality, put the columns side by side, and train one classifier.

    A modality's columns are selected on the training rows that have it. Where some training rows lack a modality,
    its missing flag is a feature too, since its imputed values say nothing.
    """

    def __init__(self, modalities: list[str], selector: Any, classifier: Any) -> None:
        self.modalities = modalities
        self.selector = selector
        self.classifier = classifier

    def fit(self, rows: pd.DataFrame, outcome: pd.Series) -> Self:
        """Learn the selection and the classifier."""
        target = np.asarray(outcome)
        self.classes_ = np.array([0, 1])
        self.columns_: dict[str, list[str]] = {}
        self.flags_: list[str] = []
        for modality, block in blocks_by_modality(rows, self.modalities).items():
            missing = is_missing(rows, modality)
            if has_both_classes(target[~missing]):
                selector = clone(self.selector).fit(block.of(~missing), target[~missing])
                self.columns_[modality] = [block.columns[i] for i in selector.chosen_]
            if missing.any():
                self.flags_.append(modality)
        self.classifier_ = clone(self.classifier).fit(self._joined(rows), target)
        return self

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities of outcome 0 and 1."""
        return np.asarray(self.classifier_.predict_proba(self._joined(rows)), dtype=float)

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """The likelier outcome."""
        return np.asarray(self.predict_proba(rows)[:, 1] > 0.5, dtype=int)

    def parts(self, rows: pd.DataFrame) -> Iterator[tuple[list[str], Any, np.ndarray]]:
        """Give what it is made of: the columns, the classifier and the values that it takes of some rows."""
        chosen = [column for columns in self.columns_.values() for column in columns]
        yield [*chosen, *(f"{MISSING}{modality}" for modality in self.flags_)], self.classifier_, self._joined(rows)

    def _joined(self, rows: pd.DataFrame) -> np.ndarray:
        chosen = [column for columns in self.columns_.values() for column in columns]
        flags = [is_missing(rows, modality).astype(float)[:, None] for modality in self.flags_]
        return np.hstack([rows[chosen].to_numpy(dtype=float), *flags])
