"""Tuning: which settings of a classifier are tried, and how often each was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from radfuse.component import Component, describe

if TYPE_CHECKING:
    from radfuse.train.classifiers import Classifier

TUNING = "tuning"
COLUMNS = ("arm", "setting", "value", "share", "folds")
Grid = Mapping[str, Sequence[Any]]
Member = TypeVar("Member", bound=Component)


def candidates(member: Member, grid: Grid) -> list[Member]:
    """Give the member in every combination of the grid's values, the last setting changing fastest.

    Raises ``ValueError`` for a setting that the member does not have, or a value that it refuses.
    """
    from pydantic import ValidationError

    if not grid:
        raise ValueError(f"tune names no setting of {member.method}; give a mapping of settings to the values to try")
    own = [name for name in type(member).model_fields if name not in ("method", "tune")]
    for name, values in grid.items():
        if name not in own:
            raise ValueError(f"tune names {name!r}, which {member.method} does not have; known: {', '.join(own)}")
        if not values:
            raise ValueError(f"tune gives no value of {name!r} to try")
    plain = member.model_dump() | {"tune": False}
    try:
        return [
            type(member).model_validate(plain | dict(zip(grid, values, strict=True)))
            for values in product(*grid.values())
        ]
    except ValidationError as error:
        raise ValueError("tune: " + "; ".join(describe(error, type(member)))) from error


def named(member: Classifier, grid: Grid) -> dict[str, Any]:
    """The settings of a candidate that the grid is about."""
    return {name: getattr(member, name) for name in grid}


def tuning_rows(choice: Mapping[str, Any], repeat: int, fold: int) -> list[dict[str, Any]]:
    """One row per setting chosen in a fold; the value as text, since settings are of several types."""
    return [{"repeat": repeat, "fold": fold, "setting": name, "value": _text(value)} for name, value in choice.items()]


def tuning_table(chosen: pd.DataFrame) -> pd.DataFrame:
    """How often each value was chosen: one row per arm, setting and value, the commonest value first.

    Parameters
    ----------
    chosen : columns arm, setting, value, one row per fold, as `tuning_rows` gives them.

    Examples
    --------
    >>> rows = [("late-svm_tuned", "strength", value) for value in ("1", "10", "1")]
    >>> tuning_table(pd.DataFrame(rows, columns=["arm", "setting", "value"]))[["value", "folds"]].values.tolist()
    [['1', 2], ['10', 1]]
    """
    found = []
    for (arm, setting), part in chosen.groupby(["arm", "setting"], sort=False):
        counts = part["value"].value_counts()
        order = sorted(counts.index, key=lambda value: (-counts[value], value))
        found += [(arm, setting, value, counts[value] / len(part), int(counts[value])) for value in order]
    return pd.DataFrame(found, columns=list(COLUMNS))


def _text(value: object) -> str:
    if value is None:
        return "unset"  # "null" and "None" would be read back from a table as missing
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
