"""What a harmoniser leaves of the batch in rows that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.data.table import CONTEXT, GROUP

Array = npt.NDArray[np.float64]

MAX_FOLDS = 5
MAX_COMPONENTS = 5


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Every row as harmonised by a fit without it, and how well its batch is told.

    Parameters
    ----------
    places : which rows take part: those of large enough batches.
    values : harmonised; (row, feature).
    accuracy : balanced accuracy of telling the batch, before and after.
    auc : mean over folds of the area under the curve of each batch against the rest, by pairs within a fold.
    batches : how many batches take part.
    folds : how many folds.
    """

    places: npt.NDArray[np.int64]
    values: Array
    accuracy: dict[str, float]
    auc: dict[str, float]
    batches: int
    folds: int


def hold_out(
    rows: pd.DataFrame, columns: list[str], batch: npt.NDArray[Any], build: Callable[[], Any], seed: int
) -> HeldOut | None:
    """Harmonise and classify rows by folds; None where fewer than two batches have two rows (groups) or more.

    Parameters
    ----------
    rows : before harmonising, context included.
    columns : the features of one modality.
    batch : its labels. Rows of one ``@group``, where groups are declared, are in one fold.
    build : makes an unfitted harmoniser.
    """
    from sklearn.metrics import balanced_accuracy_score

    names = np.unique(batch.astype(str))
    groups = rows[f"{CONTEXT}{GROUP}"].astype(str).to_numpy(dtype=object) if f"{CONTEXT}{GROUP}" in rows else None
    units = np.arange(len(rows)) if groups is None else groups
    counts = np.array([len(set(units[batch.astype(str) == name])) for name in names])
    least = MAX_FOLDS if (counts >= MAX_FOLDS).sum() >= 2 else 2  # a tiny batch would leave too few folds for all
    large = names[counts >= least]
    if len(large) < 2:
        return None
    kept = np.isin(batch.astype(str), large)
    own, truth = rows[kept], batch[kept].astype(str)
    own = own[columns + [column for column in own.columns if column.startswith(CONTEXT)]]
    folds = int(min(MAX_FOLDS, counts[counts >= least].min()))
    told = {moment: np.empty(len(own), dtype=object) for moment in ("before", "after")}
    areas: dict[str, list[float]] = {moment: [] for moment in told}
    values = np.empty((len(own), len(columns)))
    for train, test in _folds(truth, None if groups is None else groups[kept], folds, seed):
        harmonizer = build().fit(own.iloc[train])
        for moment in told:
            change = harmonizer.transform if moment == "after" else lambda given: given
            known = change(own.iloc[train])[columns].to_numpy(np.float64)
            fresh = change(own.iloc[test])[columns].to_numpy(np.float64)
            if moment == "after":
                values[test] = fresh
            varies = np.ptp(known, axis=0) > 0
            if not varies.any() or len(set(truth[train])) < 2:
                told[moment][test] = large[0]
                areas[moment].append(0.5)
                continue
            model = _classifier(known[:, varies]).fit(known[:, varies], truth[train])
            told[moment][test] = model.predict(fresh[:, varies])
            areas[moment] += _areas(truth[test], model.predict_proba(fresh[:, varies]), model.classes_)
    scores = {moment: float(balanced_accuracy_score(truth, guess.astype(str))) for moment, guess in told.items()}
    auc = {moment: float(np.mean(found)) if found else 0.5 for moment, found in areas.items()}
    return HeldOut(np.flatnonzero(kept), values, scores, auc, len(large), folds)


def _folds(truth: npt.NDArray[Any], groups: npt.NDArray[Any] | None, folds: int, seed: int) -> Iterator[Any]:
    """Deal the rows into folds with every batch in each, as far as the groups, which stay together, allow."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if groups is None:
        return iter(StratifiedKFold(folds, shuffle=True, random_state=seed).split(truth, truth))
    return iter(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(truth, truth, groups))


def _areas(truth: npt.NDArray[Any], chances: Array, classes: npt.NDArray[Any]) -> list[float]:
    """The area under the curve of each batch against the rest, where a fold holds rows of both."""
    from sklearn.metrics import roc_auc_score

    found = []
    for place, name in enumerate(classes):
        own = truth == name
        if own.any() and not own.all():
            found.append(float(roc_auc_score(own, chances[:, place])))
    return found


def _classifier(known: Array) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    components = min(MAX_COMPONENTS, known.shape[0] - 1, known.shape[1])
    return make_pipeline(
        StandardScaler(),
        PCA(components, svd_solver="full"),
        LogisticRegression(class_weight="balanced", max_iter=2000),
    )
