"""Late fusion: one classifier per modality, and the mean of their probabilities."""

from collections.abc import Sequence
from typing import Any, Literal, final

from pydantic import Field, PositiveInt

from radfuse.train.fusion import FusionStrategy


@final
class Late(FusionStrategy):
    """Average the probabilities of the modalities that a subject has.

    With enough rows each modality's probabilities are calibrated first [Platt 1999], on inner out-of-fold predictions.
    """

    method: Literal["late"] = "late"
    calibrate_from: PositiveInt | None = Field(
        200, description="Training rows of a modality from which its probabilities are calibrated; null never does."
    )

    def build(self, modalities: Sequence[str], selector: Any, classifier: Any, seed: int) -> Any:
        """Make the estimator."""
        from radfuse.train.steps.averaged import Averaged

        return Averaged(list(modalities), selector, classifier, self.calibrate_from, seed)
