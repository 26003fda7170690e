"""Who validates when. Each file is one way to split a cohort."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import pandas as pd

from radfuse.component import Component
from radfuse.data.table import FeatureTable
from radfuse.errors import StageError
from radfuse.train.splits.dealing import deal, deal_together

__all__ = ["COLUMNS", "SITE", "Splits", "check_splits", "deal", "deal_together"]

COLUMNS = ["subject", "repeat", "fold"]
SITE = "site"  # a further column of splits that leave out one site after another


class Splits(Component):
    """A way to split a cohort; the rows of one group stay on one side."""

    @classmethod
    def choose(cls, value: object) -> Self:
        """Turn a name or a mapping into a member; a mapping that names no method means stratified folds."""
        if isinstance(value, Mapping) and "method" not in value:
            value = {"method": "stratified", **value}
        return super().choose(value)

    @property
    @abstractmethod
    def rounds(self) -> int:
        """How often every subject validates."""

    @abstractmethod
    def repeated(self, repeats: int) -> Self:
        """Give the same splits with so many repeats, where there is anything to repeat."""

    @property
    def facts(self) -> tuple[str, ...]:
        """Columns of the subjects' table that it needs beside outcome, groups and batches."""
        return ()

    @property
    def deciding(self) -> dict[str, Any]:
        """The settings that decide the splits, for keys of results."""
        return self.model_dump(mode="json")

    @abstractmethod
    def require(self, subjects: pd.DataFrame) -> None:
        """Raise a ConfigError where these subjects, as `FeatureTable.subjects` has them, cannot be split."""

    def strata(self, subjects: pd.DataFrame) -> pd.Series | None:
        """Give the labels within which outcomes may change places in a permutation; None: among everybody."""
        return None

    @abstractmethod
    def __call__(self, table: FeatureTable) -> pd.DataFrame:
        """Give every subject its fold in every repeat: columns subject, repeat, fold, counted from 0.

        Splits that leave out one site after another have a column ``site``, the one that the fold validates on.
        """


def check_splits(table: FeatureTable, splits: pd.DataFrame) -> None:
    """Refuse splits that were drawn for other subjects."""
    known = set(table.values.index)
    for repeat, part in splits.groupby("repeat"):
        if set(part["subject"]) != known or len(part) != len(known):
            raise StageError(
                f"repeat {repeat} of the splits holds {len(part)} subjects, the table {len(known)}, not the same ones",
                hint="Draw the splits from this very table (delete splits.csv, or run with --redo).",
            )
