"""A run that a table made by hand stands for, and patients who come to it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radfuse.config import CohortSettings, Config
from radfuse.data.cohort import Cohort
from radfuse.data.table import FeatureTable
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.stage import Harmonize
from radfuse.run.fitted import FittedRun
from radfuse.run.newcomers import Newcomers
from radfuse.run.store import Store
from radfuse.train.splits.stratified import Stratified
from radfuse.train.stage import Train


def made(rng: np.random.Generator, n: int = 40, **facts: Any) -> FeatureTable:
    names = [f"P{i:02d}" for i in range(n)]
    outcome = np.arange(n) % 2
    columns = [f"{m}.original_firstorder_F{i}" for m in ("CT", "PET", "fused-average-CT_PET") for i in range(3)]
    values = pd.DataFrame(rng.normal(size=(n, 9)) + outcome[:, None], names, columns)
    sites = np.array(["a", "b"])[(np.arange(n) // 2) % 2]
    described = {
        "outcome": outcome,
        "batch.CT": sites,
        "batch.PET": np.char.add("p", sites),
        "age": 60.0 + np.arange(n) % 7,
    }
    return FeatureTable(values, pd.DataFrame({**described, **facts}, index=names))


def by_hand(folder: Path, table: FeatureTable, harmonizer: Any = None, **settings: Any) -> FittedRun:
    batches = {"CT": "scanner_ct", "PET": "scanner_pet"}
    config = Config(
        cohort=CohortSettings(outcome="y", batches=batches, covariates=("age",)),
        harmonize=Harmonize(harmonizer=harmonizer or ComBat()),
        train=Train(splits=Stratified(folds=2, repeats=1), **settings),
    )
    return FittedRun(Store(folder), config, table)


def model_of(run: FittedRun, name: str) -> tuple[Any, Any]:
    arm = next(arm for arm in run.config.train.arms(run.table) if arm.name == name)
    return arm, arm.fitted(run.table.rows(), run.table.outcome, run.config.harmonize.harmonizer.build())


def patients(*names: str, **given: Any) -> Newcomers:
    facts = pd.DataFrame({"batch.CT": "a", "batch.PET": "pa", "age": 60.0}, index=pd.Index(names, name="subject"))
    nothing = pd.Series(dtype=object)
    cohort = Cohort((), ("CT", "PET"), facts, ())
    return replace(Newcomers(cohort, {}, nothing, nothing, {}, ()), **given)
