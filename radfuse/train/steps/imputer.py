"""Fill missing feature values, and remember which modalities were missing altogether."""

from typing import Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.data import table
from radfuse.data.names import modality_of
from radfuse.data.table import CONTEXT, context_columns, feature_columns
from radfuse.errors import DataError

MISSING = f"{CONTEXT}{table.MISSING}"


class Imputer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Replace a missing value by the training median, and flag whole modalities that are missing.

    A subject's modality is missing when none of its features has a value. Adds one ``@missing.<modality>`` column
    (0 or 1) for each modality of the rows. Columns without a value among the training rows, or with too few where
    the modality is there, are left out and listed in ``dropped_``.

    Parameters
    ----------
    most_missing : largest share of missing values, among training rows that have the modality.
    """

    def __init__(self, most_missing: float = 0.5) -> None:
        self.most_missing = most_missing

    def fit(self, rows: pd.DataFrame, outcome: object = None) -> Self:
        """Learn which columns to keep and their medians."""
        self.columns_ = feature_columns(rows)
        self.modalities_ = list(dict.fromkeys(modality_of(column) for column in self.columns_))
        values = self._values(rows)
        kept = np.zeros(values.shape[1], bool)
        for block in self._blocks().values():
            present = ~np.isnan(values[:, block]).all(axis=1)
            if present.any():
                share = np.isnan(values[present][:, block]).mean(axis=0)
                kept[block] = (share <= self.most_missing) & (share < 1)
        if not kept.any():
            raise DataError(
                f"no feature of {', '.join(self.modalities_)} has enough values among the {len(values)} training rows",
                hint="Leave the modality out, or look at its lines in failures.csv.",
            )
        self.kept_ = [column for column, keep in zip(self.columns_, kept, strict=True) if keep]
        self.dropped_ = [column for column, keep in zip(self.columns_, kept, strict=True) if not keep]
        self.medians_ = np.nanmedian(values[:, kept], axis=0)
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Fill, flag, and hand the context on."""
        values = self._values(rows)
        flags = {
            f"{MISSING}{modality}": np.isnan(values[:, block]).all(axis=1).astype(float)
            for modality, block in self._blocks().items()
        }
        known = set(self.kept_)
        values = values[:, [column in known for column in self.columns_]]
        filled = pd.DataFrame(np.where(np.isnan(values), self.medians_, values), rows.index, self.kept_)
        context = [column for column in context_columns(rows) if not column.startswith(MISSING)]
        return pd.concat([filled, rows[context], pd.DataFrame(flags, index=rows.index)], axis=1)

    def _blocks(self) -> dict[str, np.ndarray]:
        owner = np.array([modality_of(column) for column in self.columns_])
        return {modality: np.flatnonzero(owner == modality) for modality in self.modalities_}

    def _values(self, rows: pd.DataFrame) -> np.ndarray:
        values = rows[self.columns_].to_numpy(dtype=float)
        infinite = np.argwhere(np.isinf(values))
        if len(infinite):
            row, column = infinite[0]
            raise DataError(
                f"{len(infinite)} feature values are infinite, first {self.columns_[column]!r} "
                f"of subject {rows.index[row]}",
                hint="Drop the column or the subject; an infinite value has no place in a mean.",
            )
        return values
