"""FeatureTable: one row of features per subject, and beside it what is known of the subject."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from radfuse.data.names import fused_modalities, is_fused, modality_of
from radfuse.errors import CohortError, ConfigError

OUTCOME = "outcome"
GROUP = "group"
BATCH = "batch."
MISSING = "missing."  # under CONTEXT: 1 in rows whose whole modality an imputer filled in
CONTEXT = "@"


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features (subjects x columns) and the subjects' facts, row for row.

    Parameters
    ----------
    values : float64, indexed by subject; columns are ``{modality}.{feature}``; a missing value is NaN.
    subjects : indexed by the same subjects in the same order. Reserved columns: ``outcome`` (0 or 1; absent when
        unknown), ``group`` (rows of one group never fall on both sides of a split; absent means one per subject),
        ``batch.<modality>`` (scanner or site label, text). Every other column is a covariate or clinical fact.
    """

    values: pd.DataFrame
    subjects: pd.DataFrame

    def __post_init__(self) -> None:
        if not self.values.index.equals(self.subjects.index):
            raise CohortError("feature rows and subject rows do not agree in subject or order")
        if self.values.index.has_duplicates:
            twice = sorted(set(self.values.index[self.values.index.duplicated()]))
            raise CohortError(f"subjects occur twice in the feature table: {', '.join(map(str, twice))}")
        if OUTCOME in self.subjects and not self.subjects[OUTCOME].isin([0, 1]).all():
            raise CohortError("the outcome must be 0 or 1 for every subject of a feature table")

    @cached_property
    def modalities(self) -> list[str]:
        """Every prefix, in column order; fused volumes are modalities of their own."""
        return list(dict.fromkeys(modality_of(column) for column in self.values.columns))

    @property
    def single(self) -> list[str]:
        """The measured modalities."""
        return [modality for modality in self.modalities if not is_fused(modality)]

    @property
    def fused(self) -> list[str]:
        """The fused volumes."""
        return [modality for modality in self.modalities if is_fused(modality)]

    @property
    def covariates(self) -> list[str]:
        """Subject columns that are neither outcome, group nor batch."""
        reserved = {OUTCOME, GROUP}
        return [c for c in self.subjects.columns if c not in reserved and not c.startswith(BATCH)]

    @property
    def outcome(self) -> pd.Series:
        """0 or 1 per subject."""
        if OUTCOME not in self.subjects:
            raise ConfigError("this table has no outcome column", hint="Name it with cohort.outcome or --outcome.")
        return self.subjects[OUTCOME].astype(int)

    @property
    def group(self) -> pd.Series:
        """The unit that splits keep together."""
        if GROUP in self.subjects:
            return self.subjects[GROUP].astype(str)
        return pd.Series(self.subjects.index.astype(str), index=self.subjects.index, name=GROUP)

    def columns_of(self, *modalities: str) -> list[str]:
        """The feature columns of some modalities, in column order."""
        return [column for column in self.values.columns if modality_of(column) in modalities]

    def batch_of(self, modality: str) -> pd.Series | None:
        """The batch label of each subject for a modality, or None where none is declared.

        A fused volume has its parts' common batch, or, where they differ, the combination ``a+b``.
        """
        if f"{BATCH}{modality}" in self.subjects:
            return self.subjects[f"{BATCH}{modality}"].astype(str)
        if not is_fused(modality):
            return None
        parts = [self.batch_of(part) for part in fused_modalities(modality, self.single)]
        known = [part for part in parts if part is not None]
        distinct: list[pd.Series] = []
        for part in known:
            if not any(np.array_equal(part, other) for other in distinct):
                distinct.append(part)
        if not distinct:
            return None
        joined = distinct[0]
        for part in distinct[1:]:
            joined = joined + "+" + part
        return joined.rename(f"{BATCH}{modality}")

    def rows(self) -> pd.DataFrame:
        """Everything a model may look at: the features, and beside them the context under ``@`` names.

        The context is ``@batch.<modality>`` for every modality that has one, ``@<covariate>``, and ``@group`` where
        groups are declared, so that inner folds keep them together too. The outcome is never in it.
        """
        context: dict[str, pd.Series] = {}
        if GROUP in self.subjects:
            context[f"{CONTEXT}{GROUP}"] = self.group
        for modality in self.modalities:
            batch = self.batch_of(modality)
            if batch is not None:
                context[f"{CONTEXT}{BATCH}{modality}"] = batch
        for name in self.covariates:
            context[f"{CONTEXT}{name}"] = self.subjects[name]
        return pd.concat([self.values, pd.DataFrame(context, index=self.values.index)], axis=1)

    def with_values(self, values: pd.DataFrame) -> FeatureTable:
        """Put other feature values beside the same subjects."""
        return replace(self, values=values)

    def take(self, subjects: pd.Index) -> FeatureTable:
        """Keep some subjects, in the order given."""
        return FeatureTable(self.values.loc[subjects], self.subjects.loc[subjects])


def feature_columns(rows: pd.DataFrame) -> list[str]:
    """The feature columns of `FeatureTable.rows`, without the context."""
    return [column for column in rows.columns if not str(column).startswith(CONTEXT)]


def context_columns(rows: pd.DataFrame) -> list[str]:
    """The context columns of `FeatureTable.rows`."""
    return [column for column in rows.columns if str(column).startswith(CONTEXT)]


def places_by_modality(names: Iterable[str]) -> dict[str, np.ndarray]:
    """The places of each modality's features among some names."""
    by_prefix: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        by_prefix.setdefault(name.partition(".")[0], []).append(place)
    found: dict[str, list[int]] = {}
    for prefix, places in by_prefix.items():
        found.setdefault(modality_of(prefix), []).extend(places)
    return {modality: np.array(sorted(places), dtype=np.intp) for modality, places in found.items()}


def run_of(places: np.ndarray) -> slice | np.ndarray:
    """A slice where the places follow one another, which spares the copying."""
    if len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places
