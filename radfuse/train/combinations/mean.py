"""The mean of the modalities."""

from collections.abc import Sequence
from typing import Any, Literal, final

from radfuse.train.combinations import Combination


@final
class Mean(Combination):
    """Average the probabilities of the modalities that a subject has: nothing is learned, so nothing is overfitted."""

    method: Literal["mean"] = "mean"

    def build(self, modalities: Sequence[str]) -> Any:
        """Make the combiner."""
        from radfuse.train.steps.combiners import MeanOfPresent

        return MeanOfPresent()
