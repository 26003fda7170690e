"""Clinical facts as a modality of their own."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from radfuse.config import Config
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError
from radfuse.harmonize.combat import ComBat
from radfuse.run.models import load_model, save_model
from radfuse.train.baselines import Baselines
from radfuse.train.clinical import HIDDEN, hide, lacks_facts
from radfuse.train.evaluation import fit_fold
from radfuse.train.stage import Train
from radfuse.train.steps.clinical import Clinical
from radfuse.train.withheld import without

QUICK: dict[str, Any] = {
    "fusions": ["early", {"method": "intermediate", "fits": 2, "epochs": 3, "features": 4}, "late"],
    "clinical_modality": ["age", "grade", "sex"],
    "baselines": {"batch": False, "volume": False, "uptake": False},
    "splits": {"folds": 3, "repeats": 1},
    "explain": None,
    "operating": None,
    "bootstrap": 50,
}


@pytest.fixture
def table(make_table) -> FeatureTable:
    """Sixty patients, who are older and of higher grade if they have the event; some facts are not known."""
    found = make_table(subjects=60, signal=0.5)
    rng = np.random.default_rng(3)
    age = found.subjects["age"] + 12 * found.outcome
    grade = pd.Series(
        np.where(rng.random(60) < 0.3 + 0.4 * found.outcome, "high", "low"), found.values.index, dtype=object
    )
    grade.iloc[[5, 6]] = "unheard of"
    age.iloc[[1, 2]], grade.iloc[[2, 3]] = np.nan, None
    return FeatureTable(found.values, found.subjects.assign(age=age, grade=grade))


def test_facts_become_columns_by_what_the_training_rows_hold():
    rows = pd.DataFrame(
        {
            "CT.a": [1.0, 2.0, 3.0, 4.0, 5.0],
            "@age": [50.0, np.nan, 70.0, 90.0, 60.0],
            "@grade": ["low", "low", None, "high", "mid"],
            "@sex": ["F", "M", "F", "F", "F"],
            "@nothing": [np.nan] * 5,
        }
    )
    step = Clinical(["age", "grade", "sex", "nothing"]).fit(rows)
    found = step.transform(rows)
    names = [
        "CT.a",
        "clinical.age",
        "clinical.grade=high",
        "clinical.grade=low",
        "clinical.grade=mid",
        "clinical.sex=M",
    ]
    assert [c for c in found if not c.startswith("@")] == names
    assert found["clinical.age"].tolist() == [50, 65, 70, 90, 60]  # the median of those known
    assert found["clinical.grade=low"].tolist() == [1, 1, 1, 0, 0]  # the commonest where missing
    assert found["clinical.sex=M"].tolist() == [0, 1, 0, 0, 0]
    assert found["@missing.clinical"].tolist() == [0] * 5
    assert step.dropped_ == ["nothing"]
    new = pd.DataFrame(
        {"CT.a": 0.0, "@age": [np.nan, 40.0], "@grade": [None, "new"], "@sex": [None, "X"], "@nothing": [1.0, None]}
    )
    found = step.transform(new)
    assert found.filter(like=".grade").to_numpy().tolist() == [[0, 1, 0], [0, 0, 0]]  # a new level sets none
    assert found["@missing.clinical"].tolist() == [1, 0]


def test_a_row_whose_facts_are_withheld_is_as_one_of_which_nothing_is_known():
    rows = pd.DataFrame({"@age": [50.0, 70.0, 60.0], "@sex": ["F", "M", "F"]})
    step = Clinical(["age", "sex"]).fit(rows)
    blank = step.transform(rows.assign(**{"@age": np.nan, "@sex": None}))
    hidden = step.transform(hide(rows, np.ones(len(rows), bool)))
    made = ["clinical.age", "clinical.sex=M", "@missing.clinical"]
    assert hidden[made].to_numpy().tolist() == blank[made].to_numpy().tolist() == [[60, 0, 1]] * 3
    assert HIDDEN not in hidden
    assert hidden["@age"].tolist() == [50, 70, 60]  # a harmoniser's covariates are not the modality


def test_the_modality_joins_every_level_and_is_withheld_like_the_others(table):
    train = Train.model_validate(QUICK)
    splits, harmonizer = train.splits(table), ComBat(protect=("sex",)).build()
    arms = {arm.name: arm for arm in train.arms(table)}
    assert set(arms) == {
        "single-CT-logistic", "single-PET-logistic", "single-clinical-logistic", "early-logistic",
        "intermediate", "late-logistic",
    }  # fmt: skip
    results = {name: train.run_arm(arm, table, splits, harmonizer) for name, arm in arms.items()}
    clinical = results["single-clinical-logistic"]
    assert train.score(clinical.predictions)["auc"].iloc[0] > 0.7  # the facts tell something
    for name in ("early-logistic", "intermediate", "late-logistic"):
        assert results[name].arm.modalities == ("CT", "PET", "clinical")
        assert any(c.startswith("clinical.") for c in results[name].fold_reports[0]["chosen"]["clinical"])
        assert set(results[name].evidence["withheld"]["withheld"]) >= {"clinical", "CT+PET"}
    late = results["late-logistic"].evidence["withheld"].set_index(["withheld", "subject"])["score"]
    alone = clinical.predictions.rows.set_index("subject")["score"]
    assert late["CT+PET"].to_numpy() == pytest.approx(alone[late["CT+PET"].index].to_numpy(), abs=1e-12)


def test_many_features_withheld_together_with_the_facts_raise_no_warning(make_table):
    """Taking out column by column leaves a frame in pieces, of which pandas warns beyond a hundred; so would a test."""
    table = make_table(subjects=40, features=120, modalities=("CT", "MR", "PET"))
    train = Train.model_validate(QUICK | {"fusions": ["early"], "clinical_modality": ["age"]})
    arm = next(arm for arm in train.arms(table) if arm.fusion == "early")
    model = fit_fold(arm, table, train.splits(table), 0, 0, ComBat().build())
    for gone in (("CT", "clinical"), ("CT", "MR"), ("clinical",)):
        assert np.isfinite(model.predict_proba(without(table.rows(), gone))).all()


def test_facts_are_never_harmonised(table):
    """ComBat changes every CT feature; the clinical columns are the facts, standardised by the training rows."""
    train = Train.model_validate(QUICK)
    arm = next(arm for arm in train.arms(table) if arm.name == "early-logistic")
    model = fit_fold(arm, table, train.splits(table), 0, 0, ComBat().build())
    seen = model[:-2].transform(table.rows())  # all but scaling and classifying
    known = table.subjects["age"].notna()
    assert (seen.loc[known, "clinical.age"] == table.subjects.loc[known, "age"]).all()
    assert not np.allclose(seen["CT.original_firstorder_F5"], table.values["CT.original_firstorder_F5"])


def fitted(model: Any) -> dict[str, str]:
    return {f"{step}.{k}": joblib.hash(v) for step, part in model.named_steps.items() for k, v in vars(part).items()}


def test_levels_and_medians_are_of_the_training_rows(table):
    train = Train.model_validate(QUICK)
    splits = train.splits(table)
    validates = pd.Index(splits[splits["fold"] == 1]["subject"])
    other = FeatureTable(table.values, table.subjects.copy())
    other.subjects.loc[validates, "age"] = 1e6
    other.subjects.loc[validates, "grade"] = "a new grade"
    other.subjects.loc[validates, "sex"] = "X"
    harmonizer = ComBat().build()
    for arm in train.arms(table):
        before, after = (fitted(fit_fold(arm, each, splits, 0, 1, harmonizer)) for each in (table, other))
        assert before == after, arm.name
        assert ("clinical.levels_" in before) == ("clinical" in arm.modalities)


def test_a_model_with_facts_survives_its_file_and_new_rows_need_no_mark(table, tmp_path: Path):
    train = Train.model_validate(QUICK)
    rows, outcome = table.rows(), table.outcome
    for arm in [arm for arm in train.arms(table) if arm.name in ("early-logistic", "single-clinical-logistic")]:
        model = arm.fitted(rows, outcome, ComBat().build())
        assert HIDDEN not in model["columns"].columns
        save_model(model, tmp_path / "model.skops")
        again = load_model(tmp_path / "model.skops").predict_proba(rows)
        assert np.array_equal(again, model.predict_proba(rows))


def test_whether_anything_is_known_of_a_patient():
    rows = pd.DataFrame({"@age": [np.nan], "@sex": ["F"]})
    assert lacks_facts(rows, ("age",))
    assert not lacks_facts(rows, ("age", "sex"))


def test_later_facts_are_refused_by_name():
    with pytest.raises(
        ValidationError, match="clinical_modality lists 'lung_mets', which sounds like a fact known only"
    ):
        Train(clinical_modality=("age", "lung_mets"))
    vouched = Baselines(known_before_imaging=("performance_status",))
    assert Train(clinical_modality=("performance_status",), baselines=vouched)
    with pytest.raises(ValidationError, match="clinical_modality lists necrosis, which is known only after imaging"):
        Train(clinical_modality=("necrosis",), known_after_imaging=("necrosis",))


def test_facts_that_are_not_there_and_a_modality_of_the_same_name_are_refused(table):
    with pytest.raises(
        ConfigError, match=r"train.clinical_modality names size, not among the subjects' columns \(age, "
    ):
        Train(clinical_modality=("size",)).arms(table)
    taken = table.with_values(table.values.rename(columns=lambda c: c.replace("PET.", "clinical.")))
    with pytest.raises(ConfigError, match="has a modality 'clinical' of its own"):
        Train(clinical_modality=("age",)).arms(taken)


def test_a_study_reads_the_facts_and_refuses_the_outcome_as_one():
    settings = {"cohort": {"manifest": "m.csv", "outcome": "response_at_end"}}
    config = Config.model_validate(settings | {"train": {"clinical_modality": ["age"]}})
    assert "age" in config.columns.covariates
    vouched = {"clinical_modality": ["response_at_end"], "baselines": {"known_before_imaging": ["response_at_end"]}}
    with pytest.raises(
        ValidationError, match=r"train\.clinical_modality lists 'response_at_end', which is the outcome"
    ):
        Config.model_validate(settings | {"train": vouched})


def test_by_default_there_is_no_such_modality(make_table):
    table = make_table(subjects=20)
    assert not [arm for arm in Train().arms(table) if "clinical" in arm.modalities or arm.clinical]
