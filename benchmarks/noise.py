"""Judge cohorts of pure noise: ``python benchmarks/noise.py [RUNS] [--confounded]``.

Each run draws 39 subjects with 1,500 features in three modalities, the last two measured on scanners that shift and
stretch them, with 14 events, and judges every arm as a study does, ComBat included. The outcome has nothing to do with
the features: every arm should give 0.50 within its standard error. With ``--confounded`` the prevalence differs
between the scanners by design, as in many cohorts: what the batch baseline earns then is not the features'.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd

from radfuse.data.table import FeatureTable
from radfuse.harmonize.combat import ComBat
from radfuse.train.stage import Train

SUBJECTS, EVENTS, FEATURES = 39, 14, 500
MODALITIES = ("CT", "PET", "MR")
SCANNERS = {"A": 24, "B": 9, "C": 6}
TRAIN = Train.model_validate(
    {
        "classifiers": ["logistic", "xgboost", "lda"],
        "fusions": ["early", "intermediate", "late", {"method": "late", "combine": "stacking"}],
        "splits": {"folds": 5, "repeats": 2},
        "baselines": {"clinical": ["age", "sex"]},
        "bootstrap": 10,
        "operating": None,
        "explain": None,
    }
)


def noise(seed: int, confounded: bool) -> FeatureTable:
    """Draw one cohort."""
    rng = np.random.default_rng(seed)
    scanner = np.repeat(list(SCANNERS), list(SCANNERS.values()))
    chance = np.where(scanner == "A", 1.0, 3.0) if confounded else np.ones(SUBJECTS)
    outcome = np.zeros(SUBJECTS, int)
    outcome[rng.choice(SUBJECTS, EVENTS, replace=False, p=chance / chance.sum())] = 1
    blocks = []
    for modality in MODALITIES:
        values = rng.normal(size=(SUBJECTS, FEATURES)) @ _mixing(rng)
        if modality != "CT":
            for name in SCANNERS:
                here = scanner == name
                values[here] = values[here] * rng.gamma(9, 1 / 9, FEATURES) + rng.normal(0, 1, FEATURES)
        names = [f"{modality}.original_firstorder_F{i}" for i in range(FEATURES)]
        names[:2] = [f"{modality}.original_shape_MeshVolume", f"{modality}.original_firstorder_Maximum"]
        values[:, 0] = np.exp(values[:, 0])
        blocks.append(pd.DataFrame(values, columns=names))
    index = pd.Index([f"S{i:02d}" for i in range(SUBJECTS)], name="subject")
    facts = pd.DataFrame({"outcome": outcome, "age": rng.normal(60, 10, SUBJECTS).round()}, index=index)
    facts["sex"] = rng.choice(["F", "M"], SUBJECTS)
    return FeatureTable(
        pd.concat(blocks, axis=1).set_index(index), facts.assign(**{f"batch.{m}": scanner for m in MODALITIES})
    )


def _mixing(rng: np.random.Generator) -> np.ndarray:
    """Make features correlate in families of ten, as radiomics features do."""
    return np.kron(np.eye(FEATURES // 10), np.full((10, 10), 0.6) + 0.4 * np.eye(10)) * rng.choice([-1, 1], FEATURES)


def judged(work: tuple[int, bool]) -> dict[str, float]:
    """The AUC of every arm on one cohort."""
    table = noise(*work)
    splits, combat = TRAIN.splits(table), ComBat(protect=("age", "sex")).build()
    results = [TRAIN.run_arm(arm, table, splits, combat) for arm in TRAIN.arms(table)]
    return {result.arm.name: float(result.folds["auc"].mean()) for result in results}


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("runs", nargs="?", type=int, default=50)
    asked.add_argument("--confounded", action="store_true")
    given = asked.parse_args()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rows = []
        for place, row in enumerate(pool.map(judged, [(seed, given.confounded) for seed in range(given.runs)]), 1):
            rows.append(row)
            print(f"{place} of {given.runs}", end="\r", file=sys.stderr)
    auc = pd.DataFrame(rows)
    error = auc.std() / len(auc) ** 0.5
    table = pd.DataFrame({"mean auc": auc.mean(), "standard error": error, "z": (auc.mean() - 0.5) / error})
    print(table.round(3).to_string())
    print(f"{len(auc)} runs; {int((table['z'].abs() > 2).sum())} of {len(table)} arms beyond 2 standard errors of 1/2")


if __name__ == "__main__":
    main()
