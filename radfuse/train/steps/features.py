"""The features of some rows as one matrix, and the context beside them.

A look-up of thousands of columns by name takes a data frame milliseconds: a step takes the rows apart once.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from radfuse.data.names import modality_of
from radfuse.data.table import CONTEXT


class Features(NamedTuple):
    """Rows taken apart: the features' names, their values (row x feature), and the columns of the context."""

    names: pd.Index
    values: np.ndarray
    context: pd.DataFrame

    def together(self) -> pd.DataFrame:
        """Give the rows: features first, then the context."""
        return pd.concat([pd.DataFrame(self.values, self.context.index, self.names), self.context], axis=1)


def features_of(rows: pd.DataFrame, wanted: list[str] | None = None) -> Features:
    """Take rows apart.

    Parameters
    ----------
    wanted : which features, in their order; None takes all of them.
    """
    columns = rows.columns.tolist()
    beside = np.array([column.startswith(CONTEXT) for column in columns], dtype=bool)
    places = run_of(np.flatnonzero(~beside)) if wanted is None else places_of(columns, wanted)
    context = rows.iloc[:, run_of(np.flatnonzero(beside))]
    return Features(rows.columns[places], rows.iloc[:, places].to_numpy(dtype=float), context)


def places_of(columns: list[str], wanted: list[str]) -> slice | np.ndarray:
    """The place of each wanted column; a KeyError names one that is not there."""
    if columns[: len(wanted)] == wanted:  # nothing was left out, as of most modalities
        return slice(len(wanted))
    place = {column: i for i, column in enumerate(columns)}
    return run_of(np.array([place[column] for column in wanted], dtype=np.intp))


def run_of(places: np.ndarray) -> slice | np.ndarray:
    """A slice where the places follow one another, which spares the copying."""
    if len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def places_by_modality(names: Iterable[str]) -> dict[str, np.ndarray]:
    """The places of each modality's features."""
    by_prefix: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        by_prefix.setdefault(name.partition(".")[0], []).append(place)
    found: dict[str, list[int]] = {}
    for prefix, places in by_prefix.items():
        found.setdefault(modality_of(prefix), []).extend(places)
    return {modality: np.array(sorted(places), dtype=np.intp) for modality, places in found.items()}
