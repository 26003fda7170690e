"""Time ComBat against the neuroCombat package on made-up features: ``python benchmarks/harmonize.py``.

Fit and apply, five batches, two covariates; the best of some repeats, one thread.
"""

import contextlib
import io
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from neuroCombat import neuroCombat
from threadpoolctl import threadpool_limits

from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.estimates import Array, Recipe, fit

FEATURES, BATCHES = 1500, 5


def best(repeats: int, work: Callable[[], Array]) -> tuple[float, Array]:
    """Give the shortest time, in seconds, and the result."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def compare(rows: int) -> None:
    """Print one line of the table."""
    rng = np.random.default_rng(rows)
    own = np.sort(rng.integers(0, BATCHES, rows))
    covariates = rng.normal(0, 1, (rows, 2)).astype(np.float32).astype(np.float64)
    values = rng.normal(0, 1, (rows, FEATURES)) * rng.gamma(4, 0.25, (BATCHES, FEATURES))[own]
    values += rng.normal(0, 1, (BATCHES, FEATURES))[own] + covariates @ rng.normal(0, 1, (2, FEATURES))
    batch = own.astype(str).astype(object)
    facts = pd.DataFrame(covariates, columns=["x0", "x1"]).assign(batch=batch)
    table = pd.DataFrame(values, columns=[f"CT.F{place}" for place in range(FEATURES)])
    table = table.assign(**{"@batch.CT": batch, "@x0": covariates[:, 0], "@x1": covariates[:, 1]})

    def theirs() -> Array:
        with contextlib.redirect_stdout(io.StringIO()):
            return neuroCombat(values.T, facts, "batch", continuous_cols=["x0", "x1"])["data"].T

    def ours(recipe: Recipe) -> Array:
        return fit(values, batch, covariates, recipe).apply(values, batch, covariates)

    def transformer() -> Array:
        return ComBat(protect=("x0", "x1"), small_below=2).build().fit_transform(table).iloc[:, :FEATURES].to_numpy()

    package, wanted = best(3, theirs)
    numbers, same = best(10, lambda: ours(Recipe(upstream=True)))
    _, default = best(1, lambda: ours(Recipe()))
    whole, _ = best(10, transformer)
    print(
        f"{rows:>6} {package:>12.3f} {numbers:>9.4f} {package / numbers:>6.0f}x {whole:>13.4f} {package / whole:>6.0f}x"
        f" {np.abs(same - wanted).max():>15.1e} {np.abs(default - wanted).max():>13.1e}"
    )


if __name__ == "__main__":
    print(f"{FEATURES} features, {BATCHES} batches, 2 covariates; seconds")
    print("  rows  neuroCombat   numbers   ratio   transformer   ratio   max difference   own stopping")
    with threadpool_limits(1):
        for rows in (51, 2000):
            compare(rows)
