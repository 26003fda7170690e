"""New patients whose clinical facts are a modality of the models: told by their table, or not known."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radfuse.config import Config
from radfuse.data.table import FeatureTable
from radfuse.errors import CohortError
from radfuse.harmonize.combat import ComBat
from radfuse.run.newcomers import read_measured
from radfuse.run.predict import score

FACTS = ("age", "grade", "extent")


@pytest.fixture(scope="module")
def run() -> Any:
    """A predictor of two arms, fitted on sixty patients."""
    rng = np.random.default_rng(0)
    index = pd.Index([f"S{i:02d}" for i in range(60)], name="subject")
    outcome = np.arange(60) % 2
    columns = [f"{m}.original_firstorder_F{i}" for m in ("CT", "PET") for i in range(6)]
    values = pd.DataFrame(rng.normal(size=(60, 12)) + 0.5 * outcome[:, None], index, columns)
    facts = pd.DataFrame(
        {"outcome": outcome, "batch.CT": np.where(np.arange(60) % 3, "a", "b"), "age": 60.0 + 10 * outcome,
         "grade": np.where(rng.random(60) < 0.3 + 0.4 * outcome, "high", "low"), "extent": rng.integers(1, 4, 60),
         "unused": 1.0}, index,
    )  # fmt: skip
    table = FeatureTable(values, facts)
    config = Config.model_validate(
        {
            "cohort": {"manifest": "m.csv", "outcome": "event", "batches": {"CT": "scanner"}},
            "harmonize": {"harmonizer": "combat"},
            "train": {"clinical_modality": FACTS, "baselines": {"volume": False}},
        }
    )
    arms = [arm for arm in config.train.arms(table) if arm.name in ("early-logistic", "single-clinical-logistic")]
    models = {arm.name: arm.fitted(table.rows(), table.outcome, ComBat().build()) for arm in arms}
    return SimpleNamespace(
        config=config, table=table, modalities=("CT", "PET"), offered=arms, images=True,
        model=lambda arm: models[arm.name],
    )  # fmt: skip


@pytest.fixture
def features(run: Any, tmp_path: Path) -> Path:
    path = tmp_path / "new.csv"
    values = run.table.values.head(4).set_axis(pd.Index(["old", "young", "unknown", "strange"], name="subject"))
    values.to_csv(path)
    return path


def told(tmp_path: Path, **changed: object) -> Path:
    """Facts as a hospital writes them: some text, some numbers, some cells empty."""
    facts = pd.DataFrame(
        {"subject": ["old", "young", "unknown", "strange"], "scanner": "a", "age": [75, 50, None, 60],
         "grade": ["high", "low", None, "never heard of"], "extent": [3, 1, None, 2]} | changed
    )  # fmt: skip
    facts.to_csv(tmp_path / "facts.csv", index=False)
    return tmp_path / "facts.csv"


def scored(run: Any, features: Path, facts: Path) -> pd.DataFrame:
    new, values = read_measured(run, features, [facts], run.offered)
    table = FeatureTable(values.reindex(columns=run.table.values.columns), new.cohort.subjects.set_axis(values.index))
    return score(run, run.offered, new, table, dict(new.refused)).set_index(["arm", "subject"])


def test_the_facts_of_new_patients_are_read_and_used(run, features, tmp_path):
    found = scored(run, features, told(tmp_path))
    alone = found.loc["single-clinical-logistic"]
    assert alone.loc["old", "score"] > 0.5 > alone.loc["young", "score"]
    assert np.isfinite(alone.loc["strange", "score"])  # a level never seen says nothing
    assert alone.loc["old", "harmonised"] == "no"
    own = run.table.rows().head(1).assign(**{"@age": 75.0, "@grade": "high", "@extent": 3, "@batch.CT": "a"})
    early = next(arm for arm in run.offered if arm.name == "early-logistic")
    assert found.loc[("early-logistic", "old"), "score"] == pytest.approx(run.model(early).predict_proba(own)[0, 1])


def test_of_a_patient_without_facts_fusion_says_what_was_missing_and_the_facts_alone_say_nothing(
    run, features, tmp_path
):
    found = scored(run, features, told(tmp_path))
    early, alone = found.loc[("early-logistic", "unknown")], found.loc[("single-clinical-logistic", "unknown")]
    assert np.isfinite(early["score"])
    assert early["missing"] == "clinical"
    assert np.isnan(alone["score"])
    assert "looks at clinical, which the patient lacks" in alone["error"]
    assert (found.loc[("early-logistic", "old")]["missing"]) == ""


def test_a_table_without_a_fact_that_an_arm_needs_is_refused(run, features, tmp_path):
    facts = pd.read_csv(told(tmp_path)).drop(columns="grade")
    facts.to_csv(tmp_path / "facts.csv", index=False)
    with pytest.raises(CohortError, match="no table has a column 'grade'"):
        scored(run, features, tmp_path / "facts.csv")


def test_a_number_that_is_none_is_a_fault_of_its_patient(run, features, tmp_path):
    facts = told(tmp_path, age=["75", "fifty", None, "60"])
    new, _ = read_measured(run, features, [facts], run.offered)
    assert set(new.refused) == {"young"}
    assert "age is 'fifty', and was a number in training" in new.refused["young"].what
