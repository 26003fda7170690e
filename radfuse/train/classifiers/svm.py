"""A support vector machine."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, final

from pydantic import Field, PositiveFloat

from radfuse.train.classifiers import Classifier


@final
class SupportVectorMachine(Classifier):
    """Widest margin between the outcomes [Cortes & Vapnik 1995, doi:10.1007/BF00994018], made a probability.

    The margin is turned into a probability by a sigmoid, which keeps the order of the patients; see
    `radfuse.train.steps.margin`. The sigmoid is never balanced, so that class weights leave the probabilities risks.
    Tuned: straight borders or bending ones, and the penalty over two orders of magnitude, from soft to hard.
    """

    grid: ClassVar[Mapping[str, tuple[Any, ...]]] = {"kernel": ("linear", "rbf"), "strength": (0.1, 1.0, 10.0)}

    method: Literal["svm"] = "svm"
    strength: PositiveFloat = Field(1.0, description="Inverse of the penalty; smaller allows a softer margin.")
    kernel: Literal["linear", "rbf"] = Field("rbf", description="Straight borders, or borders that bend.")

    @property
    def probabilistic(self) -> bool:
        """Also balanced: the sigmoid is fitted to the outcomes as common as they are."""
        return True

    def build(self, seed: int) -> Any:
        """Make the scikit-learn estimator."""
        from sklearn.svm import SVC

        from radfuse.train.steps.margin import Margin

        weight = None if self.class_weight == "none" else self.class_weight
        return Margin(SVC(C=self.strength, kernel=self.kernel, class_weight=weight), seed)
