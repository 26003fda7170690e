"""CovBat's second step: how features vary together, made alike in all batches [Chen 2022, HBM 43:1179].

What ComBat leaves (its residuals in units of sigma) is brought to variance 1 per feature and turned into principal
components. The scores of the first few, which hold most of the variance, get ComBat without empirical Bayes and
without covariates, and go back the way they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.harmonize.estimates import Array, Estimates, Recipe, fit

FEWEST_ROWS = 3


@dataclass(frozen=True, eq=False)
class Covariance:
    """A fitted second step.

    Parameters
    ----------
    centre, spread : of the residuals of each feature that ComBat fitted, over the training rows.
    axes : principal axes; (component, feature).
    scores : ComBat of the scores, each component a feature.
    share : what the components hold of the residual variance.
    """

    centre: Array
    spread: Array
    axes: Array
    scores: Estimates
    share: float

    def apply(self, harmonised: Array, batch: npt.NDArray[Any], covariates: Array, first: Estimates) -> Array:
        """Change rows that ``first`` has harmonised; rows of a batch not fitted come back as they are."""
        from radfuse.harmonize.kernels.rows import project

        own = np.flatnonzero(first.usable)
        residuals = first.residuals(harmonised, covariates)[:, own]
        scores = project((residuals - self.centre) / self.spread, np.ascontiguousarray(self.axes.T))
        moved = self.scores.apply(scores, batch, np.zeros((len(scores), 0))) - scores
        changed = harmonised.copy()
        changed[:, own] += project(moved, self.axes) * (self.spread * first.sigma[own])
        return changed

    def to_dict(self) -> dict[str, Any]:
        """Give plain arrays and strings, which any format can store."""
        plain = {"centre": self.centre, "spread": self.spread, "axes": self.axes, "share": self.share}
        return plain | {"scores": self.scores.to_dict()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Covariance:
        """Take up what `to_dict` gave."""
        return cls(**{**stored, "scores": Estimates.from_dict(stored["scores"])})


def fit_covariance(
    harmonised: Array, batch: npt.NDArray[Any], covariates: Array, first: Estimates, recipe: Recipe, variance: float
) -> Covariance | None:
    """Fit the second step on rows that ``first`` has harmonised, every one of a fitted batch.

    Parameters
    ----------
    recipe : that of ``first``; its reference and the batches whose scale is left alone hold for the scores too.
    variance : the fewest components that hold more than this share of the variance are harmonised.

    Returns
    -------
    None for fewer than two features that vary, or fewer than ``FEWEST_ROWS`` rows.
    """
    residuals = first.residuals(harmonised, covariates)[:, first.usable]
    if residuals.shape[1] < 2 or len(residuals) < FEWEST_ROWS:
        return None
    centre, spread = residuals.mean(axis=0), residuals.std(axis=0, ddof=1)
    spread = np.where(spread > 0, spread, 1.0)
    left, weights, axes = np.linalg.svd((residuals - centre) / spread, full_matrices=False)
    held = np.cumsum(weights**2) / (weights**2).sum()
    count = min(int(np.searchsorted(held, variance, side="right")) + 1, len(weights))
    signs = np.sign(axes[np.arange(count), np.abs(axes[:count]).argmax(axis=1)])
    axes = axes[:count] * signs[:, None]
    scores = left[:, :count] * (weights[:count] * signs)
    plain = Recipe(False, recipe.location_only, recipe.reference, recipe.tolerance, recipe.cap, recipe.upstream)
    found = fit(scores, batch, np.zeros((len(scores), 0)), plain)
    return Covariance(centre, spread, np.ascontiguousarray(axes), found, float(held[count - 1]))
