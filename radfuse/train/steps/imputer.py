"""Fill missing feature values, and remember which modalities were missing altogether."""

from typing import Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.data import table
from radfuse.data.table import CONTEXT, places_by_modality
from radfuse.errors import DataError
from radfuse.train.steps.features import Features, features_of, places_of

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
        names, values, _ = _finite(rows)
        self.columns_ = names.tolist()
        self.blocks_ = places_by_modality(self.columns_)
        kept = np.zeros(values.shape[1], bool)
        for block in self.blocks_.values():
            present = ~np.isnan(values[:, block]).all(axis=1)
            if present.any():
                share = np.isnan(values[present][:, block]).mean(axis=0)
                kept[block] = (share <= self.most_missing) & (share < 1)
        if not kept.any():
            raise DataError(
                f"no feature of {', '.join(self.blocks_)} has enough values among the {len(values)} training rows",
                hint="Leave the modality out, or look at its lines in failures.csv.",
            )
        self.kept_ = [column for column, keep in zip(self.columns_, kept, strict=True) if keep]
        self.dropped_ = [column for column, keep in zip(self.columns_, kept, strict=True) if not keep]
        self.medians_ = _medians(values[:, kept])
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Fill, flag, and hand the context on."""
        names, values, context = _finite(rows, self.columns_)
        unknown = np.isnan(values)
        flags = {
            f"{MISSING}{modality}": unknown[:, block].all(axis=1).astype(float)
            for modality, block in self.blocks_.items()
        }
        kept = places_of(self.columns_, self.kept_)
        filled = np.where(unknown[:, kept], self.medians_, values[:, kept])
        known = context.loc[:, [not column.startswith(MISSING) for column in context.columns]]
        flagged = pd.concat([known, pd.DataFrame(flags, rows.index)], axis=1)
        return Features(names[kept], filled, flagged).together()


def _finite(rows: pd.DataFrame, wanted: list[str] | None = None) -> Features:
    features = features_of(rows, wanted)
    return features.refusing(
        np.isinf(features.values),
        "feature values are infinite",
        "Drop the column or the subject; an infinite value has no place in a mean.",
    )


def _medians(values: np.ndarray) -> np.ndarray:
    """The median of each column's known values; each column has one."""
    gaps = np.isnan(values).any(axis=0)
    medians = np.median(values, axis=0)  # NaN where there is a gap, and ten times faster than to look for one
    if gaps.any():
        medians[gaps] = np.nanmedian(values[:, gaps], axis=0)
    return np.asarray(medians)
