"""Rows of a feature table as matrices of one modality each, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.data.table import BATCH, CONTEXT, places_by_modality, run_of
from radfuse.errors import DataError

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


def batch_column(modality: str) -> str:
    """The column of `FeatureTable.rows` with a modality's batch labels."""
    return f"{CONTEXT}{BATCH}{modality}"


def require_rows(rows: object) -> None:
    """Raise a DataError for what is no table."""
    if not isinstance(rows, pd.DataFrame):
        raise DataError(f"expected the rows of a FeatureTable, found {type(rows).__name__}")


def by_modality(names: Sequence[str]) -> dict[str, Places]:
    """The places of the feature columns of each modality that has a batch column."""
    known = set(names)
    return {owner: places for owner, places in places_by_modality(names).items() if batch_column(owner) in known}


def matrix(rows: pd.DataFrame, places: Places, modality: str) -> Array:
    """Give some columns as float64 (row, feature) in C order; a value that is missing or infinite is a DataError."""
    values = np.ascontiguousarray(rows.iloc[:, run_of(places)].to_numpy(dtype=np.float64))
    require_finite(values, rows.columns, places, modality)
    return values


def put_back(rows: pd.DataFrame, changed: Mapping[str, Array], places: Mapping[str, Places]) -> pd.DataFrame:
    """Give the rows with the columns of some modalities changed, every column where it was."""
    parts = [
        pd.DataFrame(values, columns=rows.columns[run_of(places[modality])], index=rows.index)
        for modality, values in changed.items()
    ]
    done = np.concatenate([np.empty(0, dtype=np.int64), *(places[modality] for modality in changed)])
    others = np.ones(rows.shape[1], dtype=bool)
    others[done] = False
    rest = np.flatnonzero(others)
    whole = pd.concat([*parts, rows.iloc[:, run_of(rest)]], axis=1)
    back = np.argsort(np.concatenate([done, rest]))
    return whole if (np.diff(back) == 1).all() else whole.iloc[:, back]


def require_finite(values: Array, columns: pd.Index, places: Places, where: str) -> None:
    """Raise a DataError that names features with a missing or infinite value."""
    finite = np.isfinite(values)
    if finite.all():
        return
    bad = [str(columns[place]) for place in places[~np.all(finite, axis=0)]]
    raise DataError(
        f"{where}: {int((~finite).sum())} of {finite.size} values are missing or infinite, in {len(bad)} features "
        f"such as {', '.join(bad[:3])}",
        hint="Impute before harmonising; ComBat spreads one missing value over all features.",
    )
