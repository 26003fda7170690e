"""What a fusion arm is still worth when a new patient lacks a modality."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import pandas as pd

from radfuse.data.names import fused_modalities, is_fused, modality_of
from radfuse.data.table import feature_columns
from radfuse.train.clinical import CLINICAL, hide
from radfuse.train.scores import Bootstrap
from radfuse.train.statistics import percentile_interval

WITHHELD = "withheld"
COLUMNS = ("arm", WITHHELD, "auc", "ci_low", "ci_high")


def withheld_sets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """Every set of measured modalities that can be withheld while another one stays, small sets first.

    Examples
    --------
    >>> withheld_sets(["CT", "PET", "fused-average-CT_PET"])
    [('CT',), ('PET',)]
    """
    measured = [modality for modality in modalities if not is_fused(modality)]
    return [gone for size in range(1, len(measured)) for gone in combinations(measured, size)]


def without(rows: pd.DataFrame, gone: Sequence[str]) -> pd.DataFrame:
    """Take modalities, and the images fused from them, out of some rows: their values become NaN."""
    columns = feature_columns(rows)
    known = list(dict.fromkeys(modality_of(column) for column in columns))
    lost = {name for name in known if name in gone or set(gone) & set(fused_modalities(name, known))}
    taken = [column for column in columns if modality_of(column) in lost]
    # Column by column this would take as long as training the arm.
    left = rows.drop(columns=taken).reindex(columns=rows.columns)
    return hide(left) if CLINICAL in gone else left


def withheld_table(scores: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Give one row per arm and set withheld: the AUC of pairs within a fold, with its interval.

    Parameters
    ----------
    scores : predictions with a column ``withheld``, such as ``CT+PET``.
    bootstrap : the resampled patients of the arms' own table.
    """
    return pd.DataFrame(list(_judged(scores, bootstrap)), columns=list(COLUMNS))


def _judged(scores: pd.DataFrame, bootstrap: Bootstrap) -> Iterator[tuple[str, str, float, float, float]]:
    for (arm, gone), rows in scores.groupby(["arm", WITHHELD], sort=False):
        auc, values = bootstrap.auc(rows.reset_index(drop=True))
        yield str(arm), str(gone), auc, *percentile_interval(values, bootstrap.confidence)
