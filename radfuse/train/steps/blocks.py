"""Take scaled rows apart by modality."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from radfuse.data.table import CONTEXT, GROUP, places_by_modality
from radfuse.train.steps.features import features_of
from radfuse.train.steps.imputer import MISSING


class Block(NamedTuple):
    """One modality's columns, and their values (row x column).

    The values lie column by column in memory, which decides how sums over rows are rounded.
    """

    columns: list[str]
    values: np.ndarray

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The values of some rows, in the same order in memory."""
        return np.asfortranarray(self.values[rows])


def blocks_by_modality(rows: pd.DataFrame, modalities: Sequence[str]) -> dict[str, Block]:
    """The features of each modality; a modality of which nothing is left is not among the keys."""
    names, values, _ = features_of(rows)
    places = places_by_modality(names.tolist())
    return {
        modality: Block(names[places[modality]].tolist(), np.asfortranarray(values[:, places[modality]]))
        for modality in modalities
        if modality in places
    }


def is_missing(rows: pd.DataFrame, modality: str) -> np.ndarray:
    """Whether each row lacks the whole modality, as the imputer flagged it."""
    flag = f"{MISSING}{modality}"
    if flag not in rows.columns:
        return np.zeros(len(rows), bool)
    return rows[flag].to_numpy(dtype=float) > 0.5


def groups_of(rows: pd.DataFrame) -> np.ndarray:
    """The patient of each row: its group where groups are declared, else itself."""
    column = f"{CONTEXT}{GROUP}"
    return np.asarray(rows[column] if column in rows.columns else np.arange(len(rows)))


def has_both_classes(outcome: np.ndarray) -> bool:
    """Whether a classifier can be trained on these outcomes."""
    return bool((outcome == 0).any() and (outcome == 1).any())
