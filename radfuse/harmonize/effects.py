"""The batch effect of every feature, before and after, as a table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.data.names import modality_of
from radfuse.data.table import feature_columns
from radfuse.harmonize.differences import kruskal, levene
from radfuse.harmonize.labels import labels_of
from radfuse.harmonize.matrix import batch_column

COLUMNS = ("location_q", "spread_q", "variance_by_batch")


def effects(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Judge every feature of a modality with batch labels.

    Returns
    -------
    Indexed by feature: ``location_q_before`` and ``_after`` (Kruskal-Wallis), ``spread_q_*`` (Levene), both after
    Benjamini and Hochberg's correction over the features of the modality, and ``variance_by_batch_*``, 0 to 1. A
    feature that does not vary has no number.
    """
    found = []
    for modality in dict.fromkeys(modality_of(column) for column in feature_columns(before)):
        if batch_column(modality) not in before:
            continue
        labels = labels_of(before, modality)
        own = labels.notna().to_numpy()
        batch = labels[own].to_numpy(dtype=object)
        columns = [column for column in feature_columns(before) if modality_of(column) == modality]
        moments = {"before": before.loc[own, columns], "after": after.loc[own, columns]}
        parts = {moment: _judge(values.to_numpy(np.float64), batch) for moment, values in moments.items()}
        names = [f"{column}_{moment}" for column in COLUMNS for moment in parts]
        numbers = [parts[moment][place] for place in range(len(COLUMNS)) for moment in parts]
        found.append(pd.DataFrame(dict(zip(names, numbers, strict=True)), index=pd.Index(columns, name="feature")))
    return pd.concat(found) if found else pd.DataFrame(index=pd.Index([], name="feature"))


def _judge(values: npt.NDArray[np.float64], batch: npt.NDArray[np.object_]) -> list[npt.NDArray[np.float64]]:
    from scipy import stats

    judged = []
    varies = np.ptp(values, axis=0) > 0 if len(values) else np.zeros(values.shape[1], dtype=bool)
    for test in (kruskal, levene):
        q = np.full(values.shape[1], np.nan)
        p = test(values[:, varies], batch)
        if p is not None:
            q[varies] = stats.false_discovery_control(p)
        judged.append(q)
    share = np.full(values.shape[1], np.nan)
    if varies.any():
        centred = values - values.mean(axis=0)
        names = sorted(
            set(batch.tolist())
        )  # a set's own order changes from one process to the next, and so the last bit
        between = sum(np.sum(batch == name) * centred[batch == name].mean(axis=0) ** 2 for name in names)
        share[varies] = (between / np.where(varies, (centred**2).sum(axis=0), 1.0))[varies]
    return [*judged, share]
