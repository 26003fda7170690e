"""A vote of the modalities."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from radfuse.train.combinations import Combination


@final
class Vote(Combination):
    """Count the modalities that say yes; of equal counts the larger mean probability comes first."""

    probabilistic: ClassVar[bool] = False

    method: Literal["vote"] = "vote"
    threshold: float | None = Field(
        None, gt=0.0, lt=1.0, description="Probability above which a modality says yes; null: the training prevalence."
    )

    def build(self, modalities: Sequence[str]) -> Any:
        """Make the combiner."""
        from radfuse.train.steps.combiners import Majority

        return Majority(self.threshold)
