"""Folds: stratified, by group, drawn once from the seed."""

import numpy as np
import pandas as pd
import pytest

from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, StageError
from radfuse.train.splits import check_splits
from radfuse.train.splits.stratified import Stratified


def table_of(outcome: list[int], group: list[str] | None = None) -> FeatureTable:
    index = pd.Index([f"S{i:02d}" for i in range(len(outcome))], name="subject")
    facts = pd.DataFrame({"outcome": outcome}, index=index)
    if group is not None:
        facts["group"] = group
    return FeatureTable(pd.DataFrame({"CT.x": np.arange(len(outcome), dtype=float)}, index=index), facts)


def test_every_subject_validates_once_per_repeat():
    table = table_of([0, 1] * 12)
    drawn = Stratified(folds=4, repeats=3)(table)
    assert list(drawn.columns) == ["subject", "repeat", "fold"]
    assert (drawn.groupby(["repeat", "subject"]).size() == 1).all()
    assert set(drawn["fold"]) == {0, 1, 2, 3}


@pytest.mark.parametrize("events", [5, 8, 13])
def test_folds_differ_by_one_event_and_one_subject_at_most(events: int):
    table = table_of([1] * events + [0] * (39 - events))
    drawn = Stratified(folds=5, repeats=4)(table).assign(outcome=lambda d: table.outcome.loc[d["subject"]].to_numpy())
    sizes = drawn.groupby(["repeat", "fold"])["outcome"].agg(["size", "sum"])
    assert np.ptp(sizes["size"]) <= 1
    assert np.ptp(sizes["sum"]) <= 1


def test_more_repeats_leave_the_earlier_ones_as_they_were():
    table = table_of([0, 1] * 12)
    few, many = Stratified(repeats=2)(table), Stratified(repeats=5)(table)
    pd.testing.assert_frame_equal(few, many[many["repeat"] < 2])
    assert not few["fold"].equals(Stratified(repeats=2, seed=1)(table)["fold"])


def test_a_group_is_never_on_both_sides():
    outcome = [0, 1, 0, 0, 1, 1] * 8
    group = [f"P{i // 2}" for i in range(48)]
    drawn = Stratified(folds=4, repeats=5)(table_of(outcome, group))
    drawn["group"] = [group[int(subject[1:])] for subject in drawn["subject"]]
    assert (drawn.groupby(["repeat", "group"])["fold"].nunique() == 1).all()


def test_fewer_events_than_folds_stops_with_the_counts():
    with pytest.raises(ConfigError, match="3 have outcome 1 and 17 outcome 0") as caught:
        Stratified(folds=5)(table_of([1] * 3 + [0] * 17))
    assert "folds to 3" in caught.value.hint


def test_events_of_one_group_count_once():
    group = ["one"] * 6 + [f"P{i}" for i in range(14)]
    with pytest.raises(ConfigError, match="in 1 and 14 groups"):
        Stratified(folds=2)(table_of([1] * 6 + [0] * 14, group))


def test_splits_of_another_table_are_refused():
    table = table_of([0, 1] * 10)
    drawn = Stratified(folds=2, repeats=1)(table)
    with pytest.raises(StageError, match="holds 20 subjects, the table 18"):
        check_splits(table.take(table.values.index[:18]), drawn)
