"""The mean ROC curve against curves drawn by hand and areas counted in pairs."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from radfuse.data.predictions import Predictions
from radfuse.report.roc import GRID, arm_roc_svg, band, fold_curve, mean_curve


def rows(*folds: tuple[list[int], list[float]], repeats: int = 1) -> pd.DataFrame:
    """One arm: (outcomes, scores) of each fold, the same in every repeat."""
    found = []
    for repeat in range(repeats):
        subject = 0
        for fold, (outcomes, scores) in enumerate(folds):
            for outcome, score in zip(outcomes, scores, strict=True):
                found.append(("a", "early", "CT+PET", "logistic", f"s{subject}", repeat, fold, outcome, score))
                subject += 1
    columns = ["arm", "fusion", "modalities", "classifier", "subject", "repeat", "fold", "outcome", "score"]
    return pd.DataFrame(found, columns=columns)


def many(rng: np.random.Generator, subjects: int = 40, folds: int = 4) -> pd.DataFrame:
    outcome = (np.arange(subjects) % 3 == 0).astype(int)
    score = np.round(rng.normal(size=subjects) + outcome, 1)  # rounded: ties must count one half
    parts = [(outcome[i::folds].tolist(), score[i::folds].tolist()) for i in range(folds)]
    return rows(*parts)


def points(curve: tuple[np.ndarray, np.ndarray]) -> list[tuple[float, float]]:
    return list(dict.fromkeys((float(x), float(y)) for x, y in zip(*curve, strict=True)))


def test_a_fold_of_four_gives_the_curve_drawn_by_hand() -> None:
    curve = mean_curve(rows(([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])))
    assert curve is not None
    assert points(curve) == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]


def test_a_tie_between_the_outcomes_is_a_slope() -> None:
    fpr, tpr = fold_curve([1, 0], [0.5, 0.5])
    assert fpr.tolist() == [0, 1]
    assert tpr.tolist() == [0, 1]


def test_a_perfect_and_a_perverse_fold_average_to_a_plateau_at_one_half() -> None:
    curve = mean_curve(rows(([1, 0], [1.0, 0.0]), ([1, 0], [0.0, 1.0])))
    assert curve is not None
    assert points(curve) == [(0, 0), (0, 0.5), (1, 0.5), (1, 1)]


def test_the_fold_curve_is_scikit_learns(rng: np.random.Generator) -> None:
    own = many(rng, folds=1)
    fpr, tpr, _ = roc_curve(own["outcome"], own["score"], drop_intermediate=False)
    np.testing.assert_allclose(fold_curve(own["outcome"], own["score"]), [fpr, tpr], atol=1e-15)


def test_the_area_under_the_mean_curve_is_the_mean_auc_within_folds(rng: np.random.Generator) -> None:
    own = many(rng)
    curve = mean_curve(own)
    assert curve is not None
    wanted = np.mean([roc_auc_score(fold["outcome"], fold["score"]) for _, fold in own.groupby("fold")])
    assert np.trapezoid(curve[1], curve[0]) == pytest.approx(wanted, abs=1e-12)


def test_a_fold_of_one_outcome_takes_no_part() -> None:
    with_it = mean_curve(rows(([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]), ([0, 0], [0.3, 0.4])))
    without = mean_curve(rows(([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])))
    np.testing.assert_array_equal(with_it, without)
    assert mean_curve(rows(([0, 0], [0.3, 0.4]))) is None


def test_the_band_holds_the_curve_and_is_decided_by_the_seed(rng: np.random.Generator) -> None:
    own = many(rng)
    curve = mean_curve(own)
    assert curve is not None
    low, high = band(own, 100, 7)
    middle = np.interp(GRID, *curve)
    assert (low <= middle + 1e-12).all()
    assert (middle <= high + 1e-12).all()
    assert (high - low).max() > 0.1
    np.testing.assert_array_equal(band(own, 100, 7), (low, high))
    assert not np.array_equal(band(own, 100, 8)[0], low)


def test_the_band_shrinks_with_the_cohort(rng: np.random.Generator) -> None:
    widths = [np.subtract(*band(many(rng, subjects), 200, 0)[::-1]).mean() for subjects in (40, 640)]
    assert widths[1] < 0.45 * widths[0]  # a sixteen-fold cohort: a quarter in theory


def test_resampled_patients_stay_together_in_their_group() -> None:
    own = rows(([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])).assign(group=["g", "h", "g", "h"])
    # One group with events, one without: every resample is the cohort itself, so nothing can vary.
    low, high = band(own, 50, 0)
    np.testing.assert_allclose(low, high, atol=1e-15)
    alone = band(own.drop(columns="group"), 50, 0)
    assert (alone[1] - alone[0]).max() > 0


def test_the_drawing_of_an_arm_is_the_same_every_time_and_names_no_address(rng: np.random.Generator) -> None:
    predictions = Predictions(many(rng))
    first = arm_roc_svg(predictions, "a")
    assert first == arm_roc_svg(predictions, "a")
    assert first.startswith(b"<?xml")
    assert b"<dc:date>" not in first
    assert b"<script" not in first
