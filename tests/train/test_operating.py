"""Operating points: where the cut is made, what it gives, and that validation rows have no say in it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from radfuse.data.predictions import Predictions
from radfuse.data.table import FeatureTable
from radfuse.errors import DataError
from radfuse.run.judging import arm_settings
from radfuse.train.operating import INNER, INNER_ALL, OPERATING, Operating, inner_scores, operating_table
from radfuse.train.scores import Bootstrap
from radfuse.train.stage import Train

QUICK: dict[str, Any] = {
    "classifiers": ["logistic", "lda"],
    "fusions": ["early"],
    "splits": {"folds": 3, "repeats": 1},
    "bootstrap": 50,
    "operating": {"inner_folds": 2},
}


def inner(outcome: list[int], score: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"outcome": outcome, "score": score, "error": ""})


def test_thresholds_worked_by_hand():
    # Events 0.9 0.7 0.6 0.2, others 0.8 0.5 0.3 0.1. Youden: 3/4 + 3/4 - 1 above 0.5, midway to 0.6;
    # for a sensitivity of 0.9 the event at 0.2 must be called too, midway to 0.1.
    rows = inner([1, 1, 1, 1, 0, 0, 0, 0], [0.9, 0.7, 0.6, 0.2, 0.8, 0.5, 0.3, 0.1])
    assert Operating().thresholds(rows) == pytest.approx({"youden": 0.55, "sensitive": 0.15})
    assert Operating(sensitivity=0.75).thresholds(rows)["sensitive"] == pytest.approx(0.55)
    assert Operating(sensitivity=1.0).thresholds(rows)["sensitive"] == pytest.approx(0.15)


def test_a_useless_score_calls_everyone_ill():
    assert Operating().thresholds(inner([1, 0, 1], [0.4, 0.4, 0.4])) == {"youden": 0.0, "sensitive": 0.0}


def test_no_threshold_without_both_outcomes():
    assert np.isnan(list(Operating().thresholds(inner([1, 1, 0], [0.4, 0.5, np.nan])).values())).all()


@pytest.mark.parametrize("settings", [{"inner_folds": 1}, {"sensitivity": 0}, {"arms": "early-logistic"}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]):
    with pytest.raises(ValidationError):
        Operating.model_validate(settings)


def test_each_fold_is_cut_by_its_own_threshold():
    # Fold 0 is cut at 0.5, fold 1 at 0.2: one of two events and one of two others are called in each.
    rows = pd.DataFrame(
        {"arm": "early", "fusion": "early", "modalities": "CT", "classifier": "logistic", "subject": list("ABCDEFGH"),
         "repeat": 0, "fold": [0] * 4 + [1] * 4, "outcome": [1, 1, 0, 0] * 2,
         "score": [0.6, 0.4, 0.7, 0.3, 0.3, 0.1, 0.1, 0.15]}
    )  # fmt: skip
    by_fold = [inner([1, 0], scores).assign(fold=fold) for fold, scores in enumerate(([0.6, 0.4], [0.25, 0.15]))]
    given = pd.concat(by_fold).assign(arm="early", repeat=0)
    everyone = inner([1, 0], [0.8, 0.6]).assign(arm="early")
    bootstrap = Bootstrap(Predictions(rows), 50, 0.95, 0)
    found = operating_table(Predictions(rows), given, everyone, bootstrap, Operating()).set_index("rule").loc["youden"]
    assert (found["threshold_low"], found["threshold"], found["threshold_high"]) == pytest.approx((0.2, 0.35, 0.5))
    assert found["threshold_all"] == pytest.approx(0.7)
    # Called: A, C and E. Events A B E F: 2 of 4; others C D G H: 3 of 4 spared.
    assert (found["sensitivity"], found["specificity"], found["balanced_accuracy"]) == (0.5, 0.75, 0.625)
    assert (found["ppv"], found["npv"]) == pytest.approx((2 / 3, 3 / 5))
    assert found["sensitivity_low"] < 0.5 < found["sensitivity_high"]
    assert (found["folds"], found["folds_without"], found["note"]) == (2, 0, "")


def test_a_fold_without_a_threshold_is_left_out_and_counted():
    rows = pd.DataFrame(
        {"arm": "early", "fusion": "early", "modalities": "CT", "classifier": "logistic", "subject": list("ABCD"),
         "repeat": 0, "fold": [0, 0, 1, 1], "outcome": [1, 0, 1, 0], "score": [0.6, 0.4, 0.3, 0.9]}
    )  # fmt: skip
    lost = inner([1, 0], [np.nan, np.nan]).assign(fold=1, error="too few")
    given = pd.concat([inner([1, 0], [0.6, 0.4]).assign(fold=0), lost]).assign(arm="early", repeat=0)
    bootstrap = Bootstrap(Predictions(rows), 20, 0.95, 0)
    found = operating_table(Predictions(rows), given, lost.assign(arm="early"), bootstrap, Operating()).iloc[0]
    assert (found["folds"], found["folds_without"], found["sensitivity"], found["specificity"]) == (2, 1, 1.0, 1.0)
    assert np.isnan(found["threshold_all"])
    assert found["note"] == "inner folds that could not be trained: too few"


def test_only_the_declared_arms_pay_for_thresholds(make_table):
    table = make_table(subjects=30)
    choosing = [arm.name for arm in Train.model_validate(QUICK).arms(table) if arm.operating is not None]
    assert choosing == ["single-CT-logistic", "early-logistic"]
    every = Train.model_validate(QUICK | {"operating": {"arms": "all"}}).arms(table)
    assert all(arm.operating is not None for arm in every)
    assert not any(arm.operating for arm in Train.model_validate(QUICK | {"operating": None}).arms(table))


def test_a_key_changes_with_what_an_arm_must_do_again_and_with_nothing_else(make_table):
    table = make_table(subjects=30)

    def settings(**operating: Any) -> dict[str, dict[str, Any]]:
        train = Train.model_validate(QUICK | {"operating": operating or None})
        return {arm.name: arm_settings(arm) for arm in train.arms(table)}

    base, more = settings(inner_folds=2), settings(inner_folds=3)
    changed = [name for name in base if base[name] != more[name]]
    assert changed == [name for name in base if base[name] != settings()[name]]
    assert changed == ["single-CT-logistic", "early-logistic"]
    # The least sensitivity reads scores that stand; which other arms choose too is their own affair.
    assert settings(inner_folds=2, sensitivity=0.8) == base
    assert all(settings(inner_folds=2, arms="all")[name] == base[name] for name in changed)


def test_thresholds_come_with_the_arm_and_change_no_score(make_table, harmonizer):
    table, train = make_table(subjects=40), Train.model_validate(QUICK)
    splits = train.splits(table)
    arm = next(arm for arm in train.arms(table) if arm.name == "early-logistic")
    plain = next(a for a in Train.model_validate(QUICK | {"operating": None}).arms(table) if a.name == arm.name)
    result, without = (train.run_arm(each, table, splits, harmonizer) for each in (arm, plain))
    pd.testing.assert_frame_equal(result.predictions.rows, without.predictions.rows)
    assert INNER not in without.evidence
    by_fold = result.evidence[INNER].groupby(["repeat", "fold"])
    assert {place: set(own["subject"]) for place, own in by_fold} == {
        (repeat, fold): set(table.values.index) - set(part["subject"])
        for (repeat, fold), part in splits.groupby(["repeat", "fold"])
    }
    assert set(result.evidence[INNER_ALL]["subject"]) == set(table.values.index)
    points = train.tables(result.predictions, result.evidence)[OPERATING].set_index("rule")
    assert set(points.index) == {"youden", "sensitive"}
    assert (points["folds"] == 3).all()
    assert points["sensitivity"].between(0.5, 1).all()
    assert OPERATING not in train.tables(without.predictions, without.evidence)


def altered(table: FeatureTable, subjects: pd.Index) -> FeatureTable:
    """Other features, gaps, batches and outcomes for the given subjects."""
    rng = np.random.default_rng(9)
    values, facts = table.values.copy(), table.subjects.copy()
    noise = rng.normal(3, 50, (len(subjects), values.shape[1]))
    noise[rng.random(noise.shape) < 0.3] = np.nan
    values.loc[subjects] = noise
    facts.loc[subjects, "outcome"] = 1 - facts.loc[subjects, "outcome"]
    facts.loc[subjects, "batch.CT"] = "a new scanner"
    return FeatureTable(values, facts)


def test_validation_rows_change_no_threshold(make_table, harmonizer):
    """Other features, gaps, batches and outcomes of a fold's validation rows: its inner scores stay bit-identical."""
    table, train = make_table(subjects=40), Train.model_validate(QUICK)
    splits = train.splits(table)
    validates = pd.Index(splits[(splits["repeat"] == 0) & (splits["fold"] == 1)]["subject"])
    arm = next(arm for arm in train.arms(table) if arm.name == "early-logistic")

    def scores(given: FeatureTable) -> pd.DataFrame:
        return train.run_arm(arm, given, splits, harmonizer).evidence[INNER].set_index("fold")

    before, after = scores(table), scores(altered(table, validates))
    pd.testing.assert_frame_equal(before.loc[1], after.loc[1], check_exact=True)
    assert not before.loc[2, "score"].equals(after.loc[2, "score"])  # there they are training rows


class Failing:
    """An arm that cannot be trained without subject S000."""

    name = "failing"

    def fitted(self, rows: pd.DataFrame, outcome: pd.Series, harmonizer: Any) -> Any:
        if "S000" not in rows.index:
            raise DataError("S000 is missing")
        return self

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        return np.column_stack([np.full(len(rows), 0.7), np.full(len(rows), 0.3)])


def test_an_inner_part_that_cannot_be_trained_costs_its_own_scores(make_table):
    table = make_table(subjects=30)
    arm: Any = Failing()
    rows, rng = table.rows(), np.random.default_rng(0)
    found = inner_scores(arm, 3, rows, table.outcome, table.group, None, rng).set_index("subject")
    lost = found["error"] != ""
    assert lost["S000"]
    assert lost.sum() == 10
    assert set(found.loc[lost, "error"]) == {"S000 is missing"}
    assert found["score"].isna().equals(lost)


def test_groups_stay_together_in_the_inner_folds(make_table):
    """A model that has seen a twin would know the answer; the inner parts hold both or neither."""
    table = make_table(subjects=30)
    groups = pd.Series(np.arange(30) // 2, table.values.index)
    seen: list[set[int]] = []

    class Watching(Failing):
        def fitted(self, rows: pd.DataFrame, outcome: pd.Series, harmonizer: Any) -> Any:
            seen.append(set(groups[rows.index]))
            return self

        def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
            assert not set(groups[rows.index]) & seen[-1]
            return super().predict_proba(rows)

    arm: Any = Watching()
    inner_scores(arm, 3, table.rows(), table.outcome, groups, None, np.random.default_rng(0))
    assert len(seen) == 3


def test_one_outcome_left_gives_no_score_and_says_why(make_table):
    table = make_table(subjects=10)
    outcome = pd.Series(0, table.values.index)
    arm: Any = Failing()
    found = inner_scores(arm, 2, table.rows(), outcome, table.group, None, np.random.default_rng(0))
    assert found["score"].isna().all()
    assert set(found["error"]) == {"the rest of the training rows holds one outcome only"}
