"""A modality that a patient lacks says nothing, not even through the scanner that it would have come from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import InProcess
from sklearn.metrics import roc_auc_score

from radfuse.data.table import CONTEXT, MISSING, FeatureTable
from radfuse.harmonize import Harmonizer
from radfuse.harmonize.stage import Harmonize
from radfuse.run.judging import judge
from radfuse.run.logs import RunLog
from radfuse.run.models import load_model
from radfuse.run.progress import Silent
from radfuse.run.store import Store
from radfuse.train.stage import Train
from radfuse.train.steps import imputer
from radfuse.train.withheld import without

MEMBERS = [{"method": name} for name in ("combat", "covbat", "combat_gam", "zscore")]
NESTED = {"method": "nested_combat", "then": {"*": ["kernel"]}}


def table_of(
    n: int = 120, seed: int = 1, shift: float = 4.0, names: Sequence[str] = ("CT", "PET"), features: int = 4
) -> FeatureTable:
    """CT's scanner goes with the outcome and shifts CT by a constant; PET is noise of one scanner."""
    rng = np.random.default_rng(seed)
    outcome = rng.integers(0, 2, n)
    scanner = np.where(rng.random(n) < np.where(outcome == 1, 0.8, 0.2), "A", "B")
    values = np.hstack([rng.normal(size=(n, features)) for _ in names])
    values[:, :features] += outcome[:, None] + np.where(scanner == "A", shift, 0.0)[:, None]
    index = pd.Index([f"p{i:03d}" for i in range(n)], name="subject")
    columns = [f"{name}.original_firstorder_F{i}" for name in names for i in range(features)]
    facts = {"outcome": outcome, "batch.CT": scanner, "batch.PET": "P", "kernel": np.where(scanner == "A", "x", "y")}
    return FeatureTable(pd.DataFrame(values, index, columns), pd.DataFrame(facts, index))


def early(train: Train, table: FeatureTable) -> Any:
    return next(arm for arm in train.arms(table) if arm.name == "early-logistic")


def build(settings: dict[str, Any]) -> Any:
    return Harmonizer.choose(settings).build()


def test_the_flag_is_the_imputers() -> None:
    assert f"{CONTEXT}{MISSING}" == imputer.MISSING


@pytest.mark.parametrize("settings", [*MEMBERS, NESTED], ids=lambda given: given["method"])
def test_a_withheld_modality_does_not_come_back_through_its_scanner(settings: dict[str, Any]) -> None:
    table = table_of()
    model = early(Train(), table).fitted(table.rows(), table.outcome, build(settings))
    rows = without(table.rows(), ["CT"])
    swapped = rows.assign(**{"@batch.CT": np.where(rows["@batch.CT"] == "A", "B", "A")})
    ct = [column for column in rows if column.startswith("CT.")]
    before = model[: list(model.named_steps).index("harmonize")].transform(rows)[ct]
    after = model[: list(model.named_steps).index("scale")].transform(rows)[ct]
    pd.testing.assert_frame_equal(after, before, check_exact=True)
    np.testing.assert_array_equal(model.predict_proba(swapped), model.predict_proba(rows))


def test_the_score_without_ct_is_that_of_noise_and_not_of_the_scanner() -> None:
    """Made from the scanner of the CT that is not there, the AUC was 0.17."""
    table, train = table_of(), Train(bootstrap=50, operating=None)
    found = train.run_arm(early(train, table), table, train.splits(table), build({"method": "combat"}))
    swapped = FeatureTable(
        table.values, table.subjects.assign(**{"batch.CT": np.where(table.subjects["batch.CT"] == "A", "B", "A")})
    )
    gone = found.evidence["withheld"].query("withheld == 'CT'")
    aucs = [roc_auc_score(part["outcome"], part["score"]) for _, part in gone.groupby(["repeat", "fold"])]
    assert 0.35 < np.mean(aucs) < 0.7
    assert found.model.predict_proba(without(swapped.rows(), ["CT"])) == pytest.approx(
        found.model.predict_proba(without(table.rows(), ["CT"])), abs=0
    )
    held = [report["harmonised"]["validation_flagged"] for report in found.fold_reports]
    assert held == [{}] * len(held)


@pytest.mark.parametrize("settings", [*MEMBERS, NESTED], ids=lambda given: given["method"])
def test_who_lacks_a_modality_takes_no_part_in_its_fit(settings: dict[str, Any]) -> None:
    """Two alike sites, of which one lacks PET in many: constants would halve its variance, and scale the rest up."""
    rng = np.random.default_rng(1)
    n = 200
    site = np.where(np.arange(n) < 100, "A", "B")
    lacks = (site == "B") & (rng.random(n) < 0.6)
    index = pd.Index([f"p{i:03d}" for i in range(n)], name="subject")
    columns = [f"{name}.original_firstorder_F{i}" for name in ("CT", "PET") for i in range(10)]
    values = pd.DataFrame(rng.normal(size=(n, 20)), index, columns)
    values.loc[lacks, columns[10:]] = np.nan
    own = "x" if settings is NESTED else site  # the kernel alone tells the sites apart
    facts = {"outcome": rng.integers(0, 2, n), "batch.CT": own, "batch.PET": own, "kernel": site}
    table = FeatureTable(values, pd.DataFrame(facts, index))
    model = early(Train(), table).fitted(table.rows(), table.outcome, build(settings))
    out = model[: list(model.named_steps).index("scale")].transform(table.rows())[columns[10:]]
    spread = [out[(site == name) & ~lacks].std().mean() for name in "AB"]
    assert spread == pytest.approx([1.0, 1.0], abs=0.06)
    report = model.named_steps["harmonize"].report_["PET"]
    assert (report["rows_lacking"], report["rows_passed"]) == (lacks.sum(), 0)
    assert report["flags"][0].endswith(f"{lacks.sum()} rows lack the modality and take no part in it")
    whole = Harmonize.model_validate({"harmonizer": settings})(table).table.values[columns[10:]]
    assert [whole[site == name].std().mean() for name in "AB"] == pytest.approx([1.0, 1.0], abs=0.06)


def test_a_validation_patient_without_the_modality_is_not_said_to_be_of_an_unseen_scanner() -> None:
    table = table_of()
    values = table.values.copy()
    values.loc[["p003", "p030"], [c for c in values if c.startswith("CT.")]] = np.nan
    labels = table.subjects["batch.CT"].mask(table.subjects.index.isin(["p003", "p077"]), "seen once")
    lesser = FeatureTable(values, table.subjects.assign(**{"batch.CT": labels}))
    train = Train(operating=None)
    found = train.run_arm(early(train, lesser), lesser, train.splits(lesser), build({"method": "combat"}))
    told = {name for report in found.fold_reports for name in report["harmonised"]["validation_flagged"].get("CT", [])}
    assert told == {"p077"}


@pytest.mark.parametrize("then", [{"CT": ["kernel"]}, {"*": ["kernel"], "PET": []}])
def test_a_study_harmonises_an_image_alone_as_it_does_beside_its_parts(then: dict[str, Any], tmp_path: Path) -> None:
    fused = "fused-average-CT_PET"
    table = table_of(n=60, names=("CT", "PET", fused))
    train = Train.model_validate(
        {"fusions": [], "splits": {"folds": 2, "repeats": 1}, "bootstrap": 20, "operating": None}
    )
    stage = Harmonize.model_validate({"harmonizer": {"method": "nested_combat", "then": then}})
    judged = judge(
        Store(tmp_path), table, train, stage, InProcess(), Silent(), RunLog(tmp_path / "log.jsonl"),  # type: ignore[arg-type]
    )  # fmt: skip
    assert not judged.failed
    model = load_model(tmp_path / "train" / f"image-{fused}-logistic" / "model.skops")
    assert model.named_steps["harmonize"].report_[fused]["order"] == ["batch", "kernel"]
    alone = model[: list(model.named_steps).index("scale")].transform(table.rows()).filter(like=f"{fused}.")
    whole = stage(table).table.values.filter(like=f"{fused}.")
    pd.testing.assert_frame_equal(alone, whole, rtol=1e-12)
