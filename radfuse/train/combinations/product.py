"""Naive Bayes."""

from collections.abc import Sequence
from typing import Any, Literal, final

from radfuse.train.combinations import Combination


@final
class Product(Combination):
    """Multiply the modalities' evidence: their log odds beyond those of the prevalence are added up.

    Right when the probabilities are calibrated and the modalities independent given the outcome
    [Kittler et al. 1998, doi:10.1109/34.667881, product rule]; overconfident when they are not.
    """

    method: Literal["product"] = "product"

    def build(self, modalities: Sequence[str]) -> Any:
        """Make the combiner."""
        from radfuse.train.steps.combiners import Evidence

        return Evidence()
