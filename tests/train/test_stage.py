"""The train stage as the runner uses it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from radfuse.data.predictions import COLUMNS, Predictions
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, DataError
from radfuse.train.arms import Arm
from radfuse.train.stage import Train


def run(train: Train, table: FeatureTable, harmonizer: Any, names: list[str] | None = None) -> Predictions:
    train = train.model_copy(update={"operating": None})  # thresholds cost fits, and change no score
    splits = train.splits(table)
    arms = [arm for arm in train.arms(table) if names is None or arm.name in names]
    if names is not None:
        arms.sort(key=lambda arm: names.index(arm.name))
    results = [train.run_arm(arm, table, splits, harmonizer) for arm in arms]
    return Predictions(pd.concat([result.predictions.rows for result in results], ignore_index=True))


def test_arms_carry_the_names_the_table_prints(make_table):
    train = Train.model_validate({"classifiers": ["logistic", "xgboost"]})
    arms = train.arms(make_table(fused=True))
    assert [arm.name for arm in arms] == [
        "single-CT-logistic", "single-CT-xgboost", "single-PET-logistic", "single-PET-xgboost",
        "image-fused-average-CT_PET-logistic", "image-fused-average-CT_PET-xgboost",
        "early-logistic", "early-xgboost", "intermediate", "late-logistic", "late-xgboost",
        "baseline-volume", "baseline-volume-suvmax", "baseline-batch",
    ]  # fmt: skip
    by_name = {arm.name: arm for arm in arms}
    assert by_name["early-logistic"].modalities == ("CT", "PET")
    assert by_name["intermediate"].classifier == "network"
    assert by_name["image-fused-average-CT_PET-logistic"].fusion == "image"


def test_fused_images_join_fusion_only_when_asked(make_table):
    table = make_table(fused=True)
    joined = {arm.name: arm for arm in Train(with_fused=True).arms(table)}
    assert joined["late-logistic"].modalities == ("CT", "PET", "fused-average-CT_PET")
    assert not [arm for arm in Train(images=False).arms(table) if arm.fusion == "image"]


def test_one_modality_has_nothing_to_fuse(make_table, harmonizer):
    train, table = Train(), make_table(modalities=("CT",))
    assert {arm.fusion for arm in train.arms(table)} == {"single", "baseline"}
    assert train.contrast(run(train, table, harmonizer, ["single-CT-logistic"])) is None


def test_settings_survive_a_round_trip():
    settings = {
        "classifiers": [{"method": "logistic", "l1_ratio": 0.2}, "xgboost"],
        "fusions": ["late", {"method": "intermediate", "width": 4}],
        "selection": {"method": "mann_whitney", "most": 3},
    }
    train = Train.model_validate(settings)
    dumped = train.model_dump(mode="json")
    assert dumped["classifiers"][0]["l1_ratio"] == 0.2
    assert dumped["fusions"][1]["width"] == 4
    assert Train.model_validate(dumped) == train


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classifiers": []}, "name at least one classifier"),
        ({"classifiers": ["logistic", {"method": "logistic", "l1_ratio": 0}]}, "classifiers names logistic twice"),
        ({"fusions": ["late", "late"]}, "fusions names late twice"),
        ({"primary": {"classifier": "xgboost"}}, "the classifier 'xgboost', which is not among"),
        ({"primary": {"fusion": "erly"}}, "did you mean 'early'"),
        ({"splits": {"folds": 1}}, "greater than or equal to 2"),
    ],
)
def test_settings_that_cannot_be_run_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        Train.model_validate(settings)


def test_primary_against_an_unknown_modality_is_refused(make_table):
    with pytest.raises(ConfigError, match="against names 'MR'; the table's modalities are CT, PET"):
        Train.model_validate({"primary": {"against": "MR"}}).arms(make_table())


def test_a_table_without_features_has_nothing_to_train():
    index = pd.Index(["A", "B"], name="subject")
    with pytest.raises(ConfigError, match="nothing to train"):
        Train().arms(FeatureTable(pd.DataFrame(index=index), pd.DataFrame({"outcome": [0, 1]}, index=index)))


def test_arm_without_strategy_or_baseline_is_refused(make_table, harmonizer):
    arm = Train().arms(make_table())[0]
    bare = Arm("bare", "single", arm.modalities, "logistic", arm.imputation, arm.selection, 0, arm.member)
    with pytest.raises(ConfigError, match="'bare' has neither"):
        bare.pipeline(["CT.x"], harmonizer)


def test_predictions_hold_every_subject_once_per_repeat(make_table, harmonizer):
    train, table = Train.model_validate({"splits": {"repeats": 2}, "operating": None}), make_table()
    splits = train.splits(table)
    result = train.run_arm(train.arms(table)[0], table, splits, harmonizer)
    rows = result.predictions.rows
    assert list(rows.columns[: len(COLUMNS)]) == COLUMNS
    assert len(rows) == 120
    merged = rows.merge(splits, on=["subject", "repeat"])
    assert (merged["fold_x"] == merged["fold_y"]).all()
    assert (rows["outcome"].to_numpy() == table.outcome.loc[rows["subject"]].to_numpy()).all()
    assert list(result.folds.columns) == ["repeat", "fold", "auc"]
    assert len(result.fold_reports) == 10
    assert result.fold_reports[0]["chosen"]["CT"]
    assert result.model.predict_proba(table.rows()).shape == (60, 2)


def test_headline_auc_is_the_mean_of_the_folds(make_table, harmonizer):
    train, table = Train.model_validate({"splits": {"repeats": 3}, "bootstrap": 50, "operating": None}), make_table()
    result = train.run_arm(train.arms(table)[0], table, train.splits(table), harmonizer)
    score = train.score(result.predictions).iloc[0]
    assert score["auc"] == pytest.approx(result.folds["auc"].mean(), abs=1e-12)
    assert score["ci_low"] <= score["auc"] <= score["ci_high"]
    assert (score["n"], score["events"]) == (60, 24)


def test_same_bytes_twice_and_in_any_order_of_arms(make_table, harmonizer):
    train = Train.model_validate(
        {"splits": {"repeats": 1}, "classifiers": ["xgboost", {"method": "random_forest", "trees": 20}]}
    )
    table = make_table(subjects=40, features=8)
    names = [arm.name for arm in train.arms(table)]
    forwards, backwards = (run(train, table, harmonizer, order) for order in (names, names[::-1]))
    for name in names:
        first, second = (p.of(name).to_csv(index=False) for p in (forwards, backwards))
        assert first == second, name
    tables = [train.score(p).sort_values("arm").to_csv(index=False) for p in (forwards, backwards)]
    assert tables[0] == tables[1]


def test_planted_signal_of_two_modalities_is_found_by_fusion(make_table, harmonizer):
    """The outcome is the sign of CT + PET: each alone has a ceiling near 0.83, both together near 1."""
    train = Train.model_validate({"splits": {"repeats": 2}, "bootstrap": 500})
    predictions = run(train, make_table(subjects=100), harmonizer)
    auc = train.score(predictions).set_index("arm")["auc"]
    best = max(auc["single-CT-logistic"], auc["single-PET-logistic"])
    for arm in ("early-logistic", "late-logistic", "intermediate"):
        assert auc[arm] > best + 0.05, arm
    assert auc["early-logistic"] > 0.9
    assert abs(auc["baseline-batch"] - 0.5) < 0.2
    contrast = train.contrast(predictions)
    assert contrast is not None
    assert (contrast["arm"], contrast["against"]) == ("early-logistic", "single-CT-logistic")
    assert contrast["ci_low"] > 0
    assert contrast["p"] < 0.02
    assert "the interval excludes 0: fusion predicted better" in contrast["verdict"]
    assert "With 40 events among 100 subjects" in contrast["power"]


def test_noise_earns_no_claim(make_table, harmonizer):
    train = Train.model_validate({"splits": {"repeats": 1}, "bootstrap": 500, "primary": {"against": "PET"}})
    names = ["early-logistic", "single-CT-logistic", "single-PET-logistic"]
    contrast = train.contrast(run(train, make_table(signal=0.0), harmonizer, names))
    assert contrast is not None
    assert contrast["against"] == "single-PET-logistic"
    assert contrast["ci_low"] < 0 < contrast["ci_high"]
    assert "do not claim a gain" in contrast["verdict"]


def test_contrast_is_absent_when_its_arm_was_not_run(make_table, harmonizer):
    train = Train.model_validate({"splits": {"repeats": 1}})
    assert train.contrast(run(train, make_table(), harmonizer, ["single-CT-logistic", "late-logistic"])) is None


def test_the_modality_to_beat_stays_the_same_where_its_arm_could_not_be_trained(make_table, harmonizer):
    train, table = Train(splits={"folds": 2, "repeats": 1}, explain=None), make_table(subjects=24, features=4)
    found = run(train, table, harmonizer, ["early-logistic", "single-CT-logistic", "single-PET-logistic"])
    assert train.contrast(found)["against"] == "single-CT-logistic"
    left = Predictions(found.rows[found.rows["arm"] != "single-CT-logistic"])
    assert train.contrast(left) is None  # and not a comparison with PET, which nobody declared


def test_settings_that_lost_the_declared_level_still_give_arms(make_table):
    """Comparing fusion methods takes the levels out of a copy of the settings."""
    stacking = {"method": "late", "combine": "stacking"}
    train = Train(fusions=["early", stacking], primary={"fusion": "late_stacking"})
    fewer = train.model_copy(update={"fusions": train.fusions[:1]})
    asked = [arm.name for arm in fewer.arms(make_table()) if arm.operating is not None]
    assert asked == ["single-CT-logistic"]


def test_intermediate_can_be_the_primary(make_table, harmonizer):
    train = Train.model_validate(
        {"splits": {"repeats": 1}, "primary": {"fusion": "intermediate"}, "bootstrap": 100,
         "fusions": [{"method": "intermediate", "fits": 2, "epochs": 10}]}
    )  # fmt: skip
    contrast = train.contrast(run(train, make_table(), harmonizer, ["single-CT-logistic", "intermediate"]))
    assert contrast is not None
    assert contrast["arm"] == "intermediate"


def test_subject_without_any_feature_is_named(make_table, harmonizer):
    train, table = Train(), make_table()
    empty = table.with_values(
        table.values.assign(**{c: table.values[c].mask(table.values.index == "S003") for c in table.values})
    )
    with pytest.raises(DataError, match="no feature of any modality for S003"):
        train.run_arm(train.arms(empty)[0], empty, train.splits(empty), harmonizer)


def test_faults_in_a_fold_say_which_arm_and_fold(make_table, harmonizer):
    train, table = Train(), make_table()
    broken = table.with_values(table.values.assign(**{"CT.original_firstorder_F3": np.inf}))
    with pytest.raises(DataError, match="infinite") as caught:
        train.run_arm(train.arms(broken)[0], broken, train.splits(broken), harmonizer)
    assert "while training single-CT-logistic for fold 0 of repeat 0" in caught.value.__notes__


def test_models_fit_when_a_modality_is_missing_in_some(make_table, harmonizer):
    train = Train.model_validate({"splits": {"repeats": 1}, "bootstrap": 50})
    table = make_table(subjects=80)
    values = table.values.copy()
    values.loc[values.index[::3], table.columns_of("PET")] = np.nan
    auc = train.score(run(train, table.with_values(values), harmonizer)).set_index("arm")["auc"]
    assert auc["late-logistic"] > 0.8
    assert auc["early-logistic"] > 0.8
    assert auc["intermediate"] > 0.75


def test_patients_with_several_lesions_are_resampled_whole(make_table, harmonizer):
    """Every lesion twice makes twice the rows but no more patients: the interval must not shrink."""
    train = Train.model_validate({"splits": {"repeats": 1}, "bootstrap": 800})
    rows = run(train, make_table(), harmonizer, ["single-CT-logistic"]).rows
    twice = pd.concat([rows, rows.assign(subject=rows["subject"] + "-b")], ignore_index=True)
    once, doubled = (train.score(Predictions(r)).iloc[0] for r in (rows, twice))
    assert doubled["auc"] == pytest.approx(once["auc"])
    assert doubled["ci_high"] - doubled["ci_low"] == pytest.approx(once["ci_high"] - once["ci_low"])
    assert doubled["n"] == 2 * once["n"]
    assert once["pooled_delong_low"] < once["auc_pooled"]
    assert np.isnan(doubled["pooled_delong_low"])


def test_rows_of_one_patient_do_not_make_the_cohort_larger(make_table, harmonizer):
    train = Train.model_validate({"splits": {"repeats": 1}, "bootstrap": 50, "fusions": ["early"]})
    rows = run(train, make_table(), harmonizer, ["single-CT-logistic", "early-logistic"]).rows
    twice = pd.concat([rows, rows.assign(subject=rows["subject"] + "-b")], ignore_index=True)
    once, doubled = (train.contrast(Predictions(r)) for r in (rows, twice))
    assert (doubled["n"], doubled["events"]) == (2 * once["n"], 2 * once["events"])
    assert doubled["visible"] == pytest.approx(once["visible"])
    assert doubled["power"].startswith(once["power"])
    seen = [train.tables(Predictions(r), {})["comparisons"]["visible"].to_numpy() for r in (rows, twice)]
    assert seen[1] == pytest.approx(seen[0], nan_ok=True)


def test_within_batch_auc_compares_one_scanner_at_a_time(make_table, harmonizer):
    train = Train.model_validate({"splits": {"repeats": 1}, "bootstrap": 20})
    table = make_table()
    batch = np.where(table.outcome == 1, "north", "south")
    batch[::4] = "north"
    linked = FeatureTable(table.values, table.subjects.assign(**{"batch.CT": batch, "batch.PET": batch}))
    score = train.score(run(train, linked, harmonizer, ["baseline-batch"])).iloc[0]
    assert score["auc"] > 0.75
    assert score["auc_within_batch"] == 0.5


def test_a_fused_volume_carries_the_batches_of_its_parts(make_table, harmonizer):
    train = Train.model_validate({"splits": {"repeats": 1}})
    rows = run(train, make_table(fused=True), harmonizer, ["image-fused-average-CT_PET-logistic"]).rows
    assert set(rows["batch"]) == {"north+north", "north+south", "south+north", "south+south"}
