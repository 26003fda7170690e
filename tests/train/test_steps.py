"""The steps of a fold's pipeline, each on a table worked by hand."""

import numpy as np
import pandas as pd
import pytest

from radfuse.errors import DataError
from radfuse.train.selection.anova import Anova, f_statistic
from radfuse.train.selection.mann_whitney import MannWhitney
from radfuse.train.selection.penalty import Penalty
from radfuse.train.steps.columns import Columns
from radfuse.train.steps.combined import Combined
from radfuse.train.steps.combiners import MeanOfPresent
from radfuse.train.steps.facts import Facts
from radfuse.train.steps.imputer import Imputer
from radfuse.train.steps.scaler import Scaler
from radfuse.train.steps.selector import Selector, uncorrelated

NAN = float("nan")


@pytest.fixture
def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "CT.a": [1.0, 2.0, 9.0, NAN],
            "CT.b": [NAN, NAN, NAN, NAN],
            "CT.c": [5.0, NAN, NAN, NAN],
            "PET.a": [1.0, 1.0, 1.0, 3.0],
            "@batch.CT": ["x", "y", "x", "y"],
            "@age": [50, 60, 70, 80],
        },
        index=["A", "B", "C", "D"],
    )


def test_imputer_fills_the_training_median_and_flags_a_missing_modality(rows):
    imputer = Imputer().fit(rows)
    filled = imputer.transform(rows)
    assert filled["CT.a"].tolist() == [1.0, 2.0, 9.0, 2.0]
    assert filled["@missing.CT"].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert filled["@missing.PET"].tolist() == [0.0] * 4
    assert filled["@age"].tolist() == [50, 60, 70, 80]


def test_imputer_lists_columns_without_enough_values(rows):
    # CT.c is missing in two of the three rows that have CT, CT.b in all.
    assert Imputer(0.5).fit(rows).dropped_ == ["CT.b", "CT.c"]
    assert Imputer(0.7).fit(rows).dropped_ == ["CT.b"]


def test_imputer_uses_training_medians_on_new_rows(rows):
    new = rows.assign(**{"CT.a": NAN})
    assert Imputer().fit(rows).transform(new)["CT.a"].tolist() == [2.0] * 4


def test_imputer_stops_at_an_infinite_value(rows):
    with pytest.raises(DataError, match=r"infinite, first 'CT.a' of subject B"):
        Imputer().fit(rows.assign(**{"CT.a": [1.0, np.inf, 2.0, 3.0]}))


def test_imputer_stops_when_nothing_is_left(rows):
    with pytest.raises(DataError, match="no feature of CT has enough values"):
        Imputer().fit(rows[["CT.b", "@age"]])


def test_scaler_leaves_out_constant_columns_even_large_ones():
    rows = pd.DataFrame({"CT.a": [1.0, 2.0, 3.0], "CT.b": [1e9 + 0.1] * 3, "CT.c": [0.0] * 3, "@age": [1, 2, 3]})
    scaler = Scaler().fit(rows)
    assert scaler.dropped_ == ["CT.b", "CT.c"]
    scaled = scaler.transform(rows)
    assert list(scaled.columns) == ["CT.a", "@age"]
    assert scaled["CT.a"].to_numpy() == pytest.approx(np.array([-1, 0, 1]) * 1.5**0.5)


def test_scaler_stops_when_everything_is_constant():
    with pytest.raises(DataError, match="all 1 features are constant over the 3 training rows"):
        Scaler().fit(pd.DataFrame({"CT.a": [2.0] * 3}))


def test_scaler_stops_at_what_a_harmoniser_broke():
    with pytest.raises(DataError, match=r"not finite after harmonisation, first 'CT.a' of subject 1"):
        Scaler().fit(pd.DataFrame({"CT.a": [1.0, NAN, 2.0]}))


def test_columns_name_what_is_missing(rows):
    kept = Columns(["PET.a", "@age"]).fit(rows)
    assert list(kept.transform(rows).columns) == ["PET.a", "@age"]
    with pytest.raises(DataError, match=r"lacks 1 of the 2 columns .* first 'PET.a'"):
        kept.transform(rows.drop(columns="PET.a"))


def test_what_only_fitting_needs_may_be_missing_in_new_rows(rows):
    kept = Columns(["PET.a", "@group"], fitting=["@group"]).fit(rows.assign(**{"@group": "P1"}))
    assert list(kept.transform(rows).columns) == ["PET.a"]


def test_facts_give_an_unseen_level_the_place_of_none():
    training = pd.DataFrame({"@site": ["n", "n", "s", None]})
    facts = Facts().fit(training)
    assert facts.levels_ == {"@site": ["missing", "n", "s"]}
    encoded = facts.transform(pd.DataFrame({"@site": ["elsewhere"]}))
    shares = np.array([0.25, 0.5, 0.25])
    assert encoded[0] == pytest.approx(-shares / np.sqrt(shares * (1 - shares)))


def test_facts_take_logarithms_and_fill_medians():
    facts = Facts(("CT.v",)).fit(pd.DataFrame({"CT.v": [1.0, np.e, np.e**2, -1.0], "@age": [NAN] * 4}))
    encoded = facts.transform(pd.DataFrame({"CT.v": [np.e, 0.0], "@age": [40.0, NAN]}))
    assert encoded[:, 0] == pytest.approx([0.0, 0.0])
    assert encoded[:, 1].tolist() == [0.0, 0.0]  # never seen in training, so it cannot matter


def test_selector_takes_one_feature_per_so_many_events():
    rng = np.random.default_rng(0)
    values, outcome = rng.normal(size=(40, 30)), np.arange(40) % 2
    for events_per_feature, expected in ((5, 4), (10, 2), (40, 1)):
        assert len(Selector(f_statistic, 0.9, events_per_feature, 10).fit(values, outcome).chosen_) == expected
    assert len(Selector(f_statistic, 0.9, 5, 3).fit(values, outcome).chosen_) == 3


def test_selector_skips_the_copy_of_a_better_feature():
    outcome = np.arange(40) % 2
    rng = np.random.default_rng(0)
    best, other = outcome + rng.normal(0, 0.5, 40), outcome + rng.normal(0, 1.5, 40)
    values = np.column_stack([other, best, -2 * best + rng.normal(0, 0.4, 40), np.ones(40)])
    assert Anova(most=2).build().fit(values, outcome).chosen_.tolist() == [1, 0]
    assert 3 not in Penalty().build().fit(values, outcome).chosen_


def test_selector_takes_a_feature_where_none_is_worth_anything():
    """As of the clinical modality with one fact, shared out evenly: a model cannot be fitted on no column."""
    values = np.column_stack([np.ones(8), np.tile([0.0, 1.0], 4)])
    for build in (Anova().build, MannWhitney().build):
        assert build().fit(values, np.repeat([0, 1], 4)).chosen_.tolist() == [1]
        assert build().fit(values[:, :1], np.repeat([0, 1], 4)).chosen_.tolist() == [0]


def test_feature_that_separates_without_spread_ranks_first():
    outcome = np.array([0, 0, 1, 1, 0, 1])
    values = np.column_stack([np.arange(6.0), outcome.astype(float)])
    score = f_statistic(values, outcome)
    assert np.isfinite(score).all()
    assert score[1] > 1e10 > score[0]


@pytest.mark.parametrize("limit", [0.3, 0.7])
def test_no_two_chosen_features_are_correlated_above_the_limit(limit: float):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 25)) + rng.normal(size=(30, 25))
    chosen = uncorrelated(values, np.arange(25), limit, 25)
    correlation = np.abs(np.corrcoef(values[:, chosen].T)) - np.eye(len(chosen))
    assert 1 < len(chosen) < 25
    assert correlation.max() <= limit
    for left_out in set(range(25)) - set(chosen.tolist()):
        above = np.abs(np.corrcoef(np.column_stack([values[:, left_out], values[:, chosen]]).T))[0, 1:]
        assert above.max() > limit


def test_modality_without_both_outcomes_stops_the_model_that_has_no_other():
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame({"CT.a": [1.0, 2.0, 3.0, 4.0], "@missing.CT": [0.0, 0.0, 1.0, 1.0]})
    with pytest.raises(DataError, match="no modality of CT has both outcomes"):
        Combined(["CT"], Anova().build(), LogisticRegression(), MeanOfPresent()).fit(rows, pd.Series([0, 0, 1, 1]))


@pytest.mark.parametrize("method", ["late", "intermediate", "chosen"])
def test_inner_folds_keep_the_rows_of_a_patient_together(method, monkeypatch):
    """Three lesions of each patient, in shuffled order: in no inner deal is a patient on both sides."""
    from radfuse.train import splits
    from radfuse.train.classifiers.logistic import Logistic
    from radfuse.train.fusion import FusionStrategy
    from radfuse.train.selection.anova import Anova

    rng = np.random.default_rng(0)
    patient = rng.permutation(np.repeat([f"P{i}" for i in range(30)], 3))
    outcome = pd.Series([int(name[1:]) % 2 for name in patient])
    rows = pd.DataFrame(rng.normal(size=(90, 6)), columns=[f"{m}.f{i}" for m in ("CT", "PET") for i in range(3)])
    rows = rows.assign(**{"@group": patient, "@missing.CT": 0.0, "@missing.PET": 0.0})
    dealt: list[np.ndarray] = []

    def spied(*arguments):
        dealt.append(deal_together(*arguments))
        return dealt[-1]

    deal_together = splits.deal_together
    module = {"late": "combined", "intermediate": "network", "chosen": "chosen"}[method]
    monkeypatch.setattr(f"radfuse.train.steps.{module}.deal_together", spied)
    settings = {"method": method} | ({"calibrate_from": 50} if method == "late" else {})
    strategy = FusionStrategy.choose(settings)
    classifier = Logistic().build(0) if strategy.classified else None
    strategy.build(("CT", "PET"), Anova().build(), classifier, 0).fit(rows, outcome)
    assert dealt
    for part in dealt:
        assert (pd.Series(part).groupby(patient).nunique() == 1).all()
        assert len(set(part)) > 1
