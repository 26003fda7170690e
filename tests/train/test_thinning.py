"""What is left out before ranking, and the selection by shuffled features."""

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.base import clone

from radfuse.harmonize.combat import ComBat
from radfuse.run.models import load_model, save_model
from radfuse.train.selection import Selection
from radfuse.train.selection.anova import Anova
from radfuse.train.selection.boruta import Boruta
from radfuse.train.stage import Train
from radfuse.train.steps.shadows import Shadows
from radfuse.train.steps.thinning import Thinning, representatives, stretched_variance


def test_variance_is_that_of_the_feature_stretched_to_one():
    """One patient of ten unlike the others: (n - 1) / n^2. Halves: 1/4. Even steps: (n + 1) / (12 (n - 1))."""
    values = np.column_stack([np.eye(10)[0] * 7 - 3, np.repeat([2.0, 9.0], 5), np.arange(10.0) / 1e6, np.full(10, 4.2)])
    assert stretched_variance(values) == pytest.approx([9 / 100, 1 / 4, 11 / 108, 0], abs=1e-12)


def test_features_that_hardly_vary_are_not_ranked(rng):
    outcome = np.repeat([0, 1], 20)
    outlier = np.where(np.arange(40) == 39, 50.0, 0.0)
    values = np.column_stack([outlier, outcome + rng.normal(0, 3, 40)])
    assert 0 in Anova(events_per_feature=1).build().fit(values, outcome).chosen_
    assert Anova(events_per_feature=1, least_variance=0.03).build().fit(values, outcome).chosen_.tolist() == [1]


def test_a_filter_that_leaves_nothing_is_passed_over(rng):
    values, outcome = rng.normal(size=(20, 3)), np.arange(20) % 2
    plain = Anova().build().fit(values, outcome).chosen_
    assert Anova(least_variance=0.249).build().fit(values, outcome).chosen_.tolist() == plain.tolist()


def test_one_of_each_cluster_stays_the_one_in_the_middle(rng):
    """Three noisy copies of each of two numbers, the second copy the cleanest, and a column of its own."""
    first, second, alone = rng.normal(size=(3, 500))
    noise = (0.3, 0.02, 0.3)
    values = np.column_stack(
        [*(first + rng.normal(0, n, 500) for n in noise), *(-second + rng.normal(0, n, 500) for n in noise), alone]
    )
    assert representatives(values, 0.8).tolist() == [1, 4, 6]
    assert len(representatives(values, 0.999)) == 7


def test_the_middle_does_not_depend_on_units_or_on_the_order_of_columns(rng):
    values = rng.normal(size=(30, 12)) @ rng.normal(size=(12, 40))
    order, scale = rng.permutation(40), 10.0 ** rng.integers(-3, 4, 40)
    again = representatives((values * scale)[:, order], 0.6)
    assert sorted(order[again]) == representatives(values, 0.6).tolist()


@pytest.mark.parametrize("method", sorted(Selection.members()))
def test_every_selection_ranks_only_what_the_filters_leave(method, rng):
    outcome = np.arange(60) % 2
    signal = outcome + rng.normal(0, 0.5, 60)
    values = np.column_stack([signal + rng.normal(0, 0.3, 60) for _ in range(4)] + [rng.normal(size=60)])
    kept = Thinning(clusters=0.5).kept(values)
    assert len(kept) == 2
    few = {"trees": 20, "rounds": 8} if method == "boruta" else {}
    selector = Selection.choose({"method": method, "clusters": 0.5, "correlation": 1.0, **few}).build()
    assert set(clone(selector).fit(values, outcome).chosen_) <= set(kept)


def test_filters_are_off_unless_asked_for():
    assert Anova().thinning.kept(np.zeros((3, 2))).tolist() == [0, 1]
    with pytest.raises(ValidationError, match=r"less than 0\.25"):
        Anova(least_variance=0.3)


def test_shadows_confirm_what_tells_the_outcome_and_reject_noise(rng):
    outcome = np.arange(80) % 2
    values = rng.normal(size=(80, 30))
    values[:, 4] += 2 * outcome
    values[:, 11] -= 2 * outcome
    score = Shadows(rounds=15, trees=40)(values, outcome)
    assert set(np.flatnonzero(score > 2)) == {4, 11}
    assert (score == 0).sum() > 20


def test_hits_are_judged_by_a_fair_coin_corrected_for_the_number_of_features(monkeypatch, rng):
    """20 rounds, 10 features: 0.05 / 2 / 10 = 0.0025. P(17 or more) = 0.0013, P(16 or more) = 0.0059; 3 and 4 alike."""
    hits = np.array([20.0, 17.0, 16.0, 10.0, 4.0, 3.0, 0.0, 10.0, 10.0, 10.0])
    monkeypatch.setattr(Shadows, "_hits", lambda self, ranks, outcome: (hits, np.linspace(0.1, 0.0, 10)))
    monkeypatch.setattr(np, "lexsort", lambda keys: np.arange(10))  # the columns in their own order
    score = Shadows(rounds=20)(rng.normal(size=(20, 10)), np.arange(20) % 2)
    assert (score > 2).tolist() == [True, True] + [False] * 8
    assert (score == 0).tolist() == [False] * 5 + [True, True] + [False] * 3
    assert np.argsort(-score)[:3].tolist() == [0, 1, 2]


def test_where_all_is_rejected_the_best_alone_is_left(monkeypatch, rng):
    nothing = (np.zeros(10), np.where(np.arange(10) == 6, 0.2, 0.1))
    monkeypatch.setattr(Shadows, "_hits", lambda self, ranks, outcome: nothing)
    monkeypatch.setattr(np, "lexsort", lambda keys: np.arange(10))
    values, outcome = rng.normal(size=(60, 10)), np.arange(60) % 2
    assert Shadows(rounds=20)(values, outcome).tolist() == [0.5 if i == 6 else 0.0 for i in range(10)]
    assert Boruta().build().fit(values, outcome).chosen_.tolist() == [6]


def test_the_same_seed_confirms_the_same_features(rng):
    values, outcome = rng.normal(size=(40, 8)), np.arange(40) % 2
    first, again, other = (Shadows(5, 10, seed=seed)(values, outcome) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_constant_columns_and_a_single_outcome_have_no_shadow():
    assert not Shadows(2, 5)(np.ones((10, 3)), np.arange(10) % 2).any()
    assert not Shadows(2, 5)(np.eye(10), np.zeros(10)).any()


def test_a_model_that_selected_and_weighted_so_survives_its_file(make_table, tmp_path):
    train = Train.model_validate(
        {"selection": {"method": "boruta", "rounds": 4, "trees": 10, "clusters": 0.9, "least_variance": 0.001},
         "classifiers": [{"method": "xgboost", "trees": 5, "class_weight": "balanced"}]}
    )  # fmt: skip
    table = make_table(subjects=40)
    arm = next(arm for arm in train.arms(table) if arm.fusion == "early")
    model = arm.fitted(table.rows(), table.outcome, ComBat().build())
    save_model(model, tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops")
    assert np.array_equal(loaded.predict_proba(table.rows()), model.predict_proba(table.rows()))
