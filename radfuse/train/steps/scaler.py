"""Bring every feature to mean 0 and standard deviation 1."""

from typing import Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.errors import DataError
from radfuse.train.steps.features import Features, features_of


class Scaler(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Standardise with the training rows' mean and deviation; constant columns are left out and listed."""

    def fit(self, rows: pd.DataFrame, outcome: object = None) -> Self:
        """Learn means and deviations."""
        names, values, _ = _finite(rows)
        columns = names.tolist()
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        # Rounding leaves a constant column of size 1e6 with a deviation of 1e-10.
        varies = deviation > 1e-9 * np.maximum(np.abs(mean), np.finfo(float).tiny)
        self.kept_ = [column for column, keep in zip(columns, varies, strict=True) if keep]
        self.dropped_ = [column for column, keep in zip(columns, varies, strict=True) if not keep]
        if not self.kept_:
            raise DataError(
                f"all {len(columns)} features are constant over the {len(values)} training rows",
                hint="Look at the extraction: a bin width too wide makes every texture constant.",
            )
        self.mean_, self.deviation_ = mean[varies], deviation[varies]
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Give standardised features, and hand the context on."""
        names, values, context = _finite(rows, self.kept_)
        return Features(names, (values - self.mean_) / self.deviation_, context).together()


def _finite(rows: pd.DataFrame, wanted: list[str] | None = None) -> Features:
    features = features_of(rows, wanted)
    return features.refusing(
        ~np.isfinite(features.values),
        "values are not finite after harmonisation",
        "A harmoniser must give a finite value for every finite value.",
    )
