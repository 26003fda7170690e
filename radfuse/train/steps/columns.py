"""The first step: keep the columns that an arm may look at."""

from collections.abc import Sequence
from typing import Self

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.errors import DataError


class Columns(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Keep the named columns, in that order. Learns nothing.

    Parameters
    ----------
    columns : what to keep.
    fitting : those of them that only fitting needs (the patient of each row, for inner folds); new rows may lack them.
    marks : further columns, of numbers; 0 in rows that lack them.
    """

    def __init__(self, columns: Sequence[str], fitting: Sequence[str] = (), marks: Sequence[str] = ()) -> None:
        self.columns = columns
        self.fitting = fitting
        self.marks = marks

    def fit(self, rows: pd.DataFrame, outcome: object = None) -> Self:
        """Check that the columns are there."""
        self._present(rows)
        self.fitted_ = True
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Give the named columns."""
        if rows.columns.tolist() == self.columns and not self.marks:
            return rows
        places = self._present(rows)
        kept = rows.iloc[:, [places[column] for column in self.columns if column in places]]
        # Not `assign`: rows may be in so many pieces that pandas would warn.
        marks = {mark: rows[mark] if mark in places else 0.0 for mark in self.marks}
        return pd.concat([kept, pd.DataFrame(marks, rows.index, dtype=float)], axis=1) if marks else kept

    def _present(self, rows: pd.DataFrame) -> dict[str, int]:
        """Where each of the rows' columns is, once it is sure that none is missing."""
        places = {column: place for place, column in enumerate(rows.columns.tolist())}
        missing = [column for column in self.columns if column not in places and column not in self.fitting]
        if missing:
            raise DataError(
                f"the table lacks {len(missing)} of the {len(self.columns)} columns the model was trained on, "
                f"first {missing[0]!r}",
                hint="Extract the features with the settings of the training run.",
            )
        return places
