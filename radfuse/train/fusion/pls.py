"""Intermediate fusion by partial least squares."""

from collections.abc import Sequence
from typing import Any, Literal, final

from pydantic import Field, PositiveInt

from radfuse.train.fusion import FusionStrategy


@final
class PartialLeastSquaresFusion(FusionStrategy):
    """Join the modalities in few components that vary with the outcome, and train one classifier on those.

    Partial least squares over all modalities' features, each modality counting alike [Wold, Sjöström & Eriksson 2001,
    doi:10.1016/S0169-7439(01)00155-1]. A missing modality adds nothing to a subject's components.
    """

    method: Literal["pls"] = "pls"
    components: PositiveInt = Field(2, description="Most components of all modalities together.")
    features: PositiveInt | None = Field(12, description="Most features of a modality that take part; null: all.")

    @property
    def level(self) -> str:
        """The modalities meet after each is encoded and before anything is decided."""
        return "intermediate"

    @property
    def title(self) -> str:
        """The name of its arms; what is not the default is said, so that several settings may run side by side."""
        return "_".join([self.method, *self.differing("components", "features")])

    def build(self, modalities: Sequence[str], selector: Any, classifier: Any, seed: int) -> Any:
        """Make the estimator."""
        from radfuse.train.steps.projected import Projected
        from radfuse.train.steps.projections import PartialLeastSquares

        return Projected(list(modalities), selector, classifier, PartialLeastSquares(self.components), self.features)
