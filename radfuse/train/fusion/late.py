"""Late fusion: one classifier per modality, and the mean of their probabilities."""

from collections.abc import Sequence
from typing import Any, Literal, final

from radfuse.train.fusion import FusionStrategy


@final
class Late(FusionStrategy):
    """Average the probabilities of the modalities that a subject has."""

    method: Literal["late"] = "late"

    def build(self, modalities: Sequence[str], selector: Any, classifier: Any, seed: int) -> Any:
        """Make the estimator."""
        from radfuse.train.steps.averaged import Averaged

        return Averaged(list(modalities), selector, classifier)
