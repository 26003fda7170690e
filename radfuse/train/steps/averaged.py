"""Late fusion as a scikit-learn classifier; with one modality it is that modality alone."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from radfuse.errors import DataError
from radfuse.train.steps.blocks import columns_by_modality, has_both_classes, is_missing


class Averaged(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Train one classifier per modality and average the probabilities over the modalities that a row has.

    Each classifier is trained on the rows that have its modality; a modality whose training rows hold one outcome
    only takes no part. A row with none of the modalities gets the training rows' share of outcome 1.
    """

    def __init__(self, modalities: list[str], selector: Any, classifier: Any) -> None:
        self.modalities = modalities
        self.selector = selector
        self.classifier = classifier

    def fit(self, rows: pd.DataFrame, outcome: pd.Series) -> Self:
        """Learn a selection and a classifier per modality."""
        target = np.asarray(outcome)
        self.classes_ = np.array([0, 1])
        self.prevalence_ = float(target.mean())
        self.columns_: dict[str, list[str]] = {}
        self.classifiers_: dict[str, Any] = {}
        for modality, columns in columns_by_modality(rows, self.modalities).items():
            present = ~is_missing(rows, modality)
            if not has_both_classes(target[present]):
                continue
            values = rows.loc[present, columns].to_numpy(dtype=float)
            selector = clone(self.selector).fit(values, target[present])
            self.columns_[modality] = [columns[i] for i in selector.chosen_]
            self.classifiers_[modality] = clone(self.classifier).fit(selector.transform(values), target[present])
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
            total += np.where(present, classifier.predict_proba(values)[:, 1], 0.0)
            count += present
        one = np.divide(total, count, out=np.full(len(rows), self.prevalence_), where=count > 0)
        return np.column_stack([1 - one, one])

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """The likelier outcome."""
        return np.asarray(self.predict_proba(rows)[:, 1] > 0.5, dtype=int)
