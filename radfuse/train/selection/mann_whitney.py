"""Rank features by the Mann-Whitney statistic."""

from typing import Any, Literal, final

import numpy as np
from pydantic import Field, PositiveInt

from radfuse.train.selection import Selection


@final
class MannWhitney(Selection):
    """Largest distance of a feature's own AUC from 1/2 first; outliers do not sway it."""

    method: Literal["mann_whitney"] = "mann_whitney"
    events_per_feature: PositiveInt = Field(
        5, description="Training patients of the rarer class per selected feature; 10 is the cautious rule."
    )
    most: PositiveInt = Field(10, description="Most features a model gets, however many events there are.")

    def build(self) -> Any:
        """Make the selector."""
        from radfuse.train.steps.selector import Selector

        return Selector(auc_distance, self.correlation, self.events_per_feature, self.most, self.thinning)


def auc_distance(values: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Distance of each column's AUC from 1/2: the Mann-Whitney U over the number of pairs.

    Examples
    --------
    >>> auc_distance(np.array([[1.0], [3.0], [2.0], [4.0]]), np.array([0, 0, 1, 1]))
    array([0.25])
    """
    from scipy.stats import rankdata

    ones = int((outcome == 1).sum())
    zeros = len(outcome) - ones
    rank_sum = rankdata(values, axis=0)[outcome == 1].sum(axis=0)
    u = rank_sum - ones * (ones + 1) / 2
    return np.asarray(np.abs(u / (ones * zeros) - 0.5))
