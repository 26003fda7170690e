"""Leave the choice to the classifier's own penalty."""

from typing import Any, Literal, final

from pydantic import Field, PositiveInt

from radfuse.train.selection import Selection
from radfuse.train.selection.anova import f_statistic


@final
class Penalty(Selection):
    """Hand over every feature that repeats no better one, and let the elastic net shrink the rest to zero."""

    method: Literal["penalty"] = "penalty"
    most: PositiveInt = Field(1000, description="Most features handed over, largest F statistic first.")

    def build(self) -> Any:
        """Make the selector."""
        from radfuse.train.steps.selector import Selector

        return Selector(f_statistic, self.correlation, 0, self.most, self.thinning)
