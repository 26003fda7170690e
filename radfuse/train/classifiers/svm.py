"""A support vector machine."""

from typing import Any, Literal, final

from pydantic import Field, PositiveFloat

from radfuse.train.classifiers import Classifier


@final
class SupportVectorMachine(Classifier):
    """Widest margin between the outcomes [Cortes & Vapnik 1995, doi:10.1007/BF00994018], made a probability.

    The margin is turned into a probability by a sigmoid, which keeps the order of the patients; see
    `radfuse.train.steps.margin`.
    """

    method: Literal["svm"] = "svm"
    strength: PositiveFloat = Field(1.0, description="Inverse of the penalty; smaller allows a softer margin.")
    kernel: Literal["linear", "rbf"] = Field("rbf", description="Straight borders, or borders that bend.")

    def build(self, seed: int) -> Any:
        """Make the scikit-learn estimator."""
        from sklearn.svm import SVC

        from radfuse.train.steps.margin import Margin

        return Margin(SVC(C=self.strength, kernel=self.kernel), seed)
