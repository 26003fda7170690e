"""Selection: which features a model may look at, chosen from the training rows alone."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from pydantic import Field

from radfuse.component import Component

if TYPE_CHECKING:
    from radfuse.train.steps.thinning import Thinning


class Selection(Component):
    """Rank the features, walk down the ranking, and skip what repeats a feature already taken.

    Two filters may come first, in this order, and look at no outcome: ``least_variance`` and ``clusters``.
    """

    correlation: float = Field(
        0.9, gt=0.0, le=1.0, description="A feature correlated above this with one already taken is skipped."
    )
    least_variance: float = Field(
        0.0,
        ge=0.0,
        lt=0.25,
        description="Before ranking: least variance of a feature stretched to 0 .. 1 (at most 0.25); 0 keeps all.",
    )
    clusters: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="Before ranking: mean correlation that makes features a cluster, of which one stays; null: none.",
    )

    @abstractmethod
    def build(self) -> Any:
        """Make an unfitted `radfuse.train.steps.selector.Selector`."""

    @property
    def thinning(self) -> Thinning:
        """The filters before the ranking."""
        from radfuse.train.steps.thinning import Thinning

        return Thinning(self.least_variance, self.clusters)
