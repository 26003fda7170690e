"""The features of some rows as one matrix, and the context beside them.

A look-up of thousands of columns by name takes a data frame milliseconds: a step takes the rows apart once.
"""

from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from radfuse.data.table import CONTEXT, run_of
from radfuse.errors import DataError


class Features(NamedTuple):
    """Rows taken apart: the features' names, their values (row x feature), and the columns of the context."""

    names: pd.Index
    values: np.ndarray
    context: pd.DataFrame

    def together(self) -> pd.DataFrame:
        """Give the rows: features first, then the context."""
        return pd.concat([pd.DataFrame(self.values, self.context.index, self.names), self.context], axis=1)

    def refusing(self, wrong: np.ndarray, what: str, hint: str) -> Self:
        """Give these back when no value is wrong; else raise a DataError that counts them and names the first."""
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            first = f"first {self.names[column]!r} of subject {self.context.index[row]}"
            raise DataError(f"{int(wrong.sum())} {what}, {first}", hint=hint)
        return self


def features_of(rows: pd.DataFrame, wanted: list[str] | None = None) -> Features:
    """Take rows apart.

    Parameters
    ----------
    wanted : which features, in their order; None takes all of them.
    """
    columns = rows.columns.tolist()
    beside = np.array([column.startswith(CONTEXT) for column in columns], dtype=bool)
    places = run_of(np.flatnonzero(~beside)) if wanted is None else places_of(columns, wanted)
    context = rows.iloc[:, run_of(np.flatnonzero(beside))]
    return Features(rows.columns[places], rows.iloc[:, places].to_numpy(dtype=float), context)


def places_of(columns: list[str], wanted: list[str]) -> slice | np.ndarray:
    """The place of each wanted column; a KeyError names one that is not there."""
    if columns[: len(wanted)] == wanted:  # nothing was left out, as of most modalities
        return slice(len(wanted))
    place = {column: i for i, column in enumerate(columns)}
    return run_of(np.array([place[column] for column in wanted], dtype=np.intp))
