"""The best image, chosen inside the training rows."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

from pydantic import Field, PositiveInt

from radfuse.train.fusion import FusionStrategy


@final
class ChosenImage(FusionStrategy):
    """Choose one fused image, so one method, weight and set of modalities, by inner cross-validation; use it alone.

    The best of many images in a table of AUCs is too good by the luck of the draw; choosing inside each training part
    pays for the search, and its AUC is what a new patient may expect [Cawley & Talbot, JMLR 11:2079, 2010].
    """

    joins: ClassVar[bool] = False

    method: Literal["chosen"] = "chosen"
    folds: int = Field(5, ge=2, description="Inner folds; no more than the rarer outcome has rows.")
    repeats: PositiveInt = Field(2, description="How often the training rows are dealt into inner folds.")

    def build(self, modalities: Sequence[str], selector: Any, classifier: Any, seed: int) -> Any:
        """Make the estimator."""
        from radfuse.train.steps.chosen import Chosen

        return Chosen(list(modalities), selector, classifier, self.folds, self.repeats, seed)
