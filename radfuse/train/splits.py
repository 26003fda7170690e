"""Who validates when: repeated stratified folds by group, drawn once from the seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveInt

from radfuse.component import Frozen
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, StageError

COLUMNS = ["subject", "repeat", "fold"]


class Splits(Frozen):
    """Repeated stratified cross-validation; the rows of one group stay on one side."""

    folds: int = Field(5, ge=2, description="Parts of the cohort; each validates once per repeat.")
    repeats: PositiveInt = Field(10, description="How often the cohort is dealt anew.")
    seed: NonNegativeInt = Field(0, description="Decides the deal; more repeats leave the earlier ones as they were.")

    def __call__(self, table: FeatureTable) -> pd.DataFrame:
        """Give every subject its fold in every repeat: columns subject, repeat, fold, counted from 0."""
        outcome, groups = table.outcome.to_numpy(), table.group.to_numpy()
        names, of_group = np.unique(groups, return_inverse=True)
        sizes = np.bincount(of_group)
        events = np.bincount(of_group, weights=outcome)
        rarer = 1 if outcome.sum() * 2 <= len(outcome) else 0
        holds_rarer = (events if rarer == 1 else sizes - events) > 0
        others = np.bincount(of_group, weights=outcome != rarer) > 0
        self._check(table, int(holds_rarer.sum()), int(others.sum()))
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
                    f"{len(outcome)} subjects are in {len(names)} groups",
                    hint="Lower train.splits.folds, or declare smaller groups.",
                )
        return drawn

    def _check(self, table: FeatureTable, rarer: int, others: int) -> None:
        if min(rarer, others) < self.folds:
            outcome = table.outcome
            raise ConfigError(
                f"{self.folds} folds need {self.folds} groups of each outcome; of {len(outcome)} subjects "
                f"{int((outcome == 1).sum())} have outcome 1 and {int((outcome == 0).sum())} outcome 0, "
                f"in {rarer} and {others} groups that hold the rarer and the other",
                hint=f"Set train.splits.folds to {max(min(rarer, others), 2)} or less, or find more subjects.",
            )


def deal(kinds: np.ndarray, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Deal shuffled items out like cards, one kind after the other, so that parts differ by one at most.

    Examples
    --------
    >>> dealt = deal(np.array([0, 0, 0, 1, 1, 1]), 3, np.random.default_rng(0))
    >>> sorted(dealt[:3].tolist()), sorted(dealt[3:].tolist())
    ([0, 1, 2], [0, 1, 2])
    """
    order = np.concatenate([rng.permutation(np.flatnonzero(kinds == kind)) for kind in np.unique(kinds)])
    part = np.empty(len(kinds), int)
    part[order] = np.arange(len(kinds)) % parts
    return part


def deal_together(outcome: np.ndarray, groups: np.ndarray, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Deal rows out so that those of one group land in one part; groups with an event are dealt apart from the rest.

    Examples
    --------
    >>> dealt = deal_together(np.array([1, 0, 0, 1]), np.array(["a", "a", "b", "c"]), 2, np.random.default_rng(0))
    >>> bool(dealt[0] == dealt[1]), bool(dealt[0] == dealt[3])
    (True, False)
    """
    codes, names = pd.factorize(groups)
    has_event = np.bincount(codes, weights=outcome, minlength=len(names)) > 0
    return deal(has_event.astype(int), parts, rng)[codes]


def check_splits(table: FeatureTable, splits: pd.DataFrame) -> None:
    """Refuse splits that were drawn for other subjects."""
    known = set(table.values.index)
    for repeat, part in splits.groupby("repeat"):
        if set(part["subject"]) != known or len(part) != len(known):
            raise StageError(
                f"repeat {repeat} of the splits holds {len(part)} subjects, the table {len(known)}, not the same ones",
                hint="Draw the splits from this very table (delete splits.csv, or run with --redo).",
            )
