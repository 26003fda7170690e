"""Leaving one site out: the folds, what each site says, permutations, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut

from radfuse.align.stage import Align
from radfuse.config import Config, families
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.none import Untouched
from radfuse.train.evaluation import fit_fold
from radfuse.train.permutation import permuted, whole_pipeline_auc
from radfuse.train.sites import SITES
from radfuse.train.splits import Splits
from radfuse.train.splits.leave_one_site_out import LeaveOneSiteOut
from radfuse.train.splits.stratified import Stratified
from radfuse.train.stage import Train
from radfuse.train.statistics import pairs


def facts_of(outcome: list[int], **columns: list[object]) -> FeatureTable:
    index = pd.Index([f"S{i:02d}" for i in range(len(outcome))], name="subject")
    values = pd.DataFrame({"CT.x": np.arange(len(outcome), dtype=float)}, index=index)
    return FeatureTable(values, pd.DataFrame({"outcome": outcome, **columns}, index=index))


@pytest.fixture
def hospitals(make_table) -> FeatureTable:
    """Sixty subjects of four hospitals, of which `west` saw no event; two scanners are in all of them."""
    table = make_table(subjects=60, features=6, signal=0.3)
    rng = np.random.default_rng(4)
    hospital = np.array(["east", "north", "south"])[rng.integers(0, 3, 60)]
    west = np.flatnonzero(table.outcome.to_numpy() == 0)[:5]
    hospital[west] = "west"
    return FeatureTable(table.values, table.subjects.assign(hospital=hospital))


@pytest.fixture
def train() -> Train:
    return Train(splits={"method": "leave_one_site_out", "site": "hospital"}, fusions=("early",), bootstrap=100)


def test_settings_without_a_method_mean_stratified_folds_as_ever():
    assert Train.model_validate({"splits": {"folds": 3, "repeats": 2, "seed": 1}}).splits == Stratified(
        folds=3, repeats=2, seed=1
    )
    assert Train().splits == Train(splits="stratified").splits == Stratified()
    assert isinstance(Train(splits="leave_one_site_out").splits, LeaveOneSiteOut)
    assert set(families()["splits"].members()) == {"stratified", "leave_one_site_out"}
    with pytest.raises(ValidationError, match="fold: unknown setting; did you mean 'folds'"):
        Train(splits={"fold": 3})
    with pytest.raises(ValidationError, match=r"folds is a setting of stratified; to change the method give all of it"):
        Train(splits={"method": "leave_one_site_out", "folds": 3})
    with pytest.raises(ValidationError, match=r"gate.far: unknown setting") as caught:
        Align(registration={"method": "rigid", "gate": {"far": 3}})
    assert "to change the method" not in str(caught.value)  # it has a gate


@pytest.mark.parametrize("splits", [Stratified(folds=2, repeats=3), LeaveOneSiteOut(site="hospital")])
def test_any_splits_validate_everybody_once_a_round(splits: Splits, hospitals: FeatureTable):
    drawn = splits(hospitals)
    assert list(drawn.columns[:3]) == ["subject", "repeat", "fold"]
    assert (drawn.groupby("subject").size() == splits.rounds).all()
    assert (drawn.groupby(["repeat", "subject"]).size() == 1).all()
    assert set(drawn["subject"]) == set(hospitals.values.index)
    pd.testing.assert_frame_equal(drawn, splits(hospitals))
    assert splits.repeated(1).rounds == 1
    assert Splits.choose(splits.model_dump(mode="json")) == splits


def test_the_settings_that_keys_hold_are_those_of_before_there_was_a_choice():
    assert Stratified().deciding == {"folds": 5, "repeats": 10, "seed": 0}
    assert LeaveOneSiteOut(site="hospital").deciding == {"method": "leave_one_site_out", "site": "hospital"}


def test_the_folds_are_those_of_scikit_learn(hospitals: FeatureTable):
    drawn = LeaveOneSiteOut(site="hospital")(hospitals)
    theirs = list(LeaveOneGroupOut().split(hospitals.values, groups=hospitals.subjects["hospital"]))
    assert drawn["fold"].nunique() == len(theirs) == 4
    for fold, (_, validation) in enumerate(theirs):
        own = drawn[drawn["fold"] == fold]
        assert list(own["subject"]) == list(hospitals.values.index[validation])
        assert set(own["site"]) == set(hospitals.subjects["hospital"].iloc[validation])


def test_the_site_is_a_batch_or_a_column_and_need_not_be_named_where_all_batches_agree():
    label = ["a", "a", "b", "b", "c", "c"]
    table = facts_of([0, 1] * 3, **{"batch.CT": label, "batch.PET": label, "centre": [1.0, 1.0, 2.0, 2.0, 2.0, 2.0]})
    assert list(LeaveOneSiteOut()(table)["site"]) == label
    assert list(LeaveOneSiteOut(site="batch.PET")(table)["fold"]) == [0, 0, 1, 1, 2, 2]
    assert list(LeaveOneSiteOut(site="centre")(table)["site"]) == ["1", "1", "2", "2", "2", "2"]
    assert LeaveOneSiteOut(site="centre").facts == ("centre",)
    assert LeaveOneSiteOut(site="batch.PET").facts == ()


def test_a_site_that_is_not_said_is_asked_for():
    apart = facts_of([0, 1] * 3, **{"batch.CT": ["a"] * 3 + ["b"] * 3, "batch.PET": ["a"] * 2 + ["b"] * 4})
    with pytest.raises(ConfigError, match=r"batches of the modalities differ: batch\.CT, batch\.PET"):
        LeaveOneSiteOut()(apart)
    with pytest.raises(ConfigError, match="batches of the modalities are not declared"):
        LeaveOneSiteOut()(facts_of([0, 1] * 3))
    with pytest.raises(ConfigError, match=r"names 'centre', which is not among the subjects' columns; found batch\.CT"):
        LeaveOneSiteOut(site="centre")(apart)
    for column in ("outcome", "group"):
        with pytest.raises(ValidationError, match="tells no site"):
            LeaveOneSiteOut(site=column)


def test_what_cannot_be_left_out_is_refused_by_name():
    site = LeaveOneSiteOut(site="centre")
    with pytest.raises(ConfigError, match="all 4 subjects are of one site, centre 'a'"):
        site(facts_of([0, 1] * 2, centre=["a"] * 4))
    with pytest.raises(ConfigError, match=r"without the site 'a' \(4 subjects\) all 2 others have outcome 0"):
        site(facts_of([0, 1, 1, 0, 0, 0], centre=["a"] * 4 + ["b"] * 2))
    with pytest.raises(ConfigError, match="each of the 4 sites of centre has one outcome only"):
        site(facts_of([0, 0, 1, 1, 0, 1], centre=["a", "a", "b", "b", "c", "d"]))
    with pytest.raises(ConfigError, match="centre is empty for S02, S05"):
        site(facts_of([0, 1] * 3, centre=["a", "a", None, "b", "b", np.nan]))
    with pytest.raises(ConfigError, match=r"1 of 3 groups are in more than one site.*P1 \(a and b\)"):
        site(facts_of([0, 1] * 3, centre=["a", "a", "a", "b", "b", "b"], group=["P0", "P0", "P1", "P1", "P2", "P2"]))


def test_each_site_is_told_with_its_own_auc_and_one_outcome_has_none(train, hospitals, harmonizer):
    splits = train.splits(hospitals)
    arms = [arm for arm in train.arms(hospitals) if arm.name in ("early-logistic", "single-PET-logistic")]
    results = [train.run_arm(arm, hospitals, splits, harmonizer) for arm in arms]
    scores = pd.concat([result.predictions.rows for result in results], ignore_index=True)
    predictions = type(results[0].predictions)(scores)
    evidence = {SITES: pd.concat([result.evidence[SITES] for result in results], ignore_index=True)}
    found = train.tables(predictions, evidence)[SITES]
    assert len(found) == 2 * 4
    for (arm, site), row in found.set_index(["arm", "site"]).iterrows():
        own = hospitals.subjects.index[hospitals.subjects["hospital"] == site]
        part = scores[(scores["arm"] == arm) & scores["subject"].isin(own)]
        assert (row["n"], row["events"]) == (len(own), hospitals.outcome[own].sum())
        if site == "west":
            assert np.isnan(row["auc"])
            assert np.isnan(row["ci_low"])
        else:
            assert row["auc"] == pytest.approx(roc_auc_score(part["outcome"], part["score"]), abs=1e-12)
            assert row["ci_low"] < row["auc"] < row["ci_high"]
    both = train.tables(predictions, evidence)["sites_together"].set_index("arm")
    for arm, row in both.iterrows():  # every pair of one site, compared at once
        right = [
            pairs(part["outcome"].to_numpy(), part["score"].to_numpy()).ravel()
            for _, part in scores[scores["arm"] == arm].groupby("fold")
        ]
        assert (row["sites"], row["pairs"]) == (3, sum(map(len, right)))
        assert row["auc_by_pairs"] == pytest.approx(np.concatenate(right).mean(), abs=1e-12)
        assert row["auc_by_pairs"] != pytest.approx(row["auc"], abs=1e-6)
    table = train.score(predictions).set_index("arm")
    means = found.groupby("arm")["auc"].mean()  # of the sites with a pair
    for arm in means.index:
        assert table.loc[arm, "auc"] == pytest.approx(means[arm], abs=1e-12)
        assert table.loc[arm, "ci_low"] <= table.loc[arm, "auc"] <= table.loc[arm, "ci_high"]
    against = train.primary.model_copy(update={"against": "PET"})
    assert np.isfinite(train.model_copy(update={"primary": against}).contrast(predictions)["p"])


def test_stratified_folds_leave_no_table_of_sites(make_table, harmonizer):
    train, table = Train(splits={"folds": 2, "repeats": 1}), make_table(subjects=30, features=8)
    result = train.run_arm(train.arms(table)[0], table, train.splits(table), harmonizer)
    assert SITES not in result.evidence


def test_rows_left_raw_are_counted_by_site(make_table):
    table = make_table(subjects=30, features=6)
    site = np.repeat(["a", "b", "c"], 10)
    table = FeatureTable(table.values, table.subjects.assign(**{"batch.CT": site, "batch.PET": "one"}))
    train = Train(splits={"method": "leave_one_site_out", "site": "batch.CT"})
    arm = next(arm for arm in train.arms(table) if arm.name == "single-CT-logistic")
    raw = {
        name: train.run_arm(arm, table, train.splits(table), member.build()).evidence[SITES]["raw"].tolist()
        for name, member in {"pass": ComBat(), "largest": ComBat(unseen="largest"), "none": Untouched()}.items()
    }
    assert raw == {"pass": [10, 10, 10], "largest": [0, 0, 0], "none": [0, 0, 0]}


def test_permutations_keep_the_prevalence_of_every_site(hospitals: FeatureTable):
    splits = LeaveOneSiteOut(site="hospital")
    strata = splits.strata(hospitals.subjects)
    dealt = permuted(hospitals, seed=3, index=1, strata=strata)
    counts = hospitals.outcome.groupby(strata).sum()
    pd.testing.assert_series_equal(dealt.outcome.groupby(strata).sum(), counts)
    assert not dealt.outcome.equals(hospitals.outcome)
    assert not permuted(hospitals, 3, 1).outcome.groupby(strata).sum().equals(counts)


def test_a_permutation_goes_through_the_same_sites(train, hospitals, harmonizer):
    arms = [arm for arm in train.arms(hospitals) if arm.name == "single-PET-logistic"]
    strata = train.splits.strata(hospitals.subjects)
    for index in (1, 2):
        dealt = permuted(hospitals, 0, index, strata)
        found = whole_pipeline_auc(arms, dealt, train.splits, harmonizer)
        rows = train.run_arm(arms[0], dealt, train.splits(dealt), harmonizer).predictions.rows
        expected = [
            roc_auc_score(part["outcome"], part["score"])
            for _, part in rows.groupby("fold")
            if part["outcome"].nunique() == 2
        ]
        assert found["single-PET-logistic"] == pytest.approx(np.mean(expected), abs=1e-12)


def test_the_model_of_a_site_never_looked_at_it(train, hospitals, harmonizer):
    """Other values, outcomes and batches of every row left out: the models fitted for that fold are the same."""
    splits = train.splits(hospitals)
    arm = next(arm for arm in train.arms(hospitals) if arm.name == "early-logistic")
    values, subjects = hospitals.values.copy(), hospitals.subjects.copy()
    left_out = subjects.index[subjects["hospital"] == "north"]
    values.loc[left_out] = 100 * values.loc[left_out] + 7
    subjects.loc[left_out, "outcome"] = 1 - subjects.loc[left_out, "outcome"]
    subjects.loc[left_out, ["batch.CT", "batch.PET"]] = "elsewhere"
    changed, fold = FeatureTable(values, subjects), int(splits.loc[splits["site"] == "north", "fold"].iloc[0])
    rows = hospitals.rows().loc[~hospitals.values.index.isin(left_out)]
    same = [fit_fold(arm, table, splits, 0, fold, harmonizer).predict_proba(rows) for table in (hospitals, changed)]
    assert np.array_equal(*same)
    others = [
        fit_fold(arm, table, splits, 0, fold - 1, harmonizer).predict_proba(rows) for table in (hospitals, changed)
    ]
    assert not np.array_equal(*others)


def test_a_study_carries_the_column_of_its_sites():
    cohort = {"outcome": "y", "batches": {"CT": "scanner"}}
    splits = {"method": "leave_one_site_out", "site": "hospital"}
    assert "hospital" in Config.model_validate({"cohort": cohort, "train": {"splits": splits}}).columns.covariates
    with pytest.raises(ConfigError, match="'y' is the outcome and cannot be a covariate too"):
        _ = Config.model_validate({"cohort": cohort, "train": {"splits": splits | {"site": "y"}}}).columns
