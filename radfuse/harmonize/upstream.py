"""neuroCombat: fit with the published package and take up its estimates."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.errors import ConfigError
from radfuse.harmonize.estimates import Array, Estimates, Recipe


def fit_upstream(values: Array, batch: npt.NDArray[Any], covariates: Array, recipe: Recipe) -> Estimates:
    """Fit as `estimates.fit` does, by neuroCombat 0.2.12.

    The package casts covariates to float32, knows one rule for the scale of all batches (location only for all or for
    none, by its formula that puts 1 in place of the number of rows), turns every value into NaN when a feature is
    constant in a batch (such features are kept from it here) and fails with a reference batch.
    """
    from neuroCombat import neuroCombat

    if recipe.reference:
        raise ConfigError("neuroCombat 0.2.12 fails with a reference batch", hint="Set harmonizer.backend: radfuse.")
    batches, own = np.unique(batch.astype(str), return_inverse=True)
    counts = np.bincount(own)
    if (counts < 2).any() or len(batches) < 2:
        raise ConfigError("neuroCombat needs two batches of two rows or more", hint="Set harmonizer.single: largest.")
    spread = np.stack([np.ptp(values[own == index], axis=0) for index in range(len(batches))])
    usable: npt.NDArray[np.bool_] = np.all(spread > 0, axis=0)
    varies = np.ptp(covariates, axis=0) > 0 if covariates.size else np.zeros(covariates.shape[1], dtype=bool)
    names = [f"x{column}" for column in np.flatnonzero(varies)]
    facts = pd.DataFrame(covariates[:, varies], columns=names).assign(batch=own)
    location_only = len(recipe.location_only) == len(batches)
    shape = (len(batches), values.shape[1])
    alpha, sigma = np.zeros(shape[1]), np.ones(shape[1])
    beta, gamma, delta = np.zeros((covariates.shape[1], shape[1])), np.zeros(shape), np.ones(shape)
    if usable.sum() >= 2:
        with contextlib.redirect_stdout(io.StringIO()):
            result = neuroCombat(
                values[:, usable].T,
                facts,
                "batch",
                continuous_cols=names,
                eb=recipe.empirical_bayes,
                mean_only=location_only,
            )
        found, design = result["estimates"], result["info"]["design"][:, len(batches) :]
        alpha[usable], sigma[usable] = found["stand.mean"][:, 0], np.sqrt(found["var.pooled"][:, 0])
        if names:
            effects = np.linalg.lstsq(design, found["mod.mean"].T, rcond=None)[0]
            beta[np.ix_(varies, usable)] = effects
        gamma[:, usable], delta[:, usable] = found["gamma.star"], found["delta.star"]
    finished = np.ones(len(batches), dtype=bool)
    tuple_of_batches = tuple(str(name) for name in batches)
    iterations = np.zeros(len(batches), dtype=np.int64)
    return Estimates(
        tuple_of_batches, counts.astype(np.int64), alpha, beta, sigma, gamma, delta, usable, iterations, finished
    )
