"""Repeated stratified folds by group, drawn once from the seed."""

from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveInt

from radfuse.data.table import GROUP, OUTCOME, FeatureTable
from radfuse.errors import ConfigError
from radfuse.train.splits import COLUMNS, Splits, deal


class Stratified(Splits):
    """Repeated stratified cross-validation; the rows of one group stay on one side."""

    method: Literal["stratified"] = "stratified"
    folds: int = Field(5, ge=2, description="Parts of the cohort; each validates once per repeat.")
    repeats: PositiveInt = Field(10, description="How often the cohort is dealt anew.")
    seed: NonNegativeInt = Field(0, description="Decides the deal; more repeats leave the earlier ones as they were.")

    @property
    def rounds(self) -> int:
        """How often every subject validates."""
        return self.repeats

    def repeated(self, repeats: int) -> Self:
        """Give the same folds with so many repeats."""
        return self.model_copy(update={"repeats": repeats})

    @property
    def deciding(self) -> dict[str, Any]:
        """The settings alone: they are what keys held before there was another method to tell them from."""
        return self.model_dump(mode="json", exclude={"method"})

    def require(self, subjects: pd.DataFrame) -> None:
        """Raise a ConfigError where an outcome has fewer groups than there are folds."""
        outcome = subjects[OUTCOME].to_numpy()
        _, holds_rarer, others = _groups(outcome, _group(subjects))
        rarer, other = int(holds_rarer.sum()), int(others.sum())
        if min(rarer, other) < self.folds:
            raise ConfigError(
                f"{self.folds} folds need {self.folds} patients of each outcome; of {len(outcome)} subjects "
                f"{int((outcome == 1).sum())} have outcome 1 and {int((outcome == 0).sum())} outcome 0, "
                f"in {rarer} and {other} groups that hold the rarer and the other",
                hint=f"Set train.splits.folds to {max(min(rarer, other), 2)} or less, or find more subjects.",
            )

    def __call__(self, table: FeatureTable) -> pd.DataFrame:
        """Give every subject its fold in every repeat: columns subject, repeat, fold, counted from 0."""
        self.require(table.subjects.assign(**{OUTCOME: table.outcome}))
        outcome, groups = table.outcome.to_numpy(), table.group.to_numpy()
        of_group, holds_rarer, _ = _groups(outcome, groups)
        parts = []
        for repeat in range(self.repeats):
            rng = np.random.default_rng([self.seed, repeat])
            fold = deal(holds_rarer.astype(int), self.folds, rng)[of_group]
            parts.append(pd.DataFrame({"subject": table.values.index, "repeat": repeat, "fold": fold}))
        drawn = pd.concat(parts, ignore_index=True)
        for place, part in drawn.groupby(["repeat", "fold"]):
            training = outcome[~table.values.index.isin(part["subject"])]
            if len(set(training)) < 2:
                raise ConfigError(
                    f"without the fold (repeat, fold) = {place} only one outcome is left to train on; "
                    f"{len(outcome)} subjects are in {len(holds_rarer)} groups",
                    hint="Lower train.splits.folds, or declare smaller groups.",
                )
        return drawn[COLUMNS]


def _group(subjects: pd.DataFrame) -> np.ndarray:
    return (subjects[GROUP].astype(str) if GROUP in subjects else subjects.index.astype(str)).to_numpy()


def _groups(outcome: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The group of each row, and which groups hold the rarer outcome, and which the other."""
    _, of_group = np.unique(groups, return_inverse=True)
    sizes, events = np.bincount(of_group), np.bincount(of_group, weights=outcome)
    rarer = 1 if outcome.sum() * 2 <= len(outcome) else 0
    holds_rarer = (events if rarer == 1 else sizes - events) > 0
    return of_group, holds_rarer, np.bincount(of_group, weights=outcome != rarer) > 0
