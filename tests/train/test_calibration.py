"""Calibration and decision curves: worked by hand, and against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from radfuse.data.predictions import Predictions
from radfuse.train.calibration import calibration_curve, calibration_table, recalibrated
from radfuse.train.decision import decision_table
from radfuse.train.scores import Bootstrap


def told(outcome: list[int], score: list[float], repeats: int = 1, arm: str = "early-logistic") -> Predictions:
    rows = pd.DataFrame(
        {"arm": arm, "fusion": "early", "modalities": "CT+PET", "classifier": "logistic",
         "subject": [f"S{i:03d}" for i in range(len(outcome))], "fold": 0, "outcome": outcome, "score": score}
    )  # fmt: skip
    return Predictions(pd.concat([rows.assign(repeat=repeat) for repeat in range(repeats)], ignore_index=True))


def judged(predictions: Predictions, **unsure: str) -> pd.Series:
    return calibration_table(predictions, Bootstrap(predictions, 100, 0.95, 0), unsure).iloc[0]


def test_two_probabilities_worked_by_hand():
    # Of 10 who were told 0.2, 3 had the event; of 10 who were told 0.6, 5. A line through two points is exact:
    # slope (logit .5 - logit .3) / (logit .6 - logit .2).
    outcome = np.array([1] * 3 + [0] * 7 + [1] * 5 + [0] * 5)
    score = np.repeat([0.2, 0.6], 10)
    intercept, slope = recalibrated(outcome, score)[0]
    assert slope == pytest.approx((0 - logit(0.3)) / (logit(0.6) - logit(0.2)), abs=1e-9)
    # In the large: the shifted probabilities add up to the events.
    assert expit(intercept + logit(score)).sum() == pytest.approx(8.0, abs=1e-9)
    row = judged(told(outcome.tolist(), score.tolist()))
    # Brier: 3 x .64 + 7 x .04 + 5 x .16 + 5 x .36 = 4.8; of 20, and of saying 0.4: 0.24.
    assert (row["brier"], row["brier_prevalence"], row["brier_scaled"]) == pytest.approx((0.24, 0.24, 0.0))
    assert row["brier_low"] < row["brier"] < row["brier_high"]
    assert row["slope_low"] < row["slope"] < row["slope_high"]


@pytest.mark.parametrize("seed", range(4))
def test_the_slope_is_that_of_an_unpenalised_logistic_regression(seed: int):
    rng = np.random.default_rng(seed)
    outcome, score = rng.integers(0, 2, 40).astype(float), expit(2 * rng.normal(size=40))
    weights = np.vstack([np.ones(40), rng.integers(0, 3, 40)])
    for weight, (intercept, slope) in zip(weights, recalibrated(outcome, score, weights), strict=True):
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        model.fit(logit(score)[:, None], outcome, sample_weight=weight)
        assert slope == pytest.approx(model.coef_[0, 0], abs=1e-5)
        assert weight @ expit(intercept + logit(score)) == pytest.approx(weight @ outcome, abs=1e-8)


@pytest.mark.parametrize(
    ("score", "told_why"),
    [([0.3] * 6, "the scores are constant"), ([0.1, 0.2, 0.3, 0.5, 0.6, 0.7], "constant or separate the outcomes"),
     ([0.7, 0.6, 0.4, 0.4, 0.2, 0.1], "constant or separate the outcomes")],
)  # fmt: skip
def test_no_slope_where_none_is_the_likeliest(score: list[float], told_why: str):
    row = judged(told([0, 0, 0, 1, 1, 1], score, repeats=2))
    assert np.isnan(row["slope"])
    assert np.isfinite(row["intercept"])
    assert row["note"].startswith("no slope in 2 of 2 repeats: ")
    assert told_why in row["note"]


def test_one_outcome_alone_gives_neither():
    assert np.isnan(recalibrated(np.zeros(4), np.array([0.1, 0.2, 0.3, 0.4]))).all()


def test_intercept_of_a_constant_is_the_distance_of_the_log_odds():
    intercept, _ = recalibrated(np.array([1.0, 0, 0, 0]), np.full(4, 0.5))[0]
    assert intercept == pytest.approx(logit(0.25))


def test_extreme_probabilities_and_scores_that_are_none_are_told():
    row = judged(told([0, 1, 0, 1], [0.0, 1.0, 0.7, 0.4]), **{"early-logistic": "an order"})
    assert row["note"] == "an order; 2 of 4 probabilities are 0 or 1, and were taken for 1e-06 from it"
    assert np.isfinite(row["slope"])


def test_the_repeats_are_averaged():
    outcome, rng = [0, 1, 1, 0, 1, 0, 0, 1, 0, 0], np.random.default_rng(3)
    both = told(outcome, [0.5] * 10, repeats=2)
    score = rng.random(20)
    found = judged(Predictions(both.rows.assign(score=score)))
    each = [recalibrated(np.array(outcome, float), part)[0] for part in (score[:10], score[10:])]
    assert (found["intercept"], found["slope"]) == pytest.approx(tuple(np.mean(each, axis=0)))


def test_the_curve_counts_fifths_of_the_scores():
    outcome = [0, 0, 0, 1, 0, 1, 0, 1, 1, 1]
    predictions = told(outcome, [i / 10 for i in range(10)], repeats=2)
    found = calibration_curve(predictions, ["early-logistic"], Bootstrap(predictions, 50, 0.95, 0))
    assert found["predicted"].tolist() == pytest.approx([0.05, 0.25, 0.45, 0.65, 0.85])
    assert found["observed"].tolist() == [0.0, 0.5, 0.5, 0.5, 1.0]
    assert (found["n"].tolist(), found["events"].tolist()) == ([2.0] * 5, [0.0, 1.0, 1.0, 1.0, 2.0])
    assert (found["ci_low"] <= found["observed"]).all()
    constant = told(outcome, [0.4] * 10)
    assert len(calibration_curve(constant, ["early-logistic"], Bootstrap(constant, 50, 0.95, 0))) == 1


def test_net_benefit_worked_by_hand():
    # At 0.25 of 8 patients 5 are treated, 3 of them with the event: 3/8 - 2/8 x 1/3 = 7/24.
    predictions = told([1, 1, 1, 0, 0, 0, 0, 1], [0.9, 0.5, 0.25, 0.3, 0.8, 0.1, 0.2, 0.05])
    found = decision_table(predictions, ["early-logistic"], Bootstrap(predictions, 50, 0.95, 0), (0.25, 0.5))
    assert found["net_benefit"].tolist() == pytest.approx([7 / 24, 2 / 8 - 1 / 8])
    assert found["treat_all"].tolist() == pytest.approx([4 / 8 - 4 / 8 / 3, 0.0])
    assert (found["ci_low"] < found["net_benefit"]).all()


def test_below_every_probability_a_model_treats_everyone():
    rng = np.random.default_rng(0)
    predictions = told(rng.integers(0, 2, 30).tolist(), (0.3 + 0.6 * rng.random(30)).tolist(), repeats=3)
    found = decision_table(predictions, ["early-logistic"], Bootstrap(predictions, 20, 0.95, 0))
    low = found[found["threshold"] < 0.3]
    assert low["net_benefit"].to_numpy() == pytest.approx(low["treat_all"].to_numpy(), abs=1e-12)
    assert (found["threshold"].min(), found["threshold"].max(), len(found)) == (0.05, 0.6, 56)


def test_the_number_of_threads_changes_no_digit():
    rng = np.random.default_rng(0)
    outcome = np.tile(np.arange(400) % 3 == 0, 10).astype(int)
    score = expit(outcome + rng.normal(size=4000)).reshape(10, 400)
    parts = [told(outcome[:400].tolist(), row.tolist()).rows.assign(repeat=repeat) for repeat, row in enumerate(score)]
    predictions = Predictions(pd.concat(parts, ignore_index=True))
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(decision_table(predictions, ["early-logistic"], Bootstrap(predictions, 2000, 0.95, 0)))
    pd.testing.assert_frame_equal(*found, check_exact=True)
