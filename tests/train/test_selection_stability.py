"""How steady a selection is: the index of Nogueira and colleagues, and the tables made of it."""

import numpy as np
import pandas as pd
import pytest

from radfuse.train.selection_stability import Steadiness, selection_table, stability_table
from radfuse.train.stage import Train


def test_the_same_set_every_time_is_perfectly_stable():
    sets = np.tile([True, False, True, False], (5, 1))
    assert Steadiness.of(sets, 4) == Steadiness(1.0, 1.0, 1.0)


def test_sets_drawn_at_random_have_no_more_in_common_than_chance(rng):
    """The index is corrected for chance: its mean over many draws is 0, whatever the size of the sets."""
    for size in (2, 10, 25):
        found = []
        for _ in range(200):
            sets = np.zeros((10, 30), bool)
            for row in sets:
                row[rng.choice(30, size, replace=False)] = True
            found.append(Steadiness.of(sets, 30).stability)
        assert abs(np.mean(found)) < 4 * np.std(found) / 200**0.5


def test_a_case_worked_by_hand():
    """Four sets of six features: choices 1, 3/4, 1/4, 1/4, 1/4; mean size 5/2.

    Variances (M/(M-1)) p (1 - p): 0 + 4 * (4/3)(3/16) = 1; over d = 6, against 5/12 * 7/12 = 35/144:
    1 - 24/35 = 11/35. The interval is what the loop over folds of the authors' published code gives (nogueirs/JMLR2018,
    python/stability, getVarianceofStability: variance 0.00115152).
    """
    sets = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 1, 0]])
    found = Steadiness.of(sets, 6)
    assert found.stability == pytest.approx(11 / 35, abs=1e-12)
    assert found.low == pytest.approx(0.24777618542572719, abs=1e-12)
    assert found.high == pytest.approx(0.38079524314570135, abs=1e-12)
    assert Steadiness.of(sets[:, :5], 6) == found  # a feature never chosen need not be a column


def test_sets_without_overlap_are_as_far_apart_as_can_be():
    assert Steadiness.of(np.eye(4), 4).stability == pytest.approx(-1 / 3)


def test_the_interval_covers_the_truth_for_independent_draws(rng):
    """Every feature is chosen by itself with its own probability; the truth is then known."""
    share = rng.uniform(0.05, 0.95, 40)
    mean = share.mean()
    truth = 1 - (share * (1 - share)).mean() / (mean * (1 - mean))
    held = []
    for _ in range(400):
        found = Steadiness.of(rng.random((100, 40)) < share, 40)
        held.append(found.low <= truth <= found.high)
    assert 0.92 < np.mean(held) < 0.98


@pytest.mark.parametrize("sets", [np.ones((1, 3)), np.zeros((4, 3)), np.ones((4, 3))])
def test_one_fold_nothing_and_everything_have_no_stability(sets):
    assert np.isnan(Steadiness.of(sets, 3).stability)


def test_the_tables_count_folds_of_the_arm_also_those_that_chose_nothing():
    chosen = pd.DataFrame(
        [("a", 0, 0, "CT.x", 10), ("a", 0, 0, "CT.y", 10), ("a", 0, 1, "CT.x", 10), ("b", 0, 0, "PET.z", 5)],
        columns=["arm", "repeat", "fold", "feature", "candidates"],
    )
    folds = pd.DataFrame(
        [("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("a", 1, 1), ("b", 0, 0)], columns=["arm", "repeat", "fold"]
    )
    table = selection_table(chosen, pd.concat([folds, folds]))
    assert table.values.tolist() == [["a", "CT.x", 0.5, 2], ["a", "CT.y", 0.25, 1], ["b", "PET.z", 1.0, 1]]
    steady = stability_table(chosen, folds, 0.95).set_index("arm")
    assert steady.loc["a", ["features", "candidates", "folds"]].tolist() == [0.75, 10, 4]
    sets = np.array([[1, 1], [1, 0], [0, 0], [0, 0]])
    assert steady.loc["a", "stability"] == Steadiness.of(sets, 10).stability
    assert np.isnan(steady.loc["b", "stability"])


def test_every_arm_says_what_it_chose_in_every_fold(make_table, harmonizer):
    table = make_table(subjects=40)
    train = Train.model_validate(
        {"fusions": ["early", {"method": "intermediate", "fits": 2, "epochs": 2}], "splits": {"folds": 3, "repeats": 2},
         "explain": None, "operating": None, "bootstrap": 50}
    )  # fmt: skip
    splits = train.splits(table)
    results = [train.run_arm(arm, table, splits, harmonizer) for arm in train.arms(table)]
    for result in results:
        if result.arm.baseline is not None:
            assert "chosen" not in result.evidence
            continue
        chosen = result.evidence["chosen"]
        assert set(chosen.columns) == {"arm", "repeat", "fold", "modality", "feature", "candidates"}
        assert len(chosen[["repeat", "fold"]].drop_duplicates()) == 6
        assert set(chosen["modality"]) == set(result.arm.modalities)
        assert set(chosen["candidates"]) == {20 * len(result.arm.modalities)}
    early = next(result for result in results if result.arm.name == "early-logistic")
    tables = train.tables(early.predictions, early.evidence)
    assert tables["selection"]["share"].iloc[0] == 1.0
    assert tables["selection_stability"].loc[0, "stability"] > 0.5  # three good features of twenty
