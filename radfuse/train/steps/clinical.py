"""Clinical facts as feature columns."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.data.names import column
from radfuse.data.table import CONTEXT, context_columns
from radfuse.train.clinical import CLINICAL, HIDDEN
from radfuse.train.steps.imputer import MISSING


class Clinical(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Put the facts beside the features, as columns ``clinical.<fact>``, learning from the training rows alone.

    Comes after the harmoniser, so that facts are never harmonised. Numbers (and yes or no) stay as they are. Text
    becomes one column per level seen in training, of two levels one: ``clinical.<fact>=<level>``; a level never seen
    sets none of them. A missing number becomes the training median, a missing text the commonest training level.
    ``@missing.clinical`` flags the rows of which nothing is known. ``dropped_`` lists facts that no training row has.

    Parameters
    ----------
    facts : subject columns.
    """

    def __init__(self, facts: Sequence[str]) -> None:
        self.facts = facts

    def fit(self, rows: pd.DataFrame, outcome: object = None) -> Self:
        """Learn levels, and what to put for missing values."""
        self.levels_: dict[str, list[str]] = {}
        self.commonest_: dict[str, str] = {}
        self.medians_: dict[str, float] = {}
        self.dropped_: list[str] = []
        for fact in self.facts:
            known = rows[f"{CONTEXT}{fact}"].dropna()
            if known.empty:
                self.dropped_.append(fact)
            elif is_numeric_dtype(known):
                self.medians_[fact] = float(np.median(known.to_numpy(dtype=float)))
            else:
                text = known.astype(str)
                levels = sorted(set(text))
                counts = [int((text == level).sum()) for level in levels]
                self.levels_[fact] = levels[1:] if len(levels) == 2 else levels
                self.commonest_[fact] = levels[int(np.argmax(counts))]
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Give the rows with the clinical columns and their flag, and without the mark of withheld facts."""
        hidden = np.zeros(len(rows), bool)
        if HIDDEN in rows.columns:
            hidden = rows[HIDDEN].to_numpy(dtype=float) > 0.5
        told = [f"{CONTEXT}{fact}" for fact in self.facts if fact not in self.dropped_]
        known = rows[told].notna().any(axis=1).to_numpy(dtype=bool) & ~hidden
        made: dict[str, np.ndarray] = {}
        for fact in self.facts:
            if fact in self.medians_:
                made[column(CLINICAL, fact)] = self._numbers(rows, fact, hidden)
            elif fact in self.levels_:
                text = self._text(rows, fact, hidden)
                made |= {column(CLINICAL, f"{fact}={level}"): text == level for level in self.levels_[fact]}
        made[f"{MISSING}{CLINICAL}"] = ~known
        context = [name for name in context_columns(rows) if name != HIDDEN]
        features = [name for name in rows.columns if not str(name).startswith(CONTEXT)]
        return pd.concat([rows[features], pd.DataFrame(made, rows.index, dtype=float), rows[context]], axis=1)

    def _numbers(self, rows: pd.DataFrame, fact: str, hidden: np.ndarray) -> np.ndarray:
        numbers = pd.to_numeric(rows[f"{CONTEXT}{fact}"]).to_numpy(dtype=float, na_value=np.nan)
        return np.where(hidden | ~np.isfinite(numbers), self.medians_[fact], numbers)

    def _text(self, rows: pd.DataFrame, fact: str, hidden: np.ndarray) -> np.ndarray:
        facts = rows[f"{CONTEXT}{fact}"]
        known = facts.notna().to_numpy() & ~hidden
        return np.array([str(v) if k else self.commonest_[fact] for v, k in zip(facts, known, strict=True)], dtype=str)
