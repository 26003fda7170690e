"""The baselines' columns: volume, batch labels, clinical facts."""

from typing import Self

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.base import BaseEstimator, TransformerMixin


class Facts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn plain columns into standardised numbers, learning from the training rows alone.

    Numbers: the logarithm where asked, the training median where missing, then mean 0 and deviation 1. Text: one
    column per level seen in training; a level not seen, or seen by all, adds nothing.

    Parameters
    ----------
    logarithms : the columns, volumes for example, to take the logarithm of; a value not above 0 counts as missing.
    """

    def __init__(self, logarithms: tuple[str, ...] = ()) -> None:
        self.logarithms = logarithms

    def fit(self, rows: pd.DataFrame, outcome: object = None) -> Self:
        """Learn levels, medians, means and deviations."""
        self.columns_ = list(rows.columns)
        self.levels_: dict[str, list[str]] = {}
        self.medians_: dict[str, float] = {}
        for column in self.columns_:
            if not is_numeric_dtype(rows[column]):
                self.levels_[column] = sorted(set(_text(rows[column])))
                continue
            known = self._numbers(rows, column)
            known = known[~np.isnan(known)]
            self.medians_[column] = float(np.median(known)) if len(known) else 0.0
        numbers = self._encode(rows)
        self.mean_ = numbers.mean(axis=0)
        deviation = numbers.std(axis=0)
        self.scale_ = np.where(deviation > 1e-12 * np.maximum(np.abs(self.mean_), 1.0), deviation, np.inf)
        return self

    def transform(self, rows: pd.DataFrame) -> np.ndarray:
        """Give the standardised numbers."""
        return np.asarray((self._encode(rows) - self.mean_) / self.scale_)

    def _encode(self, rows: pd.DataFrame) -> np.ndarray:
        parts = []
        for column in self.columns_:
            if column in self.levels_:
                parts.append((_text(rows[column])[:, None] == np.array(self.levels_[column])[None, :]).astype(float))
                continue
            numbers = self._numbers(rows, column)
            parts.append(np.where(np.isnan(numbers), self.medians_[column], numbers)[:, None])
        return np.hstack(parts)

    def _numbers(self, rows: pd.DataFrame, column: str) -> np.ndarray:
        numbers = rows[column].to_numpy(dtype=float, na_value=np.nan)
        if column in self.logarithms:
            numbers = np.log(np.where(numbers > 0, numbers, np.nan))
        return np.where(np.isinf(numbers), np.nan, numbers)


def _text(column: pd.Series) -> np.ndarray:
    return np.array(["missing" if pd.isna(value) else str(value) for value in column], dtype=str)
