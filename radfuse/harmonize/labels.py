"""Batch labels: the text that a label is known by, and the rows that have none."""

from __future__ import annotations

import re
from numbers import Integral, Real

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.data.table import CONTEXT, MISSING
from radfuse.harmonize.matrix import batch_column

WHOLE = re.compile(r"([+-]?\d+)\.0+")


def text_of(label: object) -> str:
    """Give a label as text; a whole number reads the same however it was stored, alone or in a fused volume's ``a+b``.

    Examples
    --------
    >>> text_of(120), text_of(120.0), text_of("120.0"), text_of("120.0+GE"), text_of(0.5)
    ('120', '120', '120', '120+GE', '0.5')
    """
    if isinstance(label, Integral) and not isinstance(label, bool):
        return str(int(label))
    if isinstance(label, Real) and float(label).is_integer() and not isinstance(label, bool):
        return str(int(float(label)))
    text = str(label)
    if ".0" not in text:
        return text
    parts = [(part, WHOLE.fullmatch(part)) for part in text.split("+")]
    return "+".join(part if whole is None else whole.group(1) for part, whole in parts)


def texts(labels: pd.Series) -> list[str | None]:
    """Give the labels as text; None where there is none."""
    pairs = zip(labels.tolist(), labels.isna().tolist(), strict=True)  # a Series gives its strings one by one, slowly
    return [None if missing or not str(label) else text_of(label) for label, missing in pairs]


def lacking(rows: pd.DataFrame, modality: str) -> npt.NDArray[np.bool_]:
    """Whether each row lacks the whole modality, so that its values there are what an imputer put in."""
    flag = f"{CONTEXT}{MISSING}{modality}"
    if flag not in rows:
        return np.zeros(len(rows), dtype=bool)
    return np.asarray(rows[flag].to_numpy(dtype=np.float64) > 0.5)


def labels_of(rows: pd.DataFrame, modality: str, variable: str | None = None) -> pd.Series:
    """A modality's batch labels as text, or those of another column; None without one, or where the modality lacks."""
    column = batch_column(modality) if variable is None else f"{CONTEXT}{variable}"
    named = pd.Series(texts(rows[column]), index=rows.index, dtype=object)
    return named.mask(lacking(rows, modality), None)
