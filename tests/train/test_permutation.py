"""What the best of many arms is worth."""

import numpy as np
import pandas as pd
import pytest

from radfuse.data.predictions import Predictions
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError
from radfuse.train.permutation import max_adjusted_p, permuted, reality_check, whole_pipeline_auc
from radfuse.train.scores import Bootstrap
from radfuse.train.splits.stratified import Stratified
from radfuse.train.stage import Train
from radfuse.train.statistics import within_fold_auc


def test_permuting_moves_outcomes_and_nothing_else(make_table):
    table = make_table()
    dealt = permuted(table, seed=3, index=0)
    assert dealt.outcome.sum() == table.outcome.sum()
    assert not dealt.outcome.equals(table.outcome)
    assert dealt.values is table.values
    pd.testing.assert_frame_equal(dealt.subjects.drop(columns="outcome"), table.subjects.drop(columns="outcome"))
    assert dealt.outcome.equals(permuted(table, seed=3, index=0).outcome)
    assert not dealt.outcome.equals(permuted(table, seed=3, index=1).outcome)


def test_groups_change_places_whole(make_table):
    table = make_table()
    group = [f"G{i // 2}" for i in range(58)] + ["alone1", "alone2"]
    outcome = np.array([1, 0] * 10 + [0, 0] * 19 + [1, 0])
    table = FeatureTable(table.values, table.subjects.assign(group=group, outcome=outcome))
    dealt = permuted(table, seed=0, index=5)
    pairs = dealt.outcome.to_numpy()[:58].reshape(29, 2)
    assert sorted(map(tuple, pairs)) == sorted(map(tuple, outcome[:58].reshape(29, 2)))
    assert sorted(dealt.outcome.to_numpy()[58:]) == [0, 1]


def test_the_whole_pipeline_gives_what_a_run_gives(make_table, harmonizer):
    train, table = Train(splits=Stratified(folds=4, repeats=2), operating=None), make_table()
    arms = [arm for arm in train.arms(table) if arm.fusion in ("single", "early", "baseline")]
    found = whole_pipeline_auc(arms, table, train.splits, harmonizer)
    drawn = train.splits(table)
    for arm in arms:
        rows = train.run_arm(arm, table, drawn, harmonizer).predictions.rows
        expected = within_fold_auc(rows, np.ones((1, 1)), np.zeros(len(rows), int))[0]
        assert found[arm.name] == expected


def test_max_adjusted_p_worked_by_hand():
    null = pd.DataFrame({"a": [0.50, 0.60, 0.40, 0.52], "b": [0.70, 0.50, 0.45, 0.51]})  # largest: .70 .60 .45 .52
    found = max_adjusted_p({"a": 0.55, "b": 0.71}, null)
    assert found["a"] == pytest.approx(3 / 5)
    assert found["b"] == pytest.approx(1 / 5)


def test_permutations_of_other_arms_are_refused():
    with pytest.raises(ConfigError, match="other arms"):
        max_adjusted_p({"a": 0.5}, pd.DataFrame({"b": [0.5]}))


def predictions_of(scores: dict[str, np.ndarray], outcome: np.ndarray) -> Predictions:
    frames = []
    for arm, score in scores.items():
        fold = np.arange(len(outcome)) // 2 % 5
        frame = pd.DataFrame({"subject": [f"S{i}" for i in range(len(outcome))], "repeat": 0, "fold": fold})
        frames.append(
            frame.assign(arm=arm, fusion="image", modalities=arm, classifier="x", outcome=outcome, score=score)
        )
    return Predictions(pd.concat(frames, ignore_index=True))


def test_the_best_of_many_useless_arms_convinces_alone_and_not_among_the_rest():
    """Ninety arms of noise against one of noise: some beat it with p_alone < 0.05, which p_best takes back."""
    rng = np.random.default_rng(5)
    outcome = (np.arange(60) % 3 == 0).astype(int)
    predictions = predictions_of({f"a{k}": rng.normal(size=60) for k in range(91)}, outcome)
    arms = [f"a{k}" for k in range(1, 91)]
    found = reality_check(predictions, arms, "a0", Bootstrap(predictions, 500, 0.95, 0))
    assert found["p_alone"].min() < 0.05
    assert found["p_best"].min() > 0.05
    assert (found["p_best"] >= found["p_alone"]).all()


def test_a_clear_gain_survives_the_reality_check():
    rng = np.random.default_rng(6)
    outcome = (np.arange(80) % 3 == 0).astype(int)
    scores = {f"a{k}": rng.normal(size=80) for k in range(20)} | {"good": outcome + 0.5 * rng.normal(size=80)}
    predictions = predictions_of(scores, outcome)
    found = reality_check(predictions, [*scores][1:], "a0", Bootstrap(predictions, 500, 0.95, 0))
    assert found["p_best"].idxmin() == "good"
    assert found.loc["good", "p_best"] < 0.01


def test_one_arm_alone_is_not_adjusted():
    rng = np.random.default_rng(7)
    outcome = (np.arange(40) % 2).astype(int)
    predictions = predictions_of({"a": rng.normal(size=40), "b": rng.normal(size=40)}, outcome)
    found = reality_check(predictions, ["b"], "a", Bootstrap(predictions, 200, 0.95, 0))
    assert found.loc["b", "p_alone"] == found.loc["b", "p_best"]
