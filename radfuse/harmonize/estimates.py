"""ComBat's numbers: fitted by sums over each batch's rows, applied row by row.

The model of row i in batch b, feature f, covariates x [Johnson 2007, Biostatistics 8:118; Fortin 2017, NeuroImage
161:149]::

    y = alpha_f + x'beta_f + sigma_f (gamma_bf + sqrt(delta_bf) e)

The rows are read once, and only sums are kept: per batch n, the sums of y, y^2, x y, x and x x'. Everything after
that costs O(features) per batch. Within a batch, y is counted from the mean of the batch's first rows, so that a large
offset costs no digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FIRST_ROWS = 64  # their mean is where a batch's sums are counted from
BLOCK_ROWS = 1024
RELATIVE_NOISE = 1e-12  # a residual sum of squares below this share of the total is rounding
ROUNDING = 1e-13  # so is a standard deviation below this share of the mean


@dataclass(frozen=True)
class Recipe:
    """How to fit.

    Parameters
    ----------
    empirical_bayes : shrink each batch's estimates towards their mean over features.
    location_only : batches whose scale is left alone (delta = 1).
    reference : the batch that stays as it is; empty for none.
    tolerance : the iteration ends when the largest relative change is at most this.
    cap : the largest number of iterations.
    upstream : for comparison with the R and Python programs only. Their stopping rule divides the change of gamma
        by its signed value, so that features with a negative gamma never prolong the iteration; and their
        location-only formula puts 1 in place of the number of rows, which leaves most of the shift in.
    """

    empirical_bayes: bool = True
    location_only: frozenset[str] = frozenset()
    reference: str = ""
    tolerance: float = 1e-4
    cap: int = 500
    upstream: bool = False


@dataclass(frozen=True, eq=False)
class Estimates:
    """A fitted model.

    Parameters
    ----------
    batches : names of the fitted batches, sorted.
    counts : rows per batch.
    alpha, sigma : per feature, intercept and residual standard deviation; (feature,).
    beta : effect of each covariate column; (covariate, feature).
    gamma, delta : shift in units of sigma and ratio of variances, per batch; (batch, feature).
    usable : whether the feature was fitted; the others come back as they are. (feature,)
    iterations : per batch; 0 where nothing had to be iterated.
    converged : per batch, whether the iteration ended before its cap.
    """

    batches: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    alpha: Array
    beta: Array
    sigma: Array
    gamma: Array
    delta: Array
    usable: npt.NDArray[np.bool_]
    iterations: npt.NDArray[np.int64]
    converged: npt.NDArray[np.bool_]

    def apply(self, values: Array, batch: npt.NDArray[Any], covariates: Array) -> Array:
        """Harmonise rows, each with its own covariates; rows of a batch not fitted come back as they are.

        Every number is computed from its own row alone, in the same order of operations whatever other rows there are.
        """
        from radfuse.harmonize.kernels.rows import change_rows

        harmonised = np.array(values, dtype=np.float64, order="C")
        scale = 1.0 / np.sqrt(self.delta)
        facts, beta = np.ascontiguousarray(covariates), np.ascontiguousarray(self.beta)
        change_rows(
            harmonised, codes(batch, self.batches), facts, self.alpha, beta,
            scale - 1.0, self.sigma * self.gamma * scale,
        )  # fmt: skip
        return harmonised

    def residuals(self, harmonised: Array, covariates: Array) -> Array:
        """Give what is left of harmonised rows without intercept and covariates, in units of sigma."""
        rest = harmonised - self.alpha
        for column, effect in enumerate(self.beta):  # not a matrix product: its rounding depends on other rows
            rest -= covariates[:, column, None] * effect
        return rest / self.sigma

    def to_dict(self) -> dict[str, Any]:
        """Give plain arrays and strings, which any format can store."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"batches": list(self.batches)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Estimates:
        """Take up what `to_dict` gave."""
        return cls(**{**stored, "batches": tuple(stored["batches"])})


@dataclass(frozen=True, eq=False)
class Sums:
    """What is kept of the rows, by batch; y counted from ``shift``.

    Parameters
    ----------
    counts : rows; (batch,).
    shift, y, yy : (batch, feature).
    xy : (batch, covariate, feature).
    x : (batch, covariate).
    xx : (batch, covariate, covariate).
    """

    counts: npt.NDArray[np.int64]
    shift: Array
    y: Array
    yy: Array
    xy: Array
    x: Array
    xx: Array

    @classmethod
    def of(cls, values: Array, code: npt.NDArray[np.int64], covariates: Array, batches: int) -> Sums:
        """Read the rows once, block by block; ``code`` is the batch of each row."""
        from radfuse.harmonize.kernels.rows import add_rows, first_means

        shape = (batches, values.shape[1])
        shift = first_means(values, code, batches, FIRST_ROWS)
        y, yy = np.zeros(shape), np.zeros(shape)
        xy = np.zeros((batches, covariates.shape[1], shape[1]))
        for start in range(0, len(values), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            add_rows(np.ascontiguousarray(values[rows]), code[rows], covariates[rows], shift, y, yy, xy)
        own = [covariates[code == index] for index in range(batches)]
        x, xx = np.stack([part.sum(axis=0) for part in own]), np.stack([part.T @ part for part in own])
        return cls(np.bincount(code, minlength=batches), shift, y, yy, xy, x, xx)


def codes(batch: npt.NDArray[Any], batches: Sequence[str]) -> npt.NDArray[np.int64]:
    """Give the place of each row's batch among the fitted ones; -1 where it is none of them."""
    places = {name: place for place, name in enumerate(batches)}
    return np.array([places.get(name, -1) for name in batch.tolist()], dtype=np.int64)


def fit(values: Array, batch: npt.NDArray[Any], covariates: Array, recipe: Recipe) -> Estimates:
    """Fit rows (row, feature) with their batch names (row,) and covariate columns (row, covariate).

    Every value must be finite, every batch must have a row, and the covariates must not be confounded with the batches
    (see `covariates.require_separable`). Covariate columns without variation get no effect.
    """
    batches = tuple(sorted(set(batch.tolist())))
    scaled = np.array([name not in recipe.location_only for name in batches])
    varies = np.ptp(covariates, axis=0) > 0 if covariates.size else np.zeros(covariates.shape[1], dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = Sums.of(values, codes(batch, batches), np.ascontiguousarray(covariates[:, varies]), len(batches))
        intercepts, effects = _least_squares(sums)
        squares = _residual_squares(sums, intercepts, effects)
        # Counted from the first batch's shift, so that a common offset costs no digits in the differences below.
        levels = intercepts + (sums.shift - sums.shift[0])
        if recipe.reference:
            lead = batches.index(recipe.reference)
            middle, variance = levels[lead], squares[lead] / sums.counts[lead]
        else:
            middle, variance = sums.counts @ levels / sums.counts.sum(), squares.sum(axis=0) / sums.counts.sum()
        usable = _usable(sums, squares, variance, scaled)

    sigma = np.where(usable, np.sqrt(np.where(usable, variance, 1.0)), 1.0)
    beta = np.zeros((covariates.shape[1], values.shape[1]))
    beta[varies] = np.where(usable, effects, 0.0)
    gamma = np.where(usable, (levels - middle) / sigma, 0.0)
    delta = np.where(usable, squares / (sums.counts[:, None] - 1 + ~scaled[:, None]) / sigma**2, 1.0)
    delta[~scaled] = 1.0
    iterations, converged = np.zeros(len(batches), dtype=np.int64), np.ones(len(batches), dtype=bool)
    shrinks = recipe.empirical_bayes and usable.sum() >= 2
    own = slice(None) if usable.all() else usable
    for index, name in enumerate(batches):
        if name == recipe.reference:
            gamma[index], delta[index] = 0.0, 1.0
        elif shrinks:
            g, d, iterations[index], converged[index] = _shrink(
                gamma[index, own], delta[index, own], int(sums.counts[index]), not scaled[index], recipe
            )
            gamma[index, own], delta[index, own] = g, d
    alpha = np.where(usable, sums.shift[0] + middle, 0.0)
    return Estimates(batches, sums.counts, alpha, beta, sigma, gamma, delta, usable, iterations, converged)


def _least_squares(sums: Sums) -> tuple[Array, Array]:
    """Solve for one intercept per batch and one common effect per covariate, by eliminating the intercepts."""
    effects = np.zeros((sums.xy.shape[1], sums.y.shape[1]))
    if not effects.shape[0]:
        return sums.y / sums.counts[:, None], effects
    means = sums.x / sums.counts[:, None]
    within = (sums.xx - means[:, :, None] * sums.x[:, None, :]).sum(axis=0)
    along = sums.xy.sum(axis=0) - means.T @ sums.y
    effects = np.asarray(np.linalg.solve(within, along), dtype=np.float64)
    return (sums.y - sums.x @ effects) / sums.counts[:, None], effects


def _residual_squares(sums: Sums, intercepts: Array, effects: Array) -> Array:
    squares = sums.yy - sums.counts[:, None] * intercepts**2
    for column, effect in enumerate(effects):
        squares += effect * (sums.xx[:, column] @ effects - 2.0 * sums.xy[:, column])
    return np.asarray(np.maximum(squares, 0.0))


def _usable(sums: Sums, squares: Array, variance: Array, scaled: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Tell which features have a residual variance, overall and in every batch whose scale is estimated."""
    counts = sums.counts[:, None]
    noise = np.maximum(RELATIVE_NOISE * sums.yy, counts * (ROUNDING * sums.shift) ** 2)
    usable = np.isfinite(variance) & (variance > 0) & (squares.sum(axis=0) > noise.sum(axis=0))
    # Before the covariates' effect is taken out (a constant feature has none), and after.
    least = np.minimum(sums.yy - sums.y**2 / counts, squares) > noise
    return np.asarray(usable & least[scaled].all(axis=0))


def _shrink(g: Array, d: Array, count: int, location_only: bool, recipe: Recipe) -> tuple[Array, Array, int, bool]:
    """Shrink a batch's shifts (normal prior) and variances (inverse gamma prior, by moments), alternating."""
    from radfuse.harmonize.kernels.rows import shrink

    g_mean, g_variance = float(g.mean()), float(g.var(ddof=1))
    if location_only:
        weight = (1 if recipe.upstream else count) * g_variance
        return (weight * g + g_mean) / (weight + 1.0), d, 0, True
    d_mean, d_variance = float(d.mean()), float(d.var(ddof=1))
    if d_variance <= (1e-12 * d_mean) ** 2:  # all features agree: nothing to shrink
        return (count * g_variance * g + d * g_mean) / (count * g_variance + d), d, 0, True
    shape = (2.0 * d_variance + d_mean**2) / d_variance
    rate = (d_mean * d_variance + d_mean**3) / d_variance
    gamma, delta = g.copy(), d.copy()
    prior = (g_mean, g_variance, shape, rate)
    steps = shrink(g, d, count, prior, recipe.tolerance, recipe.cap, recipe.upstream, gamma, delta)
    return gamma, delta, abs(steps), steps > 0
