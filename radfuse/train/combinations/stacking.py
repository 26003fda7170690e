"""A small regression on the decisions."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

from pydantic import Field, PositiveFloat

from radfuse.train.combinations import Combination


@final
class Stacking(Combination):
    """Regress the outcome on the modalities' log odds [Wolpert 1992; non-negative weights: Breiman 1996].

    It is trained on inner out-of-fold probabilities only. A modality that a subject lacks is given the log odds of the
    prevalence, which say nothing.
    """

    learns: ClassVar[bool] = True
    recalibrates: ClassVar[bool] = True

    method: Literal["stacking"] = "stacking"
    strength: PositiveFloat = Field(1.0, description="Inverse of the squared penalty on the weights.")

    def build(self, modalities: Sequence[str]) -> Any:
        """Make the combiner."""
        from radfuse.train.steps.combiners import Stacked

        return Stacked(self.strength)
