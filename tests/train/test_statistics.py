"""The AUC and its uncertainty, against published formulas, scikit-learn, and loops written out."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from radfuse.train.statistics import (
    DeLong,
    bootstrap_p,
    hanley_mcneil_error,
    pair_auc,
    percentile_interval,
    resample,
    within_fold_auc,
)


@pytest.fixture
def two_scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """19 events of 51, two correlated scores with ties."""
    rng = np.random.default_rng(1)
    outcome = np.array([1] * 19 + [0] * 32)
    first = outcome + rng.normal(size=51)
    second = 0.6 * outcome + 0.5 * first + rng.normal(size=51)
    return outcome, np.round(1 / (1 + np.exp(-first)), 2), np.round(1 / (1 + np.exp(-second)), 2)


def test_delong_agrees_with_mlstatkit_and_confidenceinterval(two_scores):
    # MLstatkit 0.1.91 and confidenceinterval 1.0.5 on the same numbers.
    delong = DeLong.of(*two_scores)
    error, z, p = delong.difference()
    assert delong.auc == pytest.approx([0.847862, 0.759046], abs=1e-6)
    assert delong.covariance[0, 0] ** 0.5 == pytest.approx(0.0569273, abs=1e-7)
    assert z == pytest.approx(1.256419, abs=1e-6)
    assert p == pytest.approx(0.208964, abs=1e-6)
    assert error == pytest.approx((0.847862 - 0.759046) / 1.256419, abs=1e-6)


def test_delong_of_equal_scores_claims_no_difference(two_scores):
    outcome, score, _ = two_scores
    assert DeLong.of(outcome, score, score).difference() == (0.0, 0.0, 1.0)


def test_delong_needs_two_of_each_outcome():
    assert np.isnan(DeLong.of(np.array([1, 0, 0]), np.array([0.9, 0.1, 0.2])).covariance).all()


def test_delong_interval_stays_within_0_and_1():
    outcome, score = np.array([1, 1, 1, 0, 0, 0]), np.array([0.9, 0.8, 0.45, 0.5, 0.1, 0.2])
    low, high = DeLong.of(outcome, score).interval(0.95)
    assert 0 <= low < 8 / 9 < high == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_pair_auc_is_sklearns_with_ties(seed: int):
    rng = np.random.default_rng(seed)
    outcome, score = rng.integers(0, 2, 40), rng.normal(size=40).round(1)
    assert pair_auc(outcome, score) == pytest.approx(roc_auc_score(outcome, score), abs=1e-15)


def test_pair_auc_of_one_class_is_nan_without_a_warning():
    assert np.isnan(pair_auc(np.ones(4), np.arange(4.0)))


def test_within_fold_auc_worked_by_hand():
    # Repeat 0: fold 0 right (1), fold 1 wrong (0): mean 1/2. Repeat 1: one fold of four, 3 of 4 pairs right: 3/4.
    rows = pd.DataFrame(
        {
            "repeat": [0, 0, 0, 0, 1, 1, 1, 1],
            "fold": [0, 0, 1, 1, 0, 0, 0, 0],
            "outcome": [1, 0, 1, 0, 1, 0, 1, 0],
            "score": [0.9, 0.1, 0.2, 0.8, 0.9, 0.1, 0.4, 0.5],
        }
    )
    position = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    assert within_fold_auc(rows, np.ones((1, 4)), position)[0] == pytest.approx(0.625)
    # Without subject 2, fold 1 of repeat 0 has no pair and is skipped: (1 + 1) / 2.
    assert within_fold_auc(rows, np.array([[1, 1, 0, 1]]), position)[0] == pytest.approx(1.0)
    assert np.isnan(within_fold_auc(rows, np.array([[0, 1, 0, 1]]), position)[0])


def test_weights_mean_that_a_patient_is_there_so_often():
    rng = np.random.default_rng(3)
    rows = pd.DataFrame(
        {
            "repeat": np.repeat([0, 1], 20),
            "fold": np.concatenate([np.arange(20) % 4, (np.arange(20) + np.arange(20) // 7) % 4]),
            "outcome": np.tile(rng.integers(0, 2, 20), 2),
            "score": rng.normal(size=40).round(1),
            "unit": np.tile(np.arange(20), 2),
        }
    )
    weights = rng.integers(0, 4, (25, 20))
    found = within_fold_auc(rows, weights, rows["unit"].to_numpy())
    for weight, value in zip(weights, found, strict=True):
        repeats = []
        for _, repeat in rows.groupby("repeat"):
            folds = []
            for _, fold in repeat.groupby("fold"):
                copies = fold.loc[np.repeat(fold.index, weight[fold["unit"]])]
                if copies["outcome"].nunique() == 2:
                    folds.append(roc_auc_score(copies["outcome"], copies["score"]))
            if folds:
                repeats.append(np.mean(folds))
        assert value == pytest.approx(np.mean(repeats), abs=1e-12)


def test_resampling_keeps_the_classes_and_follows_the_seed():
    has_event = np.array([1, 0, 0, 1, 0, 0, 0])
    drawn = resample(has_event, 200, np.random.default_rng(5))
    assert (drawn[:, has_event == 1].sum(axis=1) == 2).all()
    assert (drawn[:, has_event == 0].sum(axis=1) == 5).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(7), abs=0.2)
    assert (drawn == resample(has_event, 200, np.random.default_rng(5))).all()


def test_bootstrap_interval_agrees_with_delong_on_one_fold(two_scores):
    # One fold, one repeat: the statistic is the plain AUC, whose error DeLong knows.
    outcome, score, _ = two_scores
    rows = pd.DataFrame({"repeat": 0, "fold": 0, "outcome": outcome, "score": score})
    values = within_fold_auc(rows, resample(outcome, 4000, np.random.default_rng(0)), np.arange(51))
    assert values.std() == pytest.approx(0.0569273, rel=0.06)
    low, high = percentile_interval(values, 0.95)
    assert low < 0.847862 < high


def test_interval_of_nothing_is_nan():
    assert np.isnan(percentile_interval(np.array([np.nan]), 0.95)).all()


def test_bootstrap_p_counts_the_smaller_tail_twice():
    assert bootstrap_p(np.array([-0.1, 0.2, 0.3, 0.4])) == pytest.approx(2 * 2 / 5)
    assert bootstrap_p(np.array([-0.1, 0.1])) == 1.0


def test_hanley_mcneil_at_one_half_is_the_rank_sum_error():
    # At AUC 1/2 the formula is the null variance of Mann-Whitney, (m + n + 1) / (12 m n).
    assert hanley_mcneil_error(0.5, 19, 32) == pytest.approx(((19 + 32 + 1) / (12 * 19 * 32)) ** 0.5, rel=1e-12)
    assert 1.96 * hanley_mcneil_error(0.75, 19, 32) == pytest.approx(0.146, abs=5e-4)


def test_selection_statistics_are_those_of_sklearn_and_scipy():
    from sklearn.feature_selection import f_classif

    from radfuse.train.selection.anova import f_statistic
    from radfuse.train.selection.mann_whitney import auc_distance

    rng = np.random.default_rng(0)
    values, outcome = rng.normal(size=(31, 12)).round(1), np.arange(31) % 3 % 2
    assert f_statistic(values, outcome) == pytest.approx(f_classif(values, outcome)[0], rel=1e-9)
    u = np.array([mannwhitneyu(v[outcome == 1], v[outcome == 0]).statistic for v in values.T])
    assert auc_distance(values, outcome) == pytest.approx(np.abs(u / (10 * 21) - 0.5), abs=1e-12)
