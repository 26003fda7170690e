"""Intermediate fusion by principal components."""

from collections.abc import Sequence
from typing import Any, Literal, final

from pydantic import Field, PositiveInt

from radfuse.train.fusion import FusionStrategy


@final
class PrincipalComponentsFusion(FusionStrategy):
    """Summarise each modality by its first principal components, join those, and train one classifier on them.

    Each modality brings as many components as it would bring features to early fusion. The components look at no
    outcome; the features that they are made of are selected by it, unless ``features`` is null [supervised principal
    components, Bair et al. 2006, doi:10.1198/016214505000000628]. Those of a missing modality are 0, their mean.
    """

    method: Literal["pca"] = "pca"
    components: PositiveInt = Field(10, description="Most components of a modality.")
    events_per_component: PositiveInt = Field(
        5, description="Training patients of the rarer class per component of a modality, as for selected features."
    )
    features: PositiveInt | None = Field(12, description="Most features of a modality that take part; null: all.")

    @property
    def level(self) -> str:
        """The modalities meet after each is encoded and before anything is decided."""
        return "intermediate"

    @property
    def title(self) -> str:
        """The name of its arms; what is not the default is said, so that several settings may run side by side."""
        return "_".join([self.method, *self.differing("components", "events_per_component", "features")])

    def build(self, modalities: Sequence[str], selector: Any, classifier: Any, seed: int) -> Any:
        """Make the estimator."""
        from radfuse.train.steps.projected import Projected
        from radfuse.train.steps.projections import PrincipalComponents

        projection = PrincipalComponents(self.components, self.events_per_component)
        return Projected(list(modalities), selector, classifier, projection, self.features)
