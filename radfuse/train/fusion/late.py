"""Late fusion: one classifier per modality, and one decision made of theirs."""

from collections.abc import Sequence
from typing import Any, Literal, final

from pydantic import Field, PositiveInt

from radfuse.train.combinations import Combination
from radfuse.train.combinations.mean import Mean
from radfuse.train.fusion import FusionStrategy


@final
class Late(FusionStrategy):
    """Combine the probabilities of the modalities that a subject has.

    With enough rows each modality's probabilities are calibrated first [Platt 1999], on inner out-of-fold predictions.
    """

    method: Literal["late"] = "late"
    combine: Combination = Field(
        Mean(), description="How decisions are combined: mean, weighted, stacking, product, vote, rule."
    )
    calibrate_from: PositiveInt | None = Field(
        200, description="Training rows of a modality from which its probabilities are calibrated; null never does."
    )

    @property
    def title(self) -> str:
        """The name of its arms; the mean, which is the default, goes without its name."""
        return self.method if isinstance(self.combine, Mean) else f"{self.method}_{self.combine.method}"

    @property
    def probabilistic(self) -> bool:
        """Whether the combination gives probabilities."""
        return self.combine.probabilistic

    @property
    def recalibrates(self) -> bool:
        """Whether the combination does."""
        return self.combine.recalibrates

    def check(self, modalities: Sequence[str]) -> None:
        """Refuse a rule that names a modality which is not there."""
        self.combine.build(modalities)

    def build(self, modalities: Sequence[str], selector: Any, classifier: Any, seed: int) -> Any:
        """Make the estimator."""
        from radfuse.train.steps.combined import Combined

        combiner = self.combine.build(modalities)
        return Combined(
            list(modalities), selector, classifier, combiner, self.combine.learns, self.calibrate_from, seed
        )
