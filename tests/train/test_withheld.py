"""Fusion arms judged on patients who lack a modality."""

import numpy as np
import pandas as pd
import pytest

from radfuse.data.predictions import Predictions
from radfuse.harmonize.combat import ComBat
from radfuse.train.evaluation import poorer_scores
from radfuse.train.scores import Bootstrap
from radfuse.train.stage import Train
from radfuse.train.withheld import withheld_sets, withheld_table, without

QUICK = {
    "fusions": ["early", "late"],
    "splits": {"folds": 3, "repeats": 1, "seed": 0},
    "bootstrap": 50,
    "operating": None,
}


def test_every_set_that_leaves_something():
    assert withheld_sets(["CT", "MR", "PET"]) == [
        ("CT",), ("MR",), ("PET",), ("CT", "MR"), ("CT", "PET"), ("MR", "PET"),
    ]  # fmt: skip
    assert withheld_sets(["CT"]) == []


def test_images_fused_from_a_modality_go_with_it():
    rows = pd.DataFrame({"CT.a": [1.0], "PET.a": [2.0], "fused-x-CT_PET.a": [3.0], "CT:rim.a": [4.0], "@age": [5.0]})
    left = without(rows, ("CT",))
    assert left.columns.tolist() == rows.columns.tolist()
    assert left.isna().iloc[0].tolist() == [True, False, True, True, False]


def test_several_sets_stand_one_below_the_other():
    rows = pd.DataFrame({"CT.a": [1.0, 2.0], "PET.a": [3.0, 4.0], "@age": [5, 6]}, index=["A", "B"])
    left = without(rows, ("CT",), ("PET",))
    assert left.index.tolist() == ["A", "B", "A", "B"]
    pd.testing.assert_frame_equal(left.iloc[:2], without(rows, ("CT",)))
    pd.testing.assert_frame_equal(left.iloc[2:], without(rows, ("PET",)))
    assert rows.notna().all(axis=None)  # the rows given are left alone


@pytest.mark.parametrize("fusion", ["early", "late", "intermediate", "pls"])
def test_all_sets_at_once_score_as_each_alone(fusion, make_table):
    table = make_table(subjects=40, modalities=("CT", "MR", "PET"))
    train = Train.model_validate(QUICK | {"fusions": [fusion], "clinical_modality": ["age", "sex"]})
    arm = next(arm for arm in train.arms(table) if arm.joins)
    rows, sets = table.rows(), withheld_sets(arm.modalities)
    model = arm.fitted(rows.iloc[:30], table.outcome.iloc[:30], ComBat(protect=("age",)).build())
    found = poorer_scores(model, rows.iloc[30:], sets)
    assert list(found) == ["+".join(gone) for gone in sets]
    for gone, score in zip(sets, found.values(), strict=True):
        assert (score == model.predict_proba(without(rows.iloc[30:], gone))[:, 1]).all(), gone


def test_the_scores_are_those_of_the_same_models_on_rows_that_lack_the_modality(make_table, harmonizer):
    """Late fusion without PET is the CT model alone, fold by fold; a single modality is never withheld."""
    table, train = make_table(subjects=40), Train.model_validate(QUICK)
    splits = train.splits(table)
    results = {arm.name: train.run_arm(arm, table, splits, harmonizer) for arm in train.arms(table)}
    late = results["late-logistic"].evidence["withheld"].set_index(["withheld", "subject"])["score"]
    alone = results["single-CT-logistic"].predictions.rows.set_index("subject")["score"]
    assert late["PET"].to_numpy() == pytest.approx(alone[late["PET"].index].to_numpy(), abs=1e-12)
    fusions = {name for name, found in results.items() if "withheld" in found.evidence}
    assert fusions == {"early-logistic", "late-logistic"}
    assert set(results["early-logistic"].evidence["withheld"]["withheld"]) == {"CT", "PET"}


def test_the_table_is_the_arms_own_measure_and_shows_the_loss(make_table, harmonizer):
    table, train = make_table(subjects=60, signal=2.0), Train.model_validate(QUICK)
    splits = train.splits(table)
    arm = next(arm for arm in train.arms(table) if arm.name == "late-logistic")
    result = train.run_arm(arm, table, splits, harmonizer)
    lost = train.tables(result.predictions, result.evidence)["withheld"].set_index("withheld")
    whole = train.score(result.predictions).set_index("arm")["auc"]["late-logistic"]
    assert lost.index.tolist() == ["CT", "PET"]
    assert (lost["auc"] < whole).all()
    assert (lost["ci_low"] < lost["auc"]).all()
    assert (lost["auc"] < lost["ci_high"]).all()


def test_a_table_worked_by_hand():
    rows = pd.DataFrame(
        {"arm": "late", "fusion": "late", "modalities": "CT+PET", "classifier": "logistic", "subject": list("ABCD"),
         "repeat": 0, "fold": 0, "outcome": [0, 0, 1, 1], "score": [0.1, 0.2, 0.3, 0.4]}
    )  # fmt: skip
    poorer = rows.assign(withheld="PET", score=[0.3, 0.1, 0.2, 0.4])
    found = withheld_table(poorer, Bootstrap(Predictions(rows), 20, 0.95, 0)).iloc[0]
    assert (found["arm"], found["withheld"]) == ("late", "PET")
    assert found["auc"] == np.mean([0, 1, 1, 1])
