"""Rank features by analysis of variance."""

from typing import Any, Literal, final

import numpy as np
from pydantic import Field, PositiveInt

from radfuse.train.selection import Selection


@final
class Anova(Selection):
    """Largest F statistic between the two outcomes first."""

    method: Literal["anova"] = "anova"
    events_per_feature: PositiveInt = Field(
        5, description="Training patients of the rarer class per selected feature; 10 is the cautious rule."
    )
    most: PositiveInt = Field(10, description="Most features a model gets, however many events there are.")

    def build(self) -> Any:
        """Make the selector."""
        from radfuse.train.steps.selector import Selector

        return Selector(f_statistic, self.correlation, self.events_per_feature, self.most, self.thinning)


def f_statistic(values: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """One-way F between two classes, per column; 0 where a column is constant.

    Examples
    --------
    >>> f_statistic(np.array([[1.0], [2.0], [3.0], [5.0], [6.0], [7.0]]), np.array([0, 0, 0, 1, 1, 1]))
    array([24.])
    """
    one, zero = values[outcome == 1], values[outcome == 0]
    overall = values.mean(axis=0)
    between = len(one) * (one.mean(axis=0) - overall) ** 2 + len(zero) * (zero.mean(axis=0) - overall) ** 2
    within = ((one - one.mean(axis=0)) ** 2).sum(axis=0) + ((zero - zero.mean(axis=0)) ** 2).sum(axis=0)
    # A feature that separates the classes without any spread ranks first, finitely.
    floor = np.finfo(float).tiny + np.finfo(float).eps * between
    ratio = between / np.maximum(within / max(len(values) - 2, 1), floor)
    # What rounding leaves of a constant column's spread is no spread.
    rounding = len(values) * (1e-12 * np.abs(values).max(axis=0)) ** 2
    return np.asarray(np.where((between > 0) & (between + within > rounding), ratio, 0.0))
