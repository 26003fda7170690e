"""A mean in which the better modality counts more."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

from radfuse.train.combinations import Combination


@final
class Weighted(Combination):
    """Weigh each modality by the inverse of its Brier score on inner out-of-fold probabilities.

    The weights of the modalities that a subject has are made to add up to 1.
    """

    learns: ClassVar[bool] = True

    method: Literal["weighted"] = "weighted"

    def build(self, modalities: Sequence[str]) -> Any:
        """Make the combiner."""
        from radfuse.train.steps.combiners import InverseBrier

        return InverseBrier()
