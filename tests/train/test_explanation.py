"""What a model leans on: exact attributions against shap and by hand, importance on planted signals, no leak."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from radfuse.train.attribution import attributions
from radfuse.train.classifiers.lda import LinearDiscriminant
from radfuse.train.classifiers.logistic import Logistic
from radfuse.train.classifiers.xgboost import XGBoost
from radfuse.train.explanation import (
    Explain,
    decision_weights,
    explained,
    importance_table,
    modality_table,
    weights_table,
)
from radfuse.train.fusion.late import Late
from radfuse.train.selection.anova import Anova
from radfuse.train.stage import Train
from radfuse.train.steps.chosen import Chosen


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 4))
    values -= values.mean(axis=0)
    return values, (values[:, 0] - values[:, 2] + 0.3 * rng.normal(size=60) > 0).astype(int)


@pytest.mark.parametrize("member", [Logistic(), LinearDiscriminant()])
def test_of_a_linear_model_they_add_up_to_its_log_odds(member: Any, data: tuple[np.ndarray, np.ndarray]) -> None:
    model = member.build(0).fit(*data)
    found = attributions(model, data[0])
    assert found is not None
    whole = model.decision_function(data[0])
    assert found.sum(axis=1) + model.decision_function(np.zeros((1, 4)))[0] == pytest.approx(whole)


@pytest.mark.parametrize("weight", ["none", "balanced"])
def test_of_boosted_trees_they_are_those_of_shap(weight: Any, data: tuple[np.ndarray, np.ndarray]) -> None:
    model = XGBoost(trees=10, class_weight=weight).build(0).fit(*data)
    found = attributions(model, data[0])
    assert found is not None
    probability = model.predict_proba(data[0])[:, 1]
    base = np.log(probability / (1 - probability)) - found.sum(axis=1)
    assert base == pytest.approx(np.full(60, base[0]), abs=1e-4)  # additive in log odds, up to float32


def test_of_a_forest_they_add_up_to_its_probability(data: tuple[np.ndarray, np.ndarray]) -> None:
    model = RandomForestClassifier(20, random_state=0).fit(*data)
    found = attributions(model, data[0])
    assert found is not None
    base = model.predict_proba(data[0])[:, 1] - found.sum(axis=1)
    assert base == pytest.approx(np.full(60, base[0]))


def test_a_kernel_machine_has_no_exact_ones(data: tuple[np.ndarray, np.ndarray]) -> None:
    assert attributions(SVC().fit(*data), data[0]) is None


class Fitted:
    """A last step that adds its two columns up, and a pipeline around it that changes nothing."""

    columns_ = {"CT": ["CT.a", "CT.noise"], "PET": ["PET.b"]}  # noqa: RUF012

    def __getitem__(self, key: Any) -> "Fitted":
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        one = 1 / (1 + np.exp(-rows["CT.a"] - rows["PET.b"]))
        return np.column_stack([1 - one, one])


def test_a_feature_that_decides_costs_auc_and_one_that_is_ignored_costs_nothing() -> None:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(rng.normal(size=(40, 3)), columns=["CT.a", "CT.noise", "PET.b"])
    outcome = (rows["CT.a"] + rows["PET.b"] > 0).astype(int).to_numpy()
    found = explained(Fitted(), rows, outcome, Explain(permutations=30), [0]).set_index(["feature", "modality"])
    assert found.loc[("CT.noise", "CT"), "auc_drop"] == 0.0
    # Permuting one of two equal parts of a sum leaves the other: by simulation the AUC falls from 1 to about 0.75.
    assert found.loc[("CT.a", "CT"), "auc_drop"] == pytest.approx(0.25, abs=0.08)
    assert found.loc[("*", "CT"), "auc_drop"] == pytest.approx(found.loc[("CT.a", "CT"), "auc_drop"], abs=0.08)
    assert found["shap_share"].isna().all()  # this last step has no classifiers to ask
    again = explained(Fitted(), rows, outcome, Explain(permutations=30), [0]).set_index(["feature", "modality"])
    pd.testing.assert_frame_equal(found, again)


def test_a_fold_of_one_outcome_has_no_importance() -> None:
    rows = pd.DataFrame(np.eye(3), columns=["CT.a", "CT.noise", "PET.b"])
    assert explained(Fitted(), rows, np.zeros(3, int), Explain(), [0])["auc_drop"].isna().all()


def test_the_table_counts_folds_and_ranks_by_what_is_lost() -> None:
    rows = [
        ("late", 0, 0, "CT.a", "CT", 0.2, 0.6, 1.0), ("late", 0, 1, "CT.a", "CT", 0.1, 0.5, 1.0),
        ("late", 0, 0, "CT.b", "CT", 0.4, 0.4, -1.0), ("late", 0, 1, "CT.c", "CT", -0.1, 0.5, 1.0),
        ("late", 0, 0, "*", "CT", 0.3, 1.0, np.nan), ("late", 0, 1, "*", "CT", 0.1, 1.0, np.nan),
    ]  # fmt: skip
    names = ["arm", "repeat", "fold", "feature", "modality", "auc_drop", "shap_share", "direction"]
    evidence = pd.DataFrame(rows, columns=names)
    table = importance_table(evidence).set_index("feature")
    assert list(table.index) == ["CT.b", "CT.a", "CT.c"]  # 0.4 x 1/2, 0.15 x 1, -0.1 x 1/2
    assert table.loc["CT.a", ["chosen", "auc_drop", "folds_dropping"]].tolist() == pytest.approx([1.0, 0.15, 1.0])
    assert table.loc["CT.c", ["chosen", "auc_drop", "folds_dropping"]].tolist() == pytest.approx([0.5, -0.1, 0.0])
    whole = modality_table(evidence).iloc[0]
    assert (whole["modality"], whole["auc_drop"]) == ("CT", pytest.approx(0.2))


@pytest.mark.parametrize("fusion", ["early", "late", {"method": "late", "combine": "weighted"}])
def test_an_arm_says_what_it_leans_on(fusion: Any, make_table: Callable[..., Any], harmonizer: Any) -> None:
    train = Train.model_validate(
        {"fusions": [fusion], "splits": {"folds": 3, "repeats": 1}, "explain": {"arms": "all", "permutations": 5},
         "operating": None, "bootstrap": 10, "primary": {"fusion": "late"}}
    )  # fmt: skip
    table = make_table(fused=True)
    splits = train.splits(table)
    arm = next(arm for arm in train.arms(table) if arm.fusion == (fusion if isinstance(fusion, str) else "late"))
    result = train.run_arm(arm, table, splits, harmonizer)
    found = result.evidence["importance"]
    assert set(found["modality"]) <= set(arm.modalities)
    shares = found[found["feature"] != "*"].groupby(["repeat", "fold"])["shap_share"].sum()
    assert shares.to_numpy() == pytest.approx(np.ones(3), abs=0.05)  # what is left are the flags of missing modalities
    table_of = train.tables(result.predictions, result.evidence)
    best = table_of["importance"].iloc[0]
    assert best["feature"].split("_")[-1] in {"F2", "F3", "F4", "F5"}, "the planted features lead"
    assert table_of["modality_importance"]["auc_drop"].max() > 0.05
    if arm.fusion == "late":
        weights = table_of["modality_weights"].set_index("modality")["weight"]
        assert weights.sum() == pytest.approx(1.0)
        if fusion == "late":
            assert weights.tolist() == [0.5, 0.5]


def test_only_the_declared_arms_are_asked_by_default(make_table: Callable[..., Any]) -> None:
    train = Train()
    asked = [arm.name for arm in train.arms(make_table()) if arm.explain is not None]
    assert asked == ["single-CT-logistic", "early-logistic"]
    assert all(arm.explain is None for arm in Train(explain=None).arms(make_table()))


def test_weights_over_folds() -> None:
    evidence = pd.DataFrame({"arm": "late", "modality": ["CT", "PET"] * 2, "weight": [0.4, 0.6, 0.2, 0.8]})
    table = weights_table(evidence).set_index("modality")
    assert table["weight"].tolist() == pytest.approx([0.3, 0.7])
    assert table["folds"].tolist() == [2, 2]
    assert decision_weights(object()) == {}


def test_a_modality_without_weight_in_late_fusion_has_no_share_of_what_it_says(make_rows: Callable[..., Any]) -> None:
    """Stacking gives noise a weight of 0: its features are still those that its own classifier leans on."""
    rows, outcome = make_rows(120, 0)
    ridge = Logistic(l1_ratio=0.0).build(0)

    def trained(combine: str) -> Any:
        return Late(combine=combine).build(["PET", "MR"], Anova().build(), ridge, 0).fit(rows, outcome)

    stacked = trained("stacking")
    stacked.combiner_.weights_ = np.array([0.8, 0.0])
    settings = Explain(permutations=1)
    share = explained(Pipeline([("pass", "passthrough"), ("classify", stacked)]), rows, outcome, settings, [0])
    whole = share[share["feature"] == "*"].set_index("modality")["shap_share"]
    assert whole.to_dict() == {"PET": pytest.approx(1.0), "MR": 0.0}
    for rule in ("product", "vote"):
        assert decision_weights(trained(rule)) == {}


def test_a_chosen_image_is_explained_by_its_own_classifier(make_table: Callable[..., Any]) -> None:
    table = make_table()
    last = Chosen(["CT", "PET"], Anova().build(), Logistic().build(0), folds=3, repeats=1)
    last.fit(table.values, table.outcome)
    ((columns, classifier, values),) = last.parts(table.values)
    assert columns == last.columns_[last.chosen_]
    assert values.shape == (len(table.values), len(columns))
    assert classifier.predict_proba(values)[:, 1] == pytest.approx(last.predict_proba(table.values)[:, 1])
