"""Linear discriminant analysis."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from radfuse.train.classifiers import Classifier


@final
class LinearDiscriminant(Classifier):
    """Two normal clouds of one shape [Fisher 1936]; the covariance is shrunk as Ledoit & Wolf advise.

    Shrinkage [doi:10.1016/S0047-259X(03)00096-4] keeps it defined with more features than patients. Balanced: both
    outcomes get the prior 1/2. Tuned: the shrinkage, from no correlations at all to nearly those of the sample, and
    the advised one, which is worked out for the covariance and not for the prediction.
    """

    grid: ClassVar[Mapping[str, tuple[Any, ...]]] = {"shrinkage": (None, 1.0, 0.5, 0.1)}

    method: Literal["lda"] = "lda"
    shrinkage: float | None = Field(
        None, ge=0.0, le=1.0, description="Share of equal variances in the covariance; null as Ledoit & Wolf advise."
    )

    def build(self, seed: int) -> Any:
        """Make the scikit-learn estimator; nothing in it is random."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        from radfuse.train.steps.covariance import Shrunk

        return LinearDiscriminantAnalysis(
            solver="lsqr",
            covariance_estimator=Shrunk(self.shrinkage),
            priors=[0.5, 0.5] if self.class_weight == "balanced" else None,
        )
