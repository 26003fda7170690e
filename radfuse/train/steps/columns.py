"""The first step: keep the columns that an arm may look at."""

from collections.abc import Sequence
from typing import Self

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.errors import DataError


class Columns(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Keep the named columns, in that order. Learns nothing."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns

    def fit(self, rows: pd.DataFrame, outcome: object = None) -> Self:
        """Check that the columns are there."""
        self._present(rows)
        self.fitted_ = True
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Give the named columns."""
        self._present(rows)
        return rows[list(self.columns)]

    def _present(self, rows: pd.DataFrame) -> None:
        known = set(rows.columns)
        missing = [column for column in self.columns if column not in known]
        if missing:
            raise DataError(
                f"the table lacks {len(missing)} of the {len(self.columns)} columns the model was trained on, "
                f"first {missing[0]!r}",
                hint="Extract the features with the settings of the training run.",
            )
