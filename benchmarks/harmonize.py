"""Time ComBat against other programs on made-up features: ``python benchmarks/harmonize.py [PYTHON]``.

Fit and apply, five batches, two covariates; the best of some repeats, one thread. PYTHON is the interpreter of another
environment with neuroHarmonize, combatlearn and pycombat (the first wants numpy 1); without it they are looked for
here, and what is not installed is left out.
"""

import contextlib
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

FEATURES, BATCHES = 1500, 5


def best(repeats: int, work: Callable[[], object]) -> tuple[float, np.ndarray]:
    """Give the shortest time, in seconds, and the result; what is printed is swallowed."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), np.asarray(result)


def made_up(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, batch of each row, and covariates that survive a cast to float32."""
    rng = np.random.default_rng(rows)
    own = np.sort(rng.integers(0, BATCHES, rows))
    covariates = rng.normal(0, 1, (rows, 2)).astype(np.float32).astype(np.float64)
    values = rng.normal(0, 1, (rows, FEATURES)) * rng.gamma(4, 0.25, (BATCHES, FEATURES))[own]
    values += rng.normal(0, 1, (BATCHES, FEATURES))[own] + covariates @ rng.normal(0, 1, (2, FEATURES))
    return values, own, covariates


def peers(values: np.ndarray, own: np.ndarray, covariates: np.ndarray) -> dict[str, Callable[[], object]]:
    """What other programs do, by name; only those that are installed."""
    facts = pd.DataFrame(covariates, columns=["x0", "x1"])
    found: dict[str, Callable[[], object]] = {}
    with contextlib.suppress(ImportError):
        from neuroCombat import neuroCombat

        given = facts.assign(batch=own)
        found["neuroCombat"] = lambda: neuroCombat(values.T, given, "batch", continuous_cols=["x0", "x1"])["data"].T
    with contextlib.suppress(ImportError):
        from neuroHarmonize import harmonizationLearn

        found["neuroHarmonize"] = lambda: harmonizationLearn(values, facts.assign(SITE=own))[1]
    with contextlib.suppress(ImportError):
        from combatlearn import ComBat as Learnt

        table, labels = pd.DataFrame(values), pd.Series(own)
        found["combatlearn"] = lambda: Learnt(batch=labels, continuous_covariates=facts, method="fortin").fit_transform(
            table
        )
    with contextlib.suppress(ImportError):
        from pycombat import Combat

        found["pycombat"] = lambda: Combat().fit_transform(values, own, X=covariates)
    return found


def ours(
    values: np.ndarray, own: np.ndarray, covariates: np.ndarray
) -> tuple[dict[str, Callable[[], object]], np.ndarray]:
    """What radfuse does: the numbers alone with neuroCombat's stopping rule, and the transformer of a table."""
    from radfuse.harmonize.combat import ComBat
    from radfuse.harmonize.estimates import Recipe, fit

    batch = own.astype(str).astype(object)
    table = pd.DataFrame(values, columns=[f"CT.F{place}" for place in range(FEATURES)])
    facts = pd.DataFrame({"@batch.CT": batch, "@x0": covariates[:, 0], "@x1": covariates[:, 1]})
    rows = pd.concat([table, facts], axis=1)

    def numbers() -> object:
        return fit(values, batch, covariates, Recipe(upstream=True)).apply(values, batch, covariates)

    def transformer() -> object:
        return ComBat(protect=("x0", "x1"), small_below=2).build().fit_transform(rows).iloc[:, :FEATURES]

    default = fit(values, batch, covariates, Recipe()).apply(values, batch, covariates)
    return {"radfuse, numbers": numbers, "radfuse, table": transformer}, default


def memory_bound(values: np.ndarray) -> None:
    """How far fit and apply are from reading the features once, and from reading and writing them once."""
    from radfuse.harmonize.estimates import Recipe, fit

    _, own, covariates = made_up(len(values))
    batch = own.astype(str).astype(object)
    read, _ = best(5, lambda: values.sum(axis=0))
    copy, _ = best(5, lambda: values.copy())
    found = fit(values, batch, covariates, Recipe())
    fitted, _ = best(5, lambda: fit(values, batch, covariates, Recipe()) and 0)
    applied, _ = best(5, lambda: found.apply(values, batch, covariates))
    print(f"       read once {read:.3f}, fit {fitted:.3f} ({fitted / read:.1f} times); ", end="")
    print(f"copy {copy:.3f}, apply {applied:.3f} ({applied / copy:.1f} times)")


def main(interpreter: str | None) -> None:
    """Print a table for each size of cohort."""
    from threadpoolctl import threadpool_limits

    print(f"{FEATURES} features, {BATCHES} batches, 2 covariates; seconds to fit and apply, one thread")
    print("  rows  program             seconds  against neuroCombat   max difference from it")
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        for rows, repeats in ((51, 60), (200, 30), (2000, 5), (20000, 2)):
            values, own, covariates = made_up(rows)
            timed = {name: best(repeats, work) for name, work in peers(values, own, covariates).items()}
            if interpreter is not None:
                timed = elsewhere(interpreter, rows, repeats, Path(folder)) | timed
            mine, default = ours(values, own, covariates)
            timed |= {name: best(max(repeats, 5), work) for name, work in mine.items()}
            base, wanted = timed["neuroCombat"]
            for name, (seconds, result) in timed.items():
                far = np.abs(result - wanted).max()
                print(f"{rows:>6}  {name:<18}{seconds:>9.4f}{base / seconds:>20.1f}x{far:>24.1e}")
            print(f"        radfuse with its own stopping rule is at most {np.abs(default - wanted).max():.1e} away")
            if rows == 20000:
                memory_bound(values)


def elsewhere(interpreter: str, rows: int, repeats: int, folder: Path) -> dict[str, tuple[float, np.ndarray]]:
    """Time the programs of another environment."""
    call = [interpreter, __file__, "--as-peer", str(rows), str(repeats), str(folder)]
    subprocess.run(call, check=True, capture_output=True)
    return {
        path.stem: (float(np.load(path.with_suffix(".seconds.npy"))), np.load(path))
        for path in sorted(folder.glob("*.npy"))
        if not path.name.endswith(".seconds.npy")
    }


def as_peer(rows: int, repeats: int, folder: Path) -> None:
    """Time the programs of this environment and leave the results in a folder."""
    for name, work in peers(*made_up(rows)).items():
        seconds, result = best(repeats, work)
        np.save(folder / f"{name}.npy", result)
        np.save(folder / f"{name}.seconds.npy", seconds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-peer"]:
        as_peer(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        main(sys.argv[1] if len(sys.argv) > 1 else None)
