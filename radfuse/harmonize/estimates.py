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

BLOCK_ROWS = 64
RELATIVE_NOISE = 1e-12  # a residual sum of squares below this share of the total is rounding
ROUNDING = 1e-13  # so is a standard deviation below this share of the mean
GAMMA_FLOOR = 1e-2  # in sd; a smaller shift is judged by its absolute change


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
        harmonised = np.array(values, dtype=np.float64)
        for index, name in enumerate(self.batches):
            scale = 1.0 / np.sqrt(self.delta[index])
            stretch, shift = scale - 1.0, self.sigma * self.gamma[index] * scale
            for rows in _blocks(np.flatnonzero(batch == name)):
                rest = harmonised[rows] - self.alpha
                for column in range(self.beta.shape[0]):  # not a matrix product: its rounding depends on other rows
                    rest -= covariates[rows, column, None] * self.beta[column]
                rest *= stretch
                rest -= shift
                harmonised[rows] += rest
        return harmonised

    def to_dict(self) -> dict[str, Any]:
        """Give plain arrays and strings, which any format can store."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"batches": list(self.batches)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Estimates:
        """Take up what `to_dict` gave."""
        return cls(**{**stored, "batches": tuple(stored["batches"])})


@dataclass(frozen=True, eq=False)
class Sums:
    """What is kept of one batch's rows; y counted from ``shift``."""

    count: int
    shift: Array
    y: Array
    yy: Array
    xy: Array
    x: Array
    xx: Array

    @classmethod
    def of(cls, values: Array, covariates: Array, rows: npt.NDArray[np.intp]) -> Sums:
        """Read a batch's rows once, block by block."""
        shift = values[rows[:BLOCK_ROWS]].mean(axis=0)
        y, yy = np.zeros_like(shift), np.zeros_like(shift)
        xy = np.zeros((covariates.shape[1], shift.size))
        for block in _blocks(rows):
            centred = values[block]
            centred -= shift
            y += centred.sum(axis=0)
            yy += np.einsum("rf,rf->f", centred, centred)
            xy += covariates[block].T @ centred
        own = covariates[rows]
        return cls(rows.size, shift, y, yy, xy, own.sum(axis=0), own.T @ own)


def _blocks(rows: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """Cut rows into runs small enough to stay in the processor's cache while they are worked on."""
    return [rows[start : start + BLOCK_ROWS] for start in range(0, rows.size, BLOCK_ROWS)]


def fit(values: Array, batch: npt.NDArray[Any], covariates: Array, recipe: Recipe) -> Estimates:
    """Fit rows (row, feature) with their batch names (row,) and covariate columns (row, covariate).

    Every value must be finite, every batch must have a row, and the covariates must not be confounded with the batches
    (see `covariates.require_separable`). Covariate columns without variation get no effect.
    """
    batches = tuple(sorted(set(batch.tolist())))
    scaled = [name not in recipe.location_only for name in batches]
    varies = np.ptp(covariates, axis=0) > 0 if covariates.size else np.zeros(covariates.shape[1], dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = [Sums.of(values, covariates[:, varies], np.flatnonzero(batch == name)) for name in batches]
        intercepts, effects = _least_squares(sums)
        squares = np.stack([_residual_squares(s, a, effects) for s, a in zip(sums, intercepts, strict=True)])
    counts = np.array([s.count for s in sums])
    # Counted from the first batch's shift, so that a common offset costs no digits in the differences below.
    origin = sums[0].shift
    with np.errstate(over="ignore", invalid="ignore"):
        levels = intercepts + np.stack([s.shift - origin for s in sums])
        if recipe.reference:
            lead = batches.index(recipe.reference)
            middle, variance = levels[lead], squares[lead] / counts[lead]
        else:
            middle, variance = counts @ levels / counts.sum(), squares.sum(axis=0) / counts.sum()
        usable = _usable(sums, squares, variance, scaled)

    sigma = np.where(usable, np.sqrt(np.where(usable, variance, 1.0)), 1.0)
    alpha = np.where(usable, origin + middle, 0.0)
    beta = np.zeros((covariates.shape[1], values.shape[1]))
    beta[varies] = np.where(usable, effects, 0.0)
    gamma, delta = np.zeros(levels.shape), np.ones(levels.shape)
    iterations, converged = np.zeros(len(batches), dtype=np.int64), np.ones(len(batches), dtype=bool)
    shrinks = recipe.empirical_bayes and usable.sum() >= 2
    for index, name in enumerate(batches):
        if name == recipe.reference or not usable.any():
            continue
        g = ((levels[index] - middle) / sigma)[usable]
        d = np.ones_like(g)
        if name not in recipe.location_only:
            d = (squares[index] / (counts[index] - 1) / sigma**2)[usable]
        if shrinks:
            location_only = name in recipe.location_only
            g, d, iterations[index], converged[index] = _shrink(g, d, int(counts[index]), location_only, recipe)
        gamma[index, usable], delta[index, usable] = g, d
    return Estimates(batches, counts, alpha, beta, sigma, gamma, delta, usable, iterations, converged)


def _least_squares(sums: Sequence[Sums]) -> tuple[Array, Array]:
    """Solve for one intercept per batch and one common effect per covariate, by eliminating the intercepts."""
    effects = np.zeros_like(sums[0].xy)
    if effects.shape[0]:
        within = sum(s.xx - np.outer(s.x, s.x) / s.count for s in sums)
        along = sum(s.xy - np.outer(s.x, s.y) / s.count for s in sums)
        effects = np.asarray(np.linalg.solve(within, along), dtype=np.float64)
    return np.stack([(s.y - s.x @ effects) / s.count for s in sums]), effects


def _residual_squares(s: Sums, intercept: Array, effects: Array) -> Array:
    squares = s.yy - 2.0 * np.einsum("kf,kf->f", effects, s.xy) + np.einsum("kf,kl,lf->f", effects, s.xx, effects)
    return np.asarray(np.maximum(squares - s.count * intercept**2, 0.0))


def _usable(sums: Sequence[Sums], squares: Array, variance: Array, scaled: Sequence[bool]) -> npt.NDArray[np.bool_]:
    """Tell which features have a residual variance, overall and in every batch whose scale is estimated."""
    noise = [np.maximum(RELATIVE_NOISE * s.yy, s.count * (ROUNDING * s.shift) ** 2) for s in sums]
    usable = np.isfinite(variance) & (variance > 0) & (squares.sum(axis=0) > sum(noise))
    for s, own, least, needed in zip(sums, squares, noise, scaled, strict=True):
        if needed:  # before the covariates' effect is taken out (a constant feature has none), and after
            usable &= (s.yy - s.y**2 / s.count > least) & (own > least)
    return np.asarray(usable)


def _shrink(g: Array, d: Array, count: int, location_only: bool, recipe: Recipe) -> tuple[Array, Array, int, bool]:
    """Shrink a batch's shifts (normal prior) and variances (inverse gamma prior, by moments), alternating."""
    g_mean, g_variance = float(g.mean()), float(g.var(ddof=1))
    if location_only:
        weight = (1 if recipe.upstream else count) * g_variance
        return (weight * g + g_mean) / (weight + 1.0), d, 0, True
    d_mean, d_variance = float(d.mean()), float(d.var(ddof=1))
    if d_variance <= (1e-12 * d_mean) ** 2:  # all features agree: nothing to shrink
        return (count * g_variance * g + d * g_mean) / (count * g_variance + d), d, 0, True
    shape = (2.0 * d_variance + d_mean**2) / d_variance
    rate = (d_mean * d_variance + d_mean**3) / d_variance
    gamma, delta = g, d
    for iteration in range(1, recipe.cap + 1):
        fresh_gamma = (count * g_variance * g + delta * g_mean) / (count * g_variance + delta)
        spread = (count - 1) * d + count * (g - fresh_gamma) ** 2
        fresh_delta = (rate + spread / 2.0) / (count / 2.0 + shape - 1.0)
        against = gamma if recipe.upstream else np.maximum(np.abs(gamma), GAMMA_FLOOR)
        change = max((np.abs(fresh_gamma - gamma) / against).max(), (np.abs(fresh_delta - delta) / delta).max())
        gamma, delta = fresh_gamma, fresh_delta
        if change <= recipe.tolerance:
            return gamma, delta, iteration, True
    return gamma, delta, recipe.cap, False
