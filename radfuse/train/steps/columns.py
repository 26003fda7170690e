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
        known = self._present(rows)
        kept = rows[[column for column in self.columns if column in known]]
        # Not `assign`: rows with a modality taken out are in so many pieces that pandas would warn.
        marks = {mark: rows[mark] if mark in known else 0.0 for mark in self.marks}
        return pd.concat([kept, pd.DataFrame(marks, rows.index, dtype=float)], axis=1) if marks else kept

    def _present(self, rows: pd.DataFrame) -> set[str]:
        known = set(rows.columns)
        missing = [column for column in self.columns if column not in known and column not in self.fitting]
        if missing:
            raise DataError(
                f"the table lacks {len(missing)} of the {len(self.columns)} columns the model was trained on, "
                f"first {missing[0]!r}",
                hint="Extract the features with the settings of the training run.",
            )
        return known
