"""Take scaled rows apart by modality."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from radfuse.data.names import modality_of
from radfuse.data.table import CONTEXT, GROUP, feature_columns
from radfuse.train.steps.imputer import MISSING


def columns_by_modality(rows: pd.DataFrame, modalities: Sequence[str]) -> dict[str, list[str]]:
    """The feature columns of each modality; a modality of which nothing is left is not among the keys."""
    found: dict[str, list[str]] = {modality: [] for modality in modalities}
    for column in feature_columns(rows):
        if modality_of(column) in found:
            found[modality_of(column)].append(column)
    return {modality: columns for modality, columns in found.items() if columns}


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
