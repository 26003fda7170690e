"""Logistic regression with an elastic-net penalty."""

from typing import Any, Literal, final

from pydantic import Field, PositiveFloat, PositiveInt

from radfuse.train.classifiers import Classifier


@final
class Logistic(Classifier):
    """Penalised logistic regression [Zou & Hastie 2005, doi:10.1111/j.1467-9868.2005.00503.x]."""

    method: Literal["logistic"] = "logistic"
    strength: PositiveFloat = Field(1.0, description="Inverse of the penalty; smaller shrinks more.")
    l1_ratio: float = Field(0.5, ge=0.0, le=1.0, description="Share of the absolute penalty; 0 is ridge, 1 is lasso.")
    iterations: PositiveInt = Field(10_000, description="Most passes over the data before giving up.")

    def build(self, seed: int) -> Any:
        """Make the scikit-learn estimator; ``saga`` is its only solver for the elastic net."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(
            C=self.strength,
            l1_ratio=self.l1_ratio,
            solver="saga" if self.l1_ratio > 0 else "lbfgs",
            max_iter=self.iterations,
            tol=1e-4,
            random_state=seed,
        )
