"""Late fusion as a scikit-learn classifier; with one modality it is that modality alone."""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression

from radfuse.errors import DataError
from radfuse.train.splits import deal_together
from radfuse.train.steps.blocks import blocks_by_modality, groups_of, has_both_classes, is_missing
from radfuse.train.steps.combiners import log_odds

INNER = 5


class Combined(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Train one classifier per modality and combine the probabilities of the modalities that a row has.

    Each classifier is trained on the rows that have its modality; a modality whose training rows hold one outcome
    only takes no part. A row with none of the modalities gets the training rows' share of outcome 1.

    Parameters
    ----------
    combiner : an unfitted one of `radfuse.train.steps.combiners`, its columns being ``modalities``.
    learns : whether it is fitted to inner out-of-fold probabilities.
    calibrate_from : rows of a modality from which its probabilities are calibrated; None never does.
    seed : deals the inner folds.
    """

    def __init__(
        self,
        modalities: list[str],
        selector: Any,
        classifier: Any,
        combiner: Any,
        learns: bool = False,
        calibrate_from: int | None = None,
        seed: int = 0,
    ) -> None:
        self.modalities = modalities
        self.selector = selector
        self.classifier = classifier
        self.combiner = combiner
        self.learns = learns
        self.calibrate_from = calibrate_from
        self.seed = seed

    def fit(self, rows: pd.DataFrame, outcome: pd.Series) -> Self:
        """Learn a selection and a classifier per modality, and how to combine them."""
        target = np.asarray(outcome)
        self.classes_ = np.array([0, 1])
        self.prevalence_ = float(target.mean())
        self.columns_: dict[str, list[str]] = {}
        self.classifiers_: dict[str, Any] = {}
        self.calibrations_: dict[str, list[float]] = {}
        outside = np.full((len(rows), len(self.modalities)), np.nan)
        for modality, block in blocks_by_modality(rows, self.modalities).items():
            present = ~is_missing(rows, modality)
            if not has_both_classes(target[present]):
                continue
            values = block.of(present)
            selector, classifier = self._trained(values, target[present])
            self.columns_[modality] = [block.columns[i] for i in selector.chosen_]
            self.classifiers_[modality] = classifier
            calibrated = self.calibrate_from is not None and len(values) >= self.calibrate_from
            if calibrated or self.learns:
                inner = self._out_of_fold(values, target[present], groups_of(rows)[present])
                if calibrated:
                    self.calibrations_[modality] = _calibration(inner, target[present])
                outside[present, self.modalities.index(modality)] = self._calibrated(modality, inner)
        if not self.classifiers_:
            raise DataError(
                f"no modality of {', '.join(self.modalities)} has both outcomes among the training rows",
                hint="The modality is missing in too many subjects to be judged; leave it out.",
            )
        self.combiner_ = clone(self.combiner).fit(target, outside if self.learns else None)
        return self

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities of outcome 0 and 1."""
        each = self.probabilities(rows)
        one = np.full(len(rows), self.prevalence_)
        known = np.isfinite(each).any(axis=1)
        if known.any():
            one[known] = self.combiner_.combine(each[known])
        return np.column_stack([1 - one, one])

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """The likelier outcome."""
        return np.asarray(self.predict_proba(rows)[:, 1] > 0.5, dtype=int)

    def probabilities(self, rows: pd.DataFrame) -> np.ndarray:
        """Probability of outcome 1 by each modality alone (rows x modalities), NaN where a row lacks it."""
        each = np.full((len(rows), len(self.modalities)), np.nan)
        for modality, classifier in self.classifiers_.items():
            values = np.ascontiguousarray(rows[self.columns_[modality]].to_numpy(dtype=float))
            one = self._calibrated(modality, np.asarray(classifier.predict_proba(values)[:, 1], dtype=float))
            each[:, self.modalities.index(modality)] = np.where(is_missing(rows, modality), np.nan, one)
        return each

    def parts(self, rows: pd.DataFrame) -> Iterator[tuple[list[str], Any, np.ndarray]]:
        """Give what it is made of: the columns, the classifier and the values that it takes of some rows."""
        for modality, classifier in self.classifiers_.items():
            columns = self.columns_[modality]
            yield columns, classifier, np.ascontiguousarray(rows[columns].to_numpy(dtype=float))

    def _trained(self, values: np.ndarray, target: np.ndarray) -> tuple[Any, Any]:
        selector = clone(self.selector).fit(values, target)
        return selector, clone(self.classifier).fit(selector.transform(values), target)

    def _out_of_fold(self, values: np.ndarray, target: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Probabilities from models that did not see the row's group; NaN where too few rows remain to train one."""
        part = deal_together(target, groups, INNER, np.random.default_rng(self.seed))
        outside = np.full(len(target), np.nan)
        for fold in range(INNER):
            inside = part != fold
            if has_both_classes(target[inside]) and not inside.all():
                selector, classifier = self._trained(values[inside], target[inside])
                outside[~inside] = classifier.predict_proba(selector.transform(values[~inside]))[:, 1]
        return outside

    def _calibrated(self, modality: str, one: np.ndarray) -> np.ndarray:
        if modality not in self.calibrations_:
            return one
        slope, intercept = self.calibrations_[modality]
        return np.asarray(expit(slope * log_odds(one) + intercept))


def _calibration(outside: np.ndarray, target: np.ndarray) -> list[float]:
    """Slope and intercept of the outcome's log odds on those of inner out-of-fold predictions [Platt 1999].

    A modality that predicts worse than chance there gets slope 0: it then says the prevalence for everyone.
    """
    if np.isnan(outside).any():
        return [1.0, 0.0]
    fitted = LogisticRegression(C=100.0).fit(log_odds(outside)[:, None], target)
    slope = float(fitted.coef_[0, 0])
    if slope <= 0:
        return [0.0, float(log_odds(target.mean()[None])[0])]
    return [slope, float(fitted.intercept_[0])]
