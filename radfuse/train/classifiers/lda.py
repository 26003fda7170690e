"""Linear discriminant analysis."""

from typing import Any, Literal, final

from radfuse.train.classifiers import Classifier


@final
class LinearDiscriminant(Classifier):
    """Two normal clouds of one shape [Fisher 1936]; the covariance is shrunk as Ledoit & Wolf advise.

    Shrinkage [doi:10.1016/S0047-259X(03)00096-4] keeps it defined with more features than patients.
    """

    method: Literal["lda"] = "lda"

    def build(self, seed: int) -> Any:
        """Make the scikit-learn estimator; nothing in it is random."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        from radfuse.train.steps.covariance import Shrunk

        return LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Shrunk())
