"""Choose a few features from the training rows."""

from collections.abc import Callable
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.train.steps.thinning import Thinning

Ranking = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Selector(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Take features from the top of a ranking, skipping any that repeats one already taken.

    Works on float arrays without missing values. ``chosen_`` holds the column positions, best first. Where nothing is
    worth anything, the first column that varies is taken all the same, since a model needs one.

    Parameters
    ----------
    ranking : (rows x columns, outcome) to one score per column; larger is better, 0 or less is useless.
    correlation : largest absolute Pearson correlation with a column already taken.
    events_per_feature : training rows of the rarer class per feature; 0 sets no such limit.
    most : most features.
    thinning : what is left out before the ranking; None leaves nothing out. Where it would leave nothing at all, all
        columns are ranked.
    """

    def __init__(
        self,
        ranking: Ranking,
        correlation: float = 0.9,
        events_per_feature: int = 5,
        most: int = 10,
        thinning: Thinning | None = None,
    ) -> None:
        self.ranking = ranking
        self.correlation = correlation
        self.events_per_feature = events_per_feature
        self.most = most
        self.thinning = thinning

    def fit(self, values: np.ndarray, outcome: np.ndarray) -> Self:
        """Choose the columns."""
        kept = np.arange(values.shape[1]) if self.thinning is None else self.thinning.kept(values)
        kept = kept if len(kept) else np.arange(values.shape[1])
        score = np.asarray(self.ranking(values[:, kept], outcome), dtype=float)
        order = np.argsort(-score, kind="stable")
        order = kept[order[score[order] > 0]]
        chosen = uncorrelated(values, order, self.correlation, self._count(outcome))
        self.chosen_ = chosen if len(chosen) else _any_column(values)
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Give the chosen columns, best first."""
        return np.ascontiguousarray(values[:, self.chosen_])

    def _count(self, outcome: np.ndarray) -> int:
        count = self.most
        if self.events_per_feature:
            events = int(min((outcome == 1).sum(), (outcome == 0).sum()))
            count = min(count, events // self.events_per_feature)
        return max(1, count)


def _any_column(values: np.ndarray) -> np.ndarray:
    """The first column that varies, or just the first."""
    return np.array([int(np.argmax(np.ptp(values, axis=0) > 0))] if values.shape[1] else [], dtype=np.intp)


def uncorrelated(values: np.ndarray, order: np.ndarray, limit: float, count: int) -> np.ndarray:
    """Walk down an order of columns and take up to ``count`` whose correlation with those taken stays in the limit.

    Examples
    --------
    >>> twins = np.array([[1.0, 2.0, 0.0], [2.0, 4.1, 1.0], [3.0, 6.0, 0.0]])
    >>> uncorrelated(twins, np.array([0, 1, 2]), 0.9, 2)
    array([0, 2])
    """
    candidates = np.asarray(order, dtype=np.intp)
    centred = values[:, candidates] - values[:, candidates].mean(axis=0)
    norm = np.sqrt((centred**2).sum(axis=0))
    unit = np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)
    free = norm > 0
    taken: list[int] = []
    while len(taken) < count and free.any():
        best = int(np.argmax(free))
        taken.append(best)
        free &= np.abs(unit[:, best] @ unit) <= limit
        free[best] = False
    return candidates[taken]
