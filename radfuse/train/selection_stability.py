"""How steady the selection of features is from fold to fold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

CHOSEN, SELECTION, STABILITY = "chosen", "selection", "selection_stability"
COLUMNS = ("arm", "feature", "share", "folds")
STABILITY_COLUMNS = ("arm", "stability", "low", "high", "features", "candidates", "folds")


@dataclass(frozen=True)
class Steadiness:
    """Nogueira's stability of a selection, with its interval; NaN where it is not defined.

    1: the same features every time; about 0: no more in common than sets drawn at random.
    """

    stability: float
    low: float
    high: float

    @classmethod
    def of(cls, chosen: np.ndarray, candidates: int, confidence: float = 0.95) -> Steadiness:
        """Compare the sets chosen in several folds [Nogueira, Sechidis & Brown, JMLR 18(174), 2018].

        Definition 4, ``1 - mean_f s_f^2 / (k/d (1 - k/d))``, with the unbiased variance ``s_f^2`` of a feature's choice
        and ``k`` features chosen of ``d`` on average. The interval is that of their corollary 9, which is for many
        independent samples of patients: repeated folds share most of theirs, so that the truth is less certain, and of
        a handful of folds it says little.

        Parameters
        ----------
        chosen : (folds x features), true where chosen; features never chosen may be left out.
        candidates : features that there were to choose from, those left out included.

        Examples
        --------
        >>> Steadiness.of(np.array([[1, 1, 0], [1, 0, 1]]), 4).stability  # one of two shared, of four
        0.0
        """
        folds, z = len(chosen), np.asarray(chosen, dtype=float)
        share, size = z.mean(axis=0), z.sum(axis=1)
        mean = size.mean() / candidates
        if folds < 2 or not 0 < mean < 1:
            return cls(float("nan"), float("nan"), float("nan"))
        spread = mean * (1 - mean)
        variance = folds / (folds - 1) * share * (1 - share)
        stability = 1 - variance.sum() / candidates / spread
        own = size / candidates
        each = (z @ share) / candidates - own * mean + stability / 2 * (2 * mean * own - own - mean + 1)
        each /= spread
        deviation = 2 / folds * np.sqrt(((each - each.mean()) ** 2).sum())
        reach = _quantile(confidence) * deviation
        # Since p (1 - p) is concave, the index is never below -1 / (folds - 1).
        low, high = max(stability - reach, -1 / (folds - 1)), min(stability + reach, 1.0)
        return cls(float(stability), float(low), float(high))


def chosen_rows(chosen: Mapping[str, Sequence[str]], repeat: int, fold: int) -> list[dict[str, Any]]:
    """One row per feature chosen in a fold.

    Parameters
    ----------
    chosen : the features by modality.
    """
    return [
        {"repeat": repeat, "fold": fold, "modality": modality, "feature": feature}
        for modality, features in chosen.items()
        for feature in features
    ]


def selection_table(chosen: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Give one row per arm and feature ever chosen: the share of folds that chose it, largest first.

    Parameters
    ----------
    chosen : columns arm, repeat, fold, feature, candidates.
    predictions : rows of `Predictions`, which say how many folds there were.
    """
    found = []
    for arm, columns, matrix, _ in _sets(chosen, predictions):
        times = matrix.sum(axis=0)
        order = sorted(range(len(columns)), key=lambda i: (-times[i], columns[i]))
        found += [(arm, columns[i], times[i] / len(matrix), int(times[i])) for i in order]
    return pd.DataFrame(found, columns=list(COLUMNS))


def stability_table(chosen: pd.DataFrame, predictions: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Give one row per arm: the stability of its selection with its interval, and how many features it chose."""
    found = []
    for arm, columns, matrix, candidates in _sets(chosen, predictions):
        of = max(candidates, len(columns))  # a feature left out of the final model may have been chosen in a fold
        steady = Steadiness.of(matrix, of, confidence)
        size = float(matrix.sum(axis=1).mean())
        found.append((arm, steady.stability, steady.low, steady.high, size, of, len(matrix)))
    return pd.DataFrame(found, columns=list(STABILITY_COLUMNS))


def _sets(chosen: pd.DataFrame, predictions: pd.DataFrame) -> Iterator[tuple[str, list[str], np.ndarray, int]]:
    """By arm: the features ever chosen, which fold chose which, and how many there were to choose from."""
    for arm, part in chosen.groupby("arm", sort=False):
        own = predictions[predictions["arm"] == arm]
        folds = pd.MultiIndex.from_frame(own[["repeat", "fold"]].drop_duplicates().sort_values(["repeat", "fold"]))
        columns = sorted(set(part["feature"]))
        matrix = np.zeros((len(folds), len(columns)), bool)
        rows = folds.get_indexer(pd.MultiIndex.from_frame(part[["repeat", "fold"]]))
        matrix[rows, pd.Index(columns).get_indexer(part["feature"])] = True
        yield str(arm), columns, matrix, int(part["candidates"].max())


def _quantile(confidence: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(0.5 + confidence / 2))
