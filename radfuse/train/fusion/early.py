"""Early fusion: one classifier over the features of all modalities."""

from collections.abc import Sequence
from typing import Any, Literal, final

from radfuse.train.fusion import FusionStrategy


@final
class Early(FusionStrategy):
    """Select in each modality, put the columns side by side, and train one classifier.

    The number of features is the one a single modality would get, shared out among the modalities (at least one
    each), so that no modality crowds out the others.
    """

    method: Literal["early"] = "early"

    def build(self, modalities: Sequence[str], selector: Any, classifier: Any, seed: int) -> Any:
        """Make the estimator."""
        from radfuse.train.steps.concatenated import Concatenated

        return Concatenated(list(modalities), selector, classifier)
