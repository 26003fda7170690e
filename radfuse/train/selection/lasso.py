"""Rank features by when they enter the lasso."""

from typing import Any, Literal, final

import numpy as np
from pydantic import Field, PositiveInt

from radfuse.train.selection import Selection

RANKED = 100


@final
class Lasso(Selection):
    """Order of entry along the lasso's path, strongest penalty first [Tibshirani 1996; path: Efron et al. 2004].

    The path is that of least squares on the 0/1 outcome [doi:10.1214/009053604000000067], standardised columns.
    """

    method: Literal["lasso"] = "lasso"
    events_per_feature: PositiveInt = Field(
        5, description="Training patients of the rarer class per selected feature; 10 is the cautious rule."
    )
    most: PositiveInt = Field(10, description="Most features a model gets, however many events there are.")

    def build(self) -> Any:
        """Make the selector."""
        from radfuse.train.steps.selector import Selector

        return Selector(entry, self.correlation, self.events_per_feature, self.most, self.thinning)


def entry(values: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Score columns by how early they enter the path, the first highest; 0 for those that never do."""
    from sklearn.linear_model import lars_path

    spread = values.std(axis=0)
    varies = np.flatnonzero(spread > 1e-12 * np.maximum(np.abs(values).max(axis=0), 1.0))
    score = np.zeros(values.shape[1])
    if len(varies) == 0 or outcome.min() == outcome.max():
        return score
    standard = (values[:, varies] - values[:, varies].mean(axis=0)) / spread[varies]
    target = outcome - outcome.mean()
    _, _, coefficients = lars_path(standard, target.astype(float), method="lasso", max_iter=RANKED)
    active = coefficients != 0
    entered = np.where(active.any(axis=1), active.argmax(axis=1), coefficients.shape[1])
    score[varies] = coefficients.shape[1] - entered
    return score
