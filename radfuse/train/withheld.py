"""What a fusion arm is still worth when a new patient lacks a modality."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from radfuse.data.names import fused_modalities, is_fused
from radfuse.data.table import places_by_modality
from radfuse.train.clinical import CLINICAL, hide
from radfuse.train.scores import Bootstrap
from radfuse.train.statistics import percentile_interval
from radfuse.train.steps.features import Features, features_of

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


def without(rows: pd.DataFrame, *sets: Sequence[str]) -> pd.DataFrame:
    """Take modalities, and the images fused from them, out of some rows: their values become NaN.

    Of several sets there is a copy of the rows for each, one below the other.
    """
    names, whole, context = features_of(rows)
    places = places_by_modality(names.tolist())
    values = np.tile(whole, (len(sets), 1, 1))
    for left, gone in zip(values, sets, strict=True):
        for name, own in places.items():
            if name in gone or set(gone) & set(fused_modalities(name, list(places))):
                left[:, own] = np.nan
    below = Features(names, values.reshape(-1, len(names)), pd.concat([context] * len(sets))).together()
    hidden = np.repeat([CLINICAL in gone for gone in sets], len(rows))
    return hide(below, hidden) if hidden.any() else below


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
