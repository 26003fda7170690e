"""Every fusion strategy keeps the contract of its family."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from radfuse.train.classifiers.logistic import Logistic
from radfuse.train.fusion import FusionStrategy
from radfuse.train.selection.anova import Anova
from radfuse.train.statistics import pair_auc

# The network's other joins keep the contract too; small and hasty ones, to save time.
VARIANTS = {
    f"intermediate_{join}": {"method": "intermediate", "join": join, "fits": 2, "epochs": 40, "learning_rate": 0.03}
    for join in ("gated", "attention")
}
NAMED = sorted(name for name, member in FusionStrategy.members().items() if member.joins)
MEMBERS = [*sorted(FusionStrategy.members()), *VARIANTS]
JOINING = [*NAMED, *VARIANTS]


def build(method: str, modalities: tuple[str, ...] = ("CT", "PET", "MR"), seed: int = 0):
    strategy = FusionStrategy.choose(VARIANTS.get(method, method))
    return strategy.build(modalities, Anova().build(), Logistic().build(seed) if strategy.classified else None, seed)


def test_the_family_has_the_members_that_the_issue_names():
    assert {"early", "intermediate", "late", "pca", "pls"} == set(NAMED)


@pytest.mark.parametrize("method", MEMBERS)
def test_probabilities_and_classes(method, seen, new):
    model = build(method).fit(*seen)
    probability = model.predict_proba(new[0])
    assert probability.shape == (300, 2)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert probability.sum(axis=1) == pytest.approx(np.ones(300), abs=1e-9)
    assert model.classes_.tolist() == [0, 1]
    assert (model.predict(new[0]) == (probability[:, 1] > 0.5)).all()


@pytest.mark.parametrize("method", JOINING)
def test_fusion_beats_each_modality_it_joins(method, seen, new):
    def auc(modalities: tuple[str, ...]) -> float:
        return pair_auc(new[1].to_numpy(), build(method, modalities).fit(*seen).predict_proba(new[0])[:, 1])

    assert auc(("CT", "PET", "MR")) > max(auc(("CT",)), auc(("PET",)), auc(("MR",))) + 0.05


@pytest.mark.parametrize("method", MEMBERS)
def test_permuted_outcomes_teach_nothing(method, new, make_rows):
    found = []
    for seed in range(8):
        rows, outcome = make_rows(60, 10 + seed)
        shuffled = pd.Series(np.random.default_rng(seed).permutation(outcome))
        found.append(pair_auc(new[1].to_numpy(), build(method).fit(rows, shuffled).predict_proba(new[0])[:, 1]))
    # Eight models: the mean lies within four standard errors of 1/2.
    assert abs(np.mean(found) - 0.5) < 4 * np.std(found, ddof=1) / 8**0.5


@pytest.mark.parametrize("method", MEMBERS)
def test_the_seed_decides(method, seen, new):
    model = build(method, seed=3)
    first, again = (clone(model).fit(*seen).predict_proba(new[0]) for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("method", MEMBERS)
def test_rows_are_scored_each_by_itself(method, seen, new):
    model = build(method).fit(*seen)
    together = model.predict_proba(new[0])
    assert model.predict_proba(new[0][5:6]) == pytest.approx(together[5:6], abs=1e-12)


@pytest.mark.parametrize("method", JOINING)
def test_a_modality_missing_in_training_and_in_new_rows_is_borne(method, seen, new):
    rows, outcome = seen[0].copy(), seen[1]
    rows.loc[::3, "@missing.PET"] = 1.0
    rows.loc[::3, [c for c in rows if c.startswith("PET.")]] = 0.0
    lacks = new[0].assign(**{c: 0.0 for c in rows if c.startswith("PET.")} | {"@missing.PET": 1.0})
    model = build(method).fit(rows, outcome)
    assert pair_auc(new[1].to_numpy(), model.predict_proba(lacks)[:, 1]) > 0.65
    assert pair_auc(new[1].to_numpy(), model.predict_proba(new[0])[:, 1]) > 0.8


@pytest.mark.parametrize("method", JOINING)
def test_a_modality_that_training_never_had_takes_no_part(method, seen, new):
    rows = seen[0].drop(columns=[c for c in seen[0] if c.startswith("MR.")]).assign(**{"@missing.MR": 1.0})
    probability = build(method).fit(rows, seen[1]).predict_proba(new[0])[:, 1]
    assert pair_auc(new[1].to_numpy(), probability) > 0.8


def test_late_fusion_is_the_mean_of_the_modalities_that_are_there(seen, new):
    alone = [build("late", (m,)).fit(*seen).predict_proba(new[0])[:, 1] for m in ("CT", "PET")]
    both = build("late", ("CT", "PET")).fit(*seen)
    assert both.predict_proba(new[0])[:, 1] == pytest.approx((alone[0] + alone[1]) / 2, abs=1e-15)
    no_ct = new[0].assign(**{"@missing.CT": 1.0})
    assert both.predict_proba(no_ct)[:, 1] == pytest.approx(alone[1], abs=1e-15)
    neither = no_ct.assign(**{"@missing.PET": 1.0})
    assert both.predict_proba(neither)[:, 1] == pytest.approx(np.full(300, seen[1].mean()))


def test_late_fusion_calibrates_from_enough_rows(new, make_rows):
    """An overconfident classifier is brought back: the calibrated mean has the lower log loss on new patients."""
    from sklearn.metrics import log_loss

    rows, outcome = make_rows(250, 5)
    sure = Logistic(strength=1e4, l1_ratio=0.0).build(0)
    noisy = pd.Series(np.where(np.random.default_rng(0).random(250) < 0.3, 1 - outcome, outcome))
    losses = {}
    for method, calibrate_from in (("raw", 251), ("calibrated", 250)):
        strategy = FusionStrategy.choose({"method": "late", "calibrate_from": calibrate_from})
        model = strategy.build(("MR",), Anova(most=8, events_per_feature=1).build(), sure, 0).fit(rows, noisy)
        assert bool(model.calibrations_) == (method == "calibrated")
        losses[method] = log_loss(new[1], model.predict_proba(new[0]))
    assert losses["calibrated"] < losses["raw"]


def test_a_modality_worse_than_chance_inside_says_the_prevalence():
    """Any two neighbours disagree: a nearest-neighbour-like rule is always wrong out of fold."""
    from sklearn.tree import DecisionTreeClassifier

    from radfuse.train.steps.combined import Combined
    from radfuse.train.steps.combiners import MeanOfPresent

    values = np.arange(200.0)
    rows = pd.DataFrame({"CT.a": values, "@missing.CT": 0.0})
    outcome = pd.Series((np.arange(200) % 2).astype(int))
    model = Combined(
        ["CT"], Anova().build(), DecisionTreeClassifier(random_state=0), MeanOfPresent(), calibrate_from=200
    ).fit(rows, outcome)
    assert model.calibrations_["CT"] == [0.0, 0.0]
    assert model.predict_proba(rows)[:, 1] == pytest.approx(np.full(200, 0.5))
