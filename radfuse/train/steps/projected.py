"""The linear form of intermediate fusion as a scikit-learn classifier."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from radfuse.errors import DataError
from radfuse.train.steps.blocks import blocks_by_modality, has_both_classes, is_missing


class Projected(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Select per modality, project the modalities onto few components, and train one classifier on those.

    A modality whose training rows hold one outcome only takes no part.

    Parameters
    ----------
    projection : an unfitted one of `radfuse.train.steps.projections`.
    features : most features of a modality that are projected; None takes all of them, without a selection.
    """

    def __init__(
        self, modalities: list[str], selector: Any, classifier: Any, projection: Any, features: int | None = None
    ) -> None:
        self.modalities = modalities
        self.selector = selector
        self.classifier = classifier
        self.projection = projection
        self.features = features

    def fit(self, rows: pd.DataFrame, outcome: pd.Series) -> Self:
        """Learn the selection, the components and the classifier."""
        target = np.asarray(outcome)
        self.classes_ = np.array([0, 1])
        self.columns_: dict[str, list[str]] = {}
        self.mean_: dict[str, np.ndarray] = {}
        self.deviation_: dict[str, np.ndarray] = {}
        present = {}
        for modality, block in blocks_by_modality(rows, self.modalities).items():
            here = ~is_missing(rows, modality)
            if not has_both_classes(target[here]):
                continue
            values = block.of(here)
            chosen = self._chosen(values, target[here])
            # Scaled rows have mean 0 over everyone, also over those whose modality was filled in.
            mean, deviation = values[:, chosen].mean(axis=0), values[:, chosen].std(axis=0)
            self.columns_[modality] = [block.columns[i] for i in chosen]
            self.mean_[modality] = mean
            self.deviation_[modality] = np.where(deviation > 1e-9 * np.maximum(np.abs(mean), 1.0), deviation, np.inf)
            present[modality] = here
        if not self.columns_:
            raise DataError(
                f"no modality of {', '.join(self.modalities)} has both outcomes among the training rows",
                hint="The modality is missing in too many subjects to be judged; leave it out.",
            )
        with threadpool_limits(1):  # sums over threads would round differently
            blocks = self._blocks(rows)
            self.projection_ = clone(self.projection).fit(blocks, present, target)
            self.classifier_ = clone(self.classifier).fit(self._scores(blocks), target)
        return self

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities of outcome 0 and 1."""
        with threadpool_limits(1):
            return np.asarray(self.classifier_.predict_proba(self._scores(self._blocks(rows))), dtype=float)

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """The likelier outcome."""
        return np.asarray(self.predict_proba(rows)[:, 1] > 0.5, dtype=int)

    def _chosen(self, values: np.ndarray, target: np.ndarray) -> np.ndarray:
        if self.features is None:
            return np.arange(values.shape[1])
        selector = clone(self.selector).set_params(events_per_feature=0, most=self.features)
        return np.asarray(selector.fit(values, target).chosen_)

    def _blocks(self, rows: pd.DataFrame) -> dict[str, np.ndarray]:
        blocks = {}
        for modality, columns in self.columns_.items():
            values = (rows[columns].to_numpy(dtype=float) - self.mean_[modality]) / self.deviation_[modality]
            blocks[modality] = np.where(is_missing(rows, modality)[:, None], 0.0, values)
        return blocks

    def _scores(self, blocks: dict[str, np.ndarray]) -> np.ndarray:
        scores = np.asarray(self.projection_.transform(blocks))
        # Where nothing goes with the outcome there is no component, and a classifier needs one column.
        return np.ascontiguousarray(scores) if scores.shape[1] else np.zeros((len(scores), 1))
