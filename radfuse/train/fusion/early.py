"""Early fusion: one classifier over the features of all modalities."""

from collections.abc import Sequence
from typing import Any, Literal, final

from radfuse.train.fusion import FusionStrategy


@final
class Early(FusionStrategy):
    """Select in each modality, put the columns side by side, and train one classifier.

    Each modality brings as many features as it would alone, so that early fusion differs from a single modality by
    what it joins and not by how it selects, and no modality crowds out the others.
    """

    method: Literal["early"] = "early"

    def build(self, modalities: Sequence[str], selector: Any, classifier: Any, seed: int) -> Any:
        """Make the estimator."""
        from radfuse.train.steps.concatenated import Concatenated

        return Concatenated(list(modalities), selector, classifier)
