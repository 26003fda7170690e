"""Leave out the features that another examination of the same patients would change."""

from typing import Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.data.repeatability import PERTURBATION, SUBJECT, Kind, agreement, stacked
from radfuse.data.table import context_columns, feature_columns
from radfuse.errors import DataError

FEWEST = 3
"""Subjects behind a correlation: with two, its interval reaches from about -1 to 1."""


class Stable(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Keep the columns whose intraclass correlation over the training subjects' perturbed measurements is high.

    The measurements are given to ``fit`` and not kept: a fitted model holds names only. Other subjects' measurements
    may be among them and are not looked at. Leaves ``kept_``, ``dropped_``, and the ``agreement_`` of every column.

    Parameters
    ----------
    icc : least agreement that is enough.
    by : what must reach it, ``low`` (the lower end of the interval) or ``estimate``.
    kind, confidence : as for `radfuse.data.repeatability.agreement`.
    """

    def __init__(self, icc: float = 0.75, by: str = "low", kind: Kind = "2,1", confidence: float = 0.95) -> None:
        self.icc = icc
        self.by = by
        self.kind = kind
        self.confidence = confidence

    def fit(self, rows: pd.DataFrame, outcome: object = None, perturbed: pd.DataFrame | None = None) -> Self:
        """Learn which columns to keep.

        Parameters
        ----------
        rows : training rows; their index says whose measurements count.
        perturbed : features indexed by subject and perturbation, as `radfuse stability` writes them.
        """
        columns = feature_columns(rows)
        values = self._measurements(rows, columns, perturbed)
        found = agreement(values, self.kind, self.confidence)
        reached = found.low if self.by == "low" else found.icc
        enough = (found.subjects >= FEWEST) & (reached >= self.icc)  # NaN is never enough
        self.agreement_ = np.where(found.subjects >= FEWEST, reached, np.nan)
        self.kept_ = [column for column, keep in zip(columns, enough, strict=True) if keep]
        self.dropped_ = [column for column, keep in zip(columns, enough, strict=True) if not keep]
        if not self.kept_:
            best = f"the best reaches {np.nanmax(self.agreement_):.2f}" if np.isfinite(self.agreement_).any() else ""
            raise DataError(
                f"none of {len(columns)} features reaches an ICC of {self.icc:g} over {len(values)} training subjects"
                + (f"; {best}" if best else ""),
                hint="Lower train.stability.icc, take train.stability.by: estimate, or weaken stability.chain.",
            )
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Give the kept features, and hand the context on."""
        return rows[[*self.kept_, *context_columns(rows)]]

    def _measurements(self, rows: pd.DataFrame, columns: list[str], perturbed: pd.DataFrame | None) -> np.ndarray:
        if perturbed is None:
            raise DataError("no perturbed measurements were given", hint="Run `radfuse stability` first.")
        if list(perturbed.index.names) != [SUBJECT, PERTURBATION]:
            raise DataError(
                f"perturbed measurements have an index of subject and perturbation, found {perturbed.index.names}",
                hint="Give the table that `radfuse stability` writes, stability/features.parquet.",
            )
        absent = [column for column in columns if column not in perturbed.columns]
        if absent:
            raise DataError(
                f"the perturbed measurements lack {len(absent)} of {len(columns)} features, first {absent[0]!r}",
                hint="Run `radfuse stability` with the settings that the features were extracted with.",
            )
        subjects = perturbed.index.get_level_values(SUBJECT)
        training = perturbed[subjects.isin(rows.index)]
        if training.index.get_level_values(SUBJECT).nunique() < FEWEST:
            some = ", ".join(map(str, rows.index[:3]))
            raise DataError(
                f"fewer than {FEWEST} of {len(rows)} training subjects ({some}, ...) have perturbed measurements",
                hint="Run `radfuse stability` for the whole cohort.",
            )
        return stacked(training, columns)[0]
