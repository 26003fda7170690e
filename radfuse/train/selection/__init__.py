"""Selection: which features a model may look at, chosen from the training rows alone."""

from abc import abstractmethod
from typing import Any

from pydantic import Field

from radfuse.component import Component


class Selection(Component):
    """Rank the features, walk down the ranking, and skip what repeats a feature already taken."""

    correlation: float = Field(
        0.9, gt=0.0, le=1.0, description="A feature correlated above this with one already taken is skipped."
    )

    @abstractmethod
    def build(self) -> Any:
        """Make an unfitted `radfuse.train.steps.selector.Selector`."""
