"""Intermediate fusion in its other forms: gates, attention, and arms of their own in a study."""

from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from scipy.special import expit, softmax

from radfuse.data.table import FeatureTable
from radfuse.run.judging import chosen_fusions
from radfuse.run.models import load_model, save_model
from radfuse.train.evaluation import fit_fold
from radfuse.train.fusion import FusionStrategy
from radfuse.train.fusion.intermediate import Intermediate
from radfuse.train.joins import Join
from radfuse.train.selection.anova import Anova
from radfuse.train.stage import Train
from radfuse.train.steps.joiners import AttentionPooling, GatedUnit, share

QUICK = {"method": "intermediate", "fits": 2, "epochs": 15, "features": 4}
FORMS: list[Any] = [
    QUICK | {"join": "gated"},
    QUICK | {"join": "attention"},
    QUICK | {"auxiliary": {"columns": ["age", "sex"]}},
    "pls",
    "pca",
]
TITLES = ["intermediate_gated", "intermediate_attention", "intermediate_auxiliary", "pls", "pca"]


def drawn(joiner: Any, modalities: list[str], width: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Weights and encodings (3 rows) of one member, none of them 0."""
    rng = np.random.default_rng(3)
    weights: dict[str, np.ndarray] = {}
    for name, layer in joiner.layers(modalities, width).items():
        weights[f"{name}.weight"] = rng.normal(size=(1, layer.inputs, layer.outputs))
        weights[f"{name}.bias"] = rng.normal(size=(1, 1, layer.outputs))
    return weights, {modality: rng.normal(size=(1, 3, width)) for modality in modalities}


def joined(joiner: Any, weights: Any, codes: Any, present: list[list[int]]) -> np.ndarray:
    tensors = [{name: torch.from_numpy(value) for name, value in part.items()} for part in (weights, codes)]
    return np.asarray(joiner.join(*tensors, torch.tensor([present], dtype=torch.float64)))[0]


def test_the_gated_unit_of_two_modalities_is_the_papers():
    """``h = z * tanh(W_v v) + (1 - z) * tanh(W_t t)``, ``z = sigmoid(W_z [v, t])``: Arevalo et al. 2017, section 3.1.

    The softmax of two gates is a sigmoid of their difference, so ``W_z`` is the difference of ours.
    """
    joiner = GatedUnit(2)
    weights, codes = drawn(joiner, ["CT", "PET"], 4)
    v, t = codes["CT"][0], codes["PET"][0]
    both = np.hstack([v, t])
    gate = both @ (weights["CT.gate.weight"] - weights["PET.gate.weight"])[0]
    z = expit(gate + (weights["CT.gate.bias"] - weights["PET.gate.bias"])[0])
    h_v = np.tanh(v @ weights["CT.hidden.weight"][0] + weights["CT.hidden.bias"][0])
    h_t = np.tanh(t @ weights["PET.hidden.weight"][0] + weights["PET.hidden.bias"][0])
    assert joined(joiner, weights, codes, [[1, 1]] * 3) == pytest.approx(z * h_v + (1 - z) * h_t, abs=1e-12)
    only_ct = joined(joiner, weights, codes, [[1, 0]] * 3)
    assert only_ct == pytest.approx(h_v, abs=1e-12)


def test_attention_is_that_of_the_paper_over_the_modalities_that_are_there():
    """``sum a_k h_k`` with ``a = softmax(w tanh(V h_k))``: Ilse et al. 2018, equations 7 and 8, row by row."""
    joiner = AttentionPooling(3)
    weights, codes = drawn(joiner, ["CT", "PET", "MR"], 4)
    present = [[1, 1, 1], [1, 0, 1], [0, 1, 0]]
    found = joined(joiner, weights, codes, present)
    for row in range(3):
        bag = np.array([codes[m][0, row] for m, here in zip(codes, present[row], strict=True) if here])
        key = np.tanh(bag @ weights["key.weight"][0] + weights["key.bias"][0, 0])
        a = softmax(key @ weights["attention.weight"][0, :, 0])
        pooled = a @ bag
        expected = np.maximum(pooled @ weights["joint.weight"][0] + weights["joint.bias"][0, 0], 0)
        assert found[row] == pytest.approx(expected, abs=1e-12)


def test_shares_of_nothing_are_nothing_and_never_overflow():
    scores = torch.tensor([[1e4, -1e4], [5.0, 5.0], [0.0, np.log(3.0)]], dtype=torch.float64, requires_grad=True)
    found = share(scores, torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]))
    assert found.tolist() == [[1.0, 0.0], [0.0, 0.0], [pytest.approx(0.25), pytest.approx(0.75)]]
    found[:, 0].sum().backward()
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("join", sorted(Join.members()))
def test_what_a_missing_modality_would_have_shown_changes_nothing(join, make_rows):
    rows, outcome = make_rows(60, 1)
    rows.loc[:14, "@missing.PET"] = 1.0
    model = Intermediate(join=join, fits=2, epochs=20).build(("CT", "PET", "MR"), Anova().build(), None, 0)
    model.fit(rows, outcome)
    lacks = rows[:10]
    nonsense = lacks.assign(**{column: 1e3 for column in lacks if column.startswith("PET.")})
    assert np.array_equal(model.predict_proba(lacks), model.predict_proba(nonsense))
    none = lacks.assign(**{f"@missing.{modality}": 1.0 for modality in ("CT", "PET", "MR")})
    assert np.ptp(model.predict_proba(none)[:, 1]) == 0


def test_every_modality_begins_with_the_same_share(make_rows):
    """Before any training, gates and attention are even: the gated unit is the mean of its hidden vectors."""
    for join in ("gated", "attention"):
        network = Intermediate(join=join, fits=2).build(("CT", "PET", "MR"), Anova().build(), None, 0)
        network.set_params(epochs=0).fit(*make_rows(40, 1))
        even = [name for name in network.weights_ if ".gate." in name or name.startswith("attention.")]
        assert even
        assert not any(network.weights_[name].any() for name in even)
        assert network.weights_["CT.weight"].any()


def test_a_gate_learns_which_modality_to_believe():
    """PET says whether CT or MR tells the truth; neither is worth much without knowing which."""
    from radfuse.train.statistics import pair_auc

    def switch(subjects: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
        rng = np.random.default_rng(seed)
        rows = pd.DataFrame({f"{m}.f{i}": rng.normal(size=subjects) for m in ("CT", "PET", "MR") for i in range(2)})
        told = np.where(rows["PET.f0"] > 0, rows["CT.f0"], rows["MR.f0"])
        return rows.assign(**{f"@missing.{m}": 0.0 for m in ("CT", "PET", "MR")}), pd.Series((told > 0).astype(int))

    (rows, outcome), (new, truth) = switch(160, 0), switch(300, 9)
    model = Intermediate(join="gated", fits=2, epochs=100).build(("CT", "PET", "MR"), Anova().build(), None, 0)
    assert pair_auc(truth.to_numpy(), model.fit(rows, outcome).predict_proba(new)[:, 1]) > 0.9


def test_each_form_is_an_arm_of_the_same_level_and_may_be_the_primary(make_table):
    train = Train(fusions=["intermediate", *FORMS], primary={"fusion": "intermediate_gated"})
    names = [arm.name for arm in train.arms(make_table()) if arm.fusion == "intermediate"]
    assert names == ["intermediate", *TITLES[:3], "pls-logistic", "pca-logistic"]
    assert [member.title for member in chosen_fusions(train, "intermediate_attention").fusions] == [TITLES[1]]
    assert [member.title for member in chosen_fusions(train, "pls").fusions] == ["pls"]
    with pytest.raises(ValidationError, match="names intermediate_gated twice"):
        Train(fusions=[FORMS[0], {"method": "intermediate", "join": "gated", "width": 4}])


def test_linear_joins_of_several_settings_run_side_by_side(make_table):
    settings: list[object] = ["pca", {"method": "pca", "components": 3}, {"method": "pca", "features": None}, "pls",
                              {"method": "pls", "components": 4, "features": 8}]  # fmt: skip
    train = Train(fusions=settings, primary={"fusion": "pca_components3"})
    names = [arm.name.removesuffix("-logistic") for arm in train.arms(make_table()) if arm.fusion == "intermediate"]
    assert names == ["pca", "pca_components3", "pca_featuresall", "pls", "pls_components4_features8"]
    with pytest.raises(ValidationError, match="names pls_components4 twice"):
        Train(fusions=[{"method": "pls", "components": 4}] * 2)


def test_a_join_survives_a_round_trip_through_settings():
    strategy = FusionStrategy.choose({"method": "intermediate", "join": {"method": "attention"}})
    assert FusionStrategy.choose(strategy.model_dump(mode="json")) == strategy
    with pytest.raises(ValidationError, match="did you mean 'gated'"):
        Intermediate(join="gatd")


@pytest.mark.parametrize(("form", "title"), list(zip(FORMS, TITLES, strict=True)), ids=TITLES)
def test_validation_rows_leave_no_trace_and_the_model_can_be_kept(form, title, make_table, harmonizer, tmp_path):
    """Other features, facts and outcomes for every validation row: what is fitted stays bit-identical."""
    table, train = make_table(subjects=40, features=8), Train.model_validate({"fusions": [form]})
    splits = train.splits(table)
    validates = pd.Index(splits[(splits["repeat"] == 0) & (splits["fold"] == 1)]["subject"])
    arm = next(arm for arm in train.arms(table) if arm.name.startswith(title))
    values, facts = table.values.copy(), table.subjects.copy()
    values.loc[validates] = np.random.default_rng(9).normal(3, 50, (len(validates), values.shape[1]))
    values.loc[validates[0], table.columns_of("CT")] = np.nan
    facts.loc[validates, "outcome"] = 1 - facts.loc[validates, "outcome"]
    facts.loc[validates, "age"] = 1e6
    facts.loc[validates, "sex"] = "unheard of"
    model = fit_fold(arm, table, splits, 0, 1, harmonizer)
    other = fit_fold(arm, FeatureTable(values, facts), splits, 0, 1, harmonizer)
    elsewhere = fit_fold(arm, table, splits, 0, 2, harmonizer)
    before, after, differs = ({k: joblib.hash(v) for k, v in vars(m[-1]).items()} for m in (model, other, elsewhere))
    assert before == after
    assert before != differs
    save_model(model[-1], tmp_path / "model.skops")
    rows = model[:-1].transform(table.rows())
    kept = load_model(tmp_path / "model.skops")
    assert np.array_equal(kept.predict_proba(rows), model[-1].predict_proba(rows))


def test_withholding_a_modality_is_judged_for_every_form(make_table, harmonizer):
    table = make_table(subjects=30, features=6)
    train = Train.model_validate({"fusions": FORMS, "splits": {"folds": 2, "repeats": 1}, "bootstrap": 20})
    splits = train.splits(table)
    for arm in [arm for arm in train.arms(table) if arm.fusion == "intermediate"]:
        result = train.run_arm(arm, table, splits, harmonizer)
        lost = train.tables(result.predictions, result.evidence)["withheld"]
        assert set(lost["withheld"]) == {"CT", "PET"}
        assert lost["auc"].between(0, 1).all()
