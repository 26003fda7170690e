"""Settings chosen by inner folds of the training rows, and class weights."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.base import clone

from radfuse.data.predictions import Predictions
from radfuse.data.table import FeatureTable
from radfuse.harmonize.combat import ComBat
from radfuse.run.models import load_model, save_model
from radfuse.train.arms import Arm
from radfuse.train.classifiers import Classifier
from radfuse.train.evaluation import fit_fold
from radfuse.train.judgement import no_probabilities
from radfuse.train.selection.anova import Anova
from radfuse.train.stage import Train
from radfuse.train.statistics import pair_auc
from radfuse.train.steps.tuned import FOLDS, REPEATS, Tuned
from radfuse.train.tuning import tuning_table

MEMBERS = sorted(Classifier.members())
STRENGTHS = {"method": "logistic", "tune": {"strength": [1e-6, 1.0]}}
QUICK: dict[str, Any] = {
    "classifiers": [STRENGTHS],
    "fusions": ["early", "late"],
    "splits": {"folds": 3, "repeats": 1},
    "images": False,
    "explain": None,
    "operating": None,
    "bootstrap": 50,
}


def arm_of(train: Train, table: FeatureTable, name: str) -> Arm:
    return next(arm for arm in train.arms(table) if arm.name == name)


def searched(arm: Arm, table: FeatureTable, harmonizer: Any) -> tuple[Tuned, pd.DataFrame]:
    """The fitted search, which `Arm.fitted` leaves out, and the rows that it saw."""
    rows = table.rows()
    pipeline = arm.pipeline(list(rows.columns), harmonizer)
    seen = pipeline[:-1].fit_transform(rows, table.outcome)
    return pipeline[-1].fit(seen, table.outcome), seen


@pytest.mark.parametrize("method", MEMBERS)
def test_every_classifier_has_a_grid_of_its_own_that_holds_its_defaults(method):
    plain, tuned = Classifier.choose(method), Classifier.choose({"method": method, "tune": True})
    found = tuned.candidates()
    assert plain.candidates() == [plain]
    assert len(found) == len({str(each) for each in found}) == np.prod([len(v) for v in tuned.grid.values()])
    assert plain in found
    assert [type(each.build(0)) for each in found]
    assert tuned.tried()[0] == {name: values[0] for name, values in tuned.grid.items()}


def test_tuned_and_balanced_arms_are_named_apart_and_run_beside_the_plain_one(make_table):
    members = ["logistic", STRENGTHS, {"method": "logistic", "class_weight": "balanced"},
               {"method": "lda", "class_weight": "balanced", "tune": True}]  # fmt: skip
    train = Train.model_validate({"classifiers": members, "primary": {"classifier": "logistic_tuned"}})
    names = {arm.name: arm.classifier for arm in train.arms(make_table(subjects=20))}
    assert {"early-logistic", "early-logistic_tuned", "late-logistic_balanced", "single-CT-lda_balanced_tuned"} <= set(
        names
    )
    assert names["early-logistic_tuned"] == "logistic_tuned"
    assert arm_of(train, make_table(subjects=20), "baseline-volume").member.tune is False
    with pytest.raises(ValidationError, match="classifiers names logistic_tuned twice"):
        Train.model_validate({"classifiers": [STRENGTHS, {"method": "logistic", "tune": True}]})


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"strengths": [1, 2]}, "tune names 'strengths', which logistic does not have; known: .*strength"),
        ({"strength": []}, "tune gives no value of 'strength' to try"),
        ({"strength": [1.0]}, "leaves logistic 1 setting to choose from"),
        ({"strength": [1.0, -1.0]}, "tune: strength: Input should be greater than 0"),
        ({}, "tune names no setting of logistic"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(tune, message):
    with pytest.raises(ValueError, match=message):
        Classifier.choose({"method": "logistic", "tune": tune})


def test_scores_are_the_mean_auc_of_pairs_within_inner_folds_worked_one_by_one(make_table, harmonizer):
    table, train = make_table(subjects=40), Train.model_validate(QUICK)
    search, rows = searched(arm_of(train, table, "late-logistic_tuned"), table, harmonizer)
    outcome = table.outcome.to_numpy()
    folds = search._inner(rows, outcome)
    assert len(folds) == FOLDS * REPEATS
    for classifier, score in zip(search.classifiers, search.scores_, strict=True):
        found = []
        for inside, outside in folds:
            model = clone(search.strategy).set_params(classifier=classifier).fit(rows.iloc[inside], outcome[inside])
            found.append(pair_auc(outcome[outside], model.predict_proba(rows.iloc[outside])[:, 1]))
        assert score == pytest.approx(np.mean(found), abs=1e-12)
    assert search.strategy_.tuning_ == search.settings[int(np.argmax(search.scores_))]


def test_a_setting_that_learns_beats_one_that_does_not_and_of_equals_the_first_wins(make_table, harmonizer):
    table = make_table(subjects=60, signal=2.0)
    search, _ = searched(arm_of(Train.model_validate(QUICK), table, "early-logistic_tuned"), table, harmonizer)
    assert search.strategy_.tuning_ == {"strength": 1.0}
    assert search.scores_[0] == 0.5  # so strong a penalty leaves no coefficient
    same = Train.model_validate(QUICK | {"classifiers": [{"method": "logistic", "tune": {"iterations": [9000, 8000]}}]})
    search, _ = searched(arm_of(same, table, "early-logistic_tuned"), table, harmonizer)
    assert search.scores_[0] == search.scores_[1]
    assert search.strategy_.tuning_ == {"iterations": 9000}


def test_features_are_selected_inside_the_inner_folds(make_table, harmonizer):
    """On noise: were features selected on all training rows, the inner AUC would be about 0.8 for any setting."""
    train = Train.model_validate(QUICK | {"classifiers": [{"method": "lda", "tune": {"shrinkage": [0.1, 0.9]}}]})
    found = []
    for seed in range(5):
        table = make_table(subjects=60, features=150, seed=seed)
        noise = np.random.default_rng(seed).permutation(60)
        table = FeatureTable(table.values, table.subjects.assign(outcome=table.outcome.to_numpy()[noise]))
        search, _ = searched(arm_of(train, table, "single-CT-lda_tuned"), table, harmonizer)
        found += search.scores_.tolist()
    assert 0.35 < np.mean(found) < 0.65


def test_inner_folds_keep_a_patient_together(make_table, harmonizer):
    table = make_table(subjects=60)
    patients = [f"patient {i // 2}" for i in range(60)]
    table = FeatureTable(table.values, table.subjects.assign(group=patients))
    search, rows = searched(arm_of(Train.model_validate(QUICK), table, "early-logistic_tuned"), table, harmonizer)
    folds = search._inner(rows, table.outcome.to_numpy())
    assert len(folds) == FOLDS * REPEATS
    for inside, outside in folds:
        assert not set(rows["@group"].iloc[inside]) & set(rows["@group"].iloc[outside])
        assert set(table.outcome.iloc[outside]) == {0, 1}


def test_with_a_single_event_nothing_can_be_judged_and_the_declared_settings_stand(make_table, harmonizer):
    table = make_table(subjects=30)
    alone = FeatureTable(table.values, table.subjects.assign(outcome=(np.arange(30) == 4).astype(int)))
    members = [{"method": "logistic", "tune": {"strength": [1e-6, 10.0]}}]
    arm = arm_of(Train.model_validate(QUICK | {"classifiers": members}), alone, "single-CT-logistic_tuned")
    model = arm.fitted(alone.rows(), alone.outcome, harmonizer)
    assert model[-1].tuning_ == {}
    assert model[-1].classifiers_["CT"].C == 1.0  # not among those tried, 1e-6 and 10
    assert np.isfinite(model.predict_proba(alone.rows())).all()


def test_the_choice_is_in_the_fold_report_the_table_and_the_saved_model(make_table, tmp_path: Path):
    table, train = make_table(subjects=40), Train.model_validate(QUICK)
    arm = arm_of(train, table, "late-logistic_tuned")
    result = train.run_arm(arm, table, train.splits(table), ComBat().build())
    chosen = [report["tuned"]["strength"] for report in result.fold_reports]
    counts = train.tables(result.predictions, result.evidence)["tuning"].set_index("value")["folds"]
    assert counts.to_dict() == {f"{value:g}": chosen.count(value) for value in set(chosen)}
    save_model(result.model, tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops")
    assert loaded[-1].tuning_ == result.model[-1].tuning_
    assert np.array_equal(loaded.predict_proba(table.rows()), result.model.predict_proba(table.rows()))


def test_shares_are_of_the_arms_own_folds():
    rows = pd.DataFrame(
        [("a", "depth", "2"), ("a", "depth", "1"), ("a", "depth", "2"), ("a", "kind", "x"), ("b", "depth", "3")],
        columns=["arm", "setting", "value"],
    )
    found = tuning_table(rows)[["arm", "setting", "value", "folds"]].values.tolist()
    assert found == [["a", "depth", "2", 2], ["a", "depth", "1", 1], ["a", "kind", "x", 1], ["b", "depth", "3", 1]]
    assert tuning_table(rows)["share"].tolist() == pytest.approx([2 / 3, 1 / 3, 1, 1])


def fitted(model: Any) -> dict[str, str]:
    return {f"{step}.{k}": joblib.hash(v) for step, part in model.named_steps.items() for k, v in vars(part).items()}


def test_validation_rows_leave_no_trace_in_what_is_chosen(make_table, harmonizer):
    members = [{"method": "logistic", "tune": {"strength": [0.1, 1.0]}, "class_weight": "balanced"},
               {"method": "xgboost", "trees": 10, "tune": {"depth": [1, 2]}, "class_weight": "balanced"}]  # fmt: skip
    table, train = make_table(subjects=40), Train.model_validate(QUICK | {"classifiers": members})
    splits = train.splits(table)
    validates = pd.Index(splits[splits["fold"] == 1]["subject"])
    values, facts = table.values.copy(), table.subjects.copy()
    values.loc[validates] = np.random.default_rng(9).normal(3, 50, (len(validates), values.shape[1]))
    facts.loc[validates, "outcome"] = 1 - facts.loc[validates, "outcome"]
    other = FeatureTable(values, facts)
    for arm in [arm for arm in train.arms(table) if arm.fusion == "early"]:
        before, after = (fitted(fit_fold(arm, each, splits, 0, 1, harmonizer)) for each in (table, other))
        assert before == after, arm.name
        assert "classify.tuning_" in before


@pytest.fixture
def rare() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    outcome = (np.arange(300) % 6 == 0).astype(int)
    return rng.normal(size=(300, 3)) + 1.0 * outcome[:, None], outcome


@pytest.mark.parametrize("method", [method for method in MEMBERS if method != "svm"])
def test_balanced_probabilities_are_those_of_equally_common_outcomes(method, rare):
    """The mean rises from the prevalence, 1/6, towards 1/2, and the order of new patients stays about the same."""
    values, outcome = rare
    plain, balanced = (
        Classifier.choose({"method": method, "class_weight": weight}).build(0).fit(values[:200], outcome[:200])
        for weight in ("none", "balanced")
    )
    before, after = (model.predict_proba(values[200:])[:, 1] for model in (plain, balanced))
    assert abs(before.mean() - 1 / 6) < 0.05
    assert after.mean() > before.mean() + 0.05
    assert abs(pair_auc(outcome[200:], after) - pair_auc(outcome[200:], before)) < 0.05


def test_balanced_margins_leave_the_sigmoid_at_the_prevalence(rare):
    values, outcome = rare
    model = Classifier.choose({"method": "svm", "class_weight": "balanced"}).build(0).fit(values, outcome)
    assert model.classifier_.class_weight_ == pytest.approx([300 / (2 * 250), 300 / (2 * 50)])
    assert abs(model.predict_proba(values)[:, 1].mean() - 1 / 6) < 0.05


def test_of_equals_the_first_wins_whatever_the_order_of_their_folds(make_table, harmonizer, monkeypatch):
    """The same AUCs in another order of the folds add up to another last digit, and are no better."""
    table, train = make_table(subjects=30, features=4), Train.model_validate(QUICK)
    rng, first = np.random.default_rng(0), np.arange(1, FOLDS * REPEATS + 1) / 12
    second = next(each for _ in range(100) if np.average(each := rng.permutation(first)) > np.average(first))
    said = iter([*first, *second])
    monkeypatch.setattr("radfuse.train.steps.tuned._within", lambda model, rows, outcome: next(said))
    arm = next(arm for arm in train.arms(table) if arm.name == "single-CT-logistic_tuned")
    model = arm.fitted(table.rows(), table.outcome, harmonizer)
    assert next(said, None) is None
    assert model[-1].tuning_ == {"strength": 1e-6}


def test_the_judgement_knows_whose_scores_are_risks():
    """Those of a balanced machine are, by its sigmoid; those of a tuned model not, where tuning may balance it."""
    balanced = [{"method": method, "class_weight": "balanced"} for method in ("lda", "svm")]
    members = ["logistic", {"method": "logistic", "tune": {"class_weight": ["none", "balanced"]}}, *balanced]
    classifiers = Train(classifiers=members).classifiers
    arms = pd.DataFrame({"classifier": [member.title for member in classifiers], "fusion": "early", "modalities": "CT",
                         "subject": "S1", "repeat": 0, "fold": 0, "outcome": 1, "score": 0.5})  # fmt: skip
    found = no_probabilities(Predictions(arms.assign(arm="early-" + arms["classifier"])), (), classifiers)
    assert list(found) == ["early-logistic_tuned", "early-lda_balanced"]


def test_stacking_learns_what_the_scores_of_balanced_classifiers_mean(rare):
    """At a prevalence of 1 in 6 a balanced classifier says about 1/2 on average; stacked over it, the prevalence."""
    values, outcome = rare
    plain = {"method": "late", "calibrate_from": None}
    levels = Train(fusions=[plain, plain | {"combine": "stacking"}], primary={"fusion": "late"}).fusions
    balanced = Classifier.choose({"method": "lda", "class_weight": "balanced"})
    arms = [f"{level.title}-lda_balanced" for level in levels]
    said = pd.DataFrame({"arm": arms, "classifier": "lda_balanced", "fusion": "late", "modalities": "CT+PET",
                         "subject": "S1", "repeat": 0, "fold": 0, "outcome": 1, "score": 0.5})  # fmt: skip
    assert list(no_probabilities(Predictions(said), levels, [balanced])) == ["late-lda_balanced"]
    columns = [f"{modality}.f{i}" for modality in ("CT", "PET") for i in range(values.shape[1])]
    rows = pd.DataFrame(np.hstack([values, values + 0.5 * np.roll(values, 1, axis=1)]), columns=columns)
    rows = rows.assign(**{"@missing.CT": 0.0, "@missing.PET": 0.0})
    mean, stacked = (
        level.build(("CT", "PET"), Anova().build(), balanced.build(0), 0).fit(rows, pd.Series(outcome))
        for level in levels
    )
    share = float(np.mean(outcome))
    assert mean.predict_proba(rows)[:, 1].mean() > 1.5 * share
    assert stacked.predict_proba(rows)[:, 1].mean() == pytest.approx(share, rel=0.25)


def test_boosted_trees_get_the_ratio_of_the_rows_that_they_are_fitted_on(rare):
    values, outcome = rare
    model = Classifier.choose({"method": "xgboost", "class_weight": "balanced"}).build(0)
    assert model.fit(values, outcome).classifier_.get_params()["scale_pos_weight"] == 5.0
    assert clone(model).fit(values[:12], outcome[:12] * 0 + (np.arange(12) < 4)).classifier_.scale_pos_weight == 2.0
