"""The covariance of few patients and many features."""

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator

# Of standardised features; keeps the covariance invertible where a class has no spread at all.
FLOOR = 1e-6


class Shrunk(BaseEstimator):  # type: ignore[misc]
    """Shrink a covariance towards equal variances [Ledoit & Wolf 2004, doi:10.1016/S0047-259X(03)00096-4].

    Parameters
    ----------
    share : of equal variances in the result, 0 to 1; None as the paper advises (its section 3).
    """

    def __init__(self, share: float | None = None) -> None:
        self.share = share

    def fit(self, values: np.ndarray, outcome: object = None) -> Self:
        """Estimate ``covariance_``."""
        from sklearn.covariance import ledoit_wolf

        # Of one feature or one patient there is nothing to shrink, and scikit-learn warns when it is asked to.
        several = min(values.shape) > 1
        plain = np.atleast_2d(np.cov(values, rowvar=False, bias=True))
        if self.share is not None:
            covariance = (1 - self.share) * plain + self.share * np.trace(plain) / len(plain) * np.eye(len(plain))
        else:
            covariance = ledoit_wolf(values)[0] if several else plain
        self.covariance_ = covariance + FLOOR * np.eye(values.shape[1])
        return self
