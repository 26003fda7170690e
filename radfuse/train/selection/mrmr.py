"""Rank features by relevance over redundancy."""

from typing import Any, Literal, final

import numpy as np
from pydantic import Field, PositiveInt

from radfuse.train.selection import Selection
from radfuse.train.selection.anova import f_statistic

# Far more than a model ever takes, so that features skipped for their correlation have successors.
RANKED = 100


@final
class Mrmr(Selection):
    """Minimum redundancy, maximum relevance [Ding & Peng 2005, doi:10.1142/S0219720005001004; their FCQ].

    Each next feature has the largest F statistic over its mean absolute correlation with those already ranked.
    """

    method: Literal["mrmr"] = "mrmr"
    events_per_feature: PositiveInt = Field(
        5, description="Training patients of the rarer class per selected feature; 10 is the cautious rule."
    )
    most: PositiveInt = Field(10, description="Most features a model gets, however many events there are.")

    def build(self) -> Any:
        """Make the selector."""
        from radfuse.train.steps.selector import Selector

        return Selector(relevance_over_redundancy, self.correlation, self.events_per_feature, self.most, self.thinning)


def relevance_over_redundancy(values: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Score columns by their place in the ranking, the first highest; 0 beyond the first hundred and for constants."""
    relevance = f_statistic(values, outcome)
    centred = values - values.mean(axis=0)
    norm = np.sqrt((centred**2).sum(axis=0))
    unit = np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)
    left = (relevance > 0) & (norm > 0)
    count = min(RANKED, int(left.sum()))
    score, redundancy = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for place in range(count):
        mean = np.maximum(redundancy / place, 1e-9) if place else 1.0
        best = int(np.argmax(np.where(left, relevance / mean, -np.inf)))
        score[best], left[best] = count - place, False
        redundancy += np.abs(unit[:, best] @ unit)
    return score
