"""What is done once to each row: adding it to its batch's sums, and harmonising it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.harmonize.kernels import compiled

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

STRIP = 512  # features worked on together: the sums of a few batches then stay in the first cache
GAMMA_FLOOR = 1e-2  # in sd; a smaller shift is judged by its absolute change


@compiled
def first_means(values: Array, codes: Codes, batches: int, most: int) -> Array:
    """Give the mean of the first rows of each batch, at most so many; (batch, feature). ``values`` is in any order."""
    means = np.zeros((batches, values.shape[1]))
    seen = np.zeros(batches)
    for row in range(values.shape[0]):
        batch = codes[row]
        if batch < 0 or seen[batch] >= most:
            continue
        seen[batch] += 1.0
        own, sums = values[row], means[batch]
        for place in range(own.size):
            sums[place] += own[place]
    for batch in range(batches):
        means[batch] /= max(seen[batch], 1.0)
    return means


@compiled
def add_rows(values: Array, codes: Codes, covariates: Array, shift: Array, y: Array, yy: Array, xy: Array) -> None:
    """Add rows to the sums of their batches, each value counted from its batch's shift.

    Parameters
    ----------
    values : (row, feature), in C order.
    codes : which batch each row belongs to; a negative one is passed over.
    covariates : (row, covariate).
    shift, y, yy : (batch, feature); the last two are added to.
    xy : (batch, covariate, feature); added to.
    """
    for start in range(0, values.shape[1], STRIP):
        stop = min(start + STRIP, values.shape[1])
        for row in range(values.shape[0]):
            batch = codes[row]
            if batch < 0:
                continue
            own, origin = values[row, start:stop], shift[batch, start:stop]
            sums, squares = y[batch, start:stop], yy[batch, start:stop]
            for place in range(own.size):
                centred = own[place] - origin[place]
                sums[place] += centred
                squares[place] += centred * centred
            for column in range(covariates.shape[1]):
                fact, products = covariates[row, column], xy[batch, column, start:stop]
                for place in range(own.size):
                    products[place] += fact * (own[place] - origin[place])


@compiled
def change_rows(
    values: Array, codes: Codes, covariates: Array, alpha: Array, beta: Array, stretch: Array, shift: Array
) -> None:
    """Harmonise rows in place: ``y += (y - alpha - x'beta) stretch - shift``; rows of a negative code stay.

    ``stretch`` and ``shift`` are (batch, feature), ``alpha`` (feature,), ``beta`` (covariate, feature).
    """
    rest = np.empty(min(STRIP, max(values.shape[1], 1)))
    for row in range(values.shape[0]):
        batch = codes[row]
        if batch < 0:
            continue
        for start in range(0, values.shape[1], STRIP):
            stop = min(start + STRIP, values.shape[1])
            own, middle = values[row, start:stop], alpha[start:stop]
            for place in range(own.size):
                rest[place] = own[place] - middle[place]
            for column in range(covariates.shape[1]):
                fact, effect = covariates[row, column], beta[column, start:stop]
                for place in range(own.size):
                    rest[place] -= fact * effect[place]
            scale, move = stretch[batch, start:stop], shift[batch, start:stop]
            for place in range(own.size):
                own[place] += rest[place] * scale[place] - move[place]


@compiled
def shrink(
    g: Array, d: Array, count: int, prior: Any, tolerance: float, cap: int, signed: bool, gamma: Array, delta: Array
) -> int:
    """Alternate the posterior means of a batch's shifts and variances until none moves more than the tolerance.

    Parameters
    ----------
    g, d : a batch's shift and variance of each feature, as measured.
    count : its rows.
    prior : mean and variance of the shifts; shape and rate of the inverse gamma prior of the variances.
    signed : divide the change of gamma by its signed value, as upstream does.
    gamma, delta : where the iteration starts and what it ends with.

    Returns
    -------
    The number of iterations, or ``-cap`` where the cap ended it.
    """
    g_mean, g_variance, shape, rate = prior
    weight = count * g_variance
    part = 1.0 / (count / 2.0 + shape - 1.0)
    for iteration in range(1, cap + 1):
        moving = False
        for place in range(g.size):
            old_gamma, old_delta = gamma[place], delta[place]
            fresh_gamma = (weight * g[place] + old_delta * g_mean) / (weight + old_delta)
            away = g[place] - fresh_gamma
            fresh_delta = (rate + ((count - 1) * d[place] + count * away * away) / 2.0) * part
            against = old_gamma if signed else max(abs(old_gamma), GAMMA_FLOOR)
            moving |= (abs(fresh_gamma - old_gamma) > tolerance * against) & (against >= 0.0)
            moving |= abs(fresh_delta - old_delta) > tolerance * old_delta
            gamma[place], delta[place] = fresh_gamma, fresh_delta
        if not moving:
            return iteration
    return -cap


@compiled
def project(values: Array, matrix: Array) -> Array:
    """Multiply rows by a matrix, adding up in one order: a library's product rounds as the number of rows has it."""
    found = np.zeros((values.shape[0], matrix.shape[1]))
    for row in range(values.shape[0]):
        own = found[row]
        for inner in range(matrix.shape[0]):
            weight, line = values[row, inner], matrix[inner]
            for place in range(own.size):
                own[place] += weight * line[place]
    return found
