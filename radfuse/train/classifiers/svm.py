"""A support vector machine."""

from typing import Any, Literal, final

from pydantic import Field, PositiveFloat

from radfuse.train.classifiers import Classifier


@final
class SupportVectorMachine(Classifier):
    """Widest margin between the outcomes [Cortes & Vapnik 1995, doi:10.1007/BF00994018], made a probability.

    The margin is turned into a probability by a sigmoid fitted to inner out-of-fold margins [Platt 1999].
    """

    method: Literal["svm"] = "svm"
    strength: PositiveFloat = Field(1.0, description="Inverse of the penalty; smaller allows a softer margin.")
    kernel: Literal["linear", "rbf"] = Field("rbf", description="Straight borders, or borders that bend.")

    def build(self, seed: int) -> Any:
        """Make the scikit-learn estimator."""
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.model_selection import StratifiedKFold
        from sklearn.svm import SVC

        inner = StratifiedKFold(3, shuffle=True, random_state=seed)
        return CalibratedClassifierCV(SVC(C=self.strength, kernel=self.kernel), ensemble=False, cv=inner)
