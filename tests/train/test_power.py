"""What a cohort can see: the published table of correlations, and the power that the answer claims."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm

from radfuse.train.power import area_correlation, score_correlation, smallest_visible, visible
from radfuse.train.scores import power
from radfuse.train.statistics import DeLong, hanley_mcneil_error

# Hanley & McNeil 1983, table I: correlation of the areas by that of the ratings (rows) and the mean area (columns).
AREAS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975)
PUBLISHED = {
    0.10: (0.09, 0.09, 0.08, 0.08, 0.07, 0.06, 0.04),
    0.30: (0.27, 0.27, 0.26, 0.25, 0.23, 0.19, 0.16),
    0.50: (0.47, 0.46, 0.45, 0.43, 0.41, 0.37, 0.32),
    0.70: (0.67, 0.66, 0.65, 0.64, 0.62, 0.58, 0.54),
    0.90: (0.88, 0.88, 0.87, 0.87, 0.86, 0.84, 0.82),
}


@pytest.mark.parametrize("ratings", PUBLISHED)
def test_correlations_of_areas_are_those_of_the_published_table(ratings: float):
    assert [area_correlation(area, ratings, 50, 50) for area in AREAS] == pytest.approx(PUBLISHED[ratings], abs=0.0053)


def test_in_a_large_cohort_they_are_orthant_probabilities_of_the_normal():
    place = norm.ppf(0.8)
    both = [multivariate_normal.cdf([place, place], cov=[[1, r], [r, 1]]) - 0.64 for r in (0.6 / 2, 0.5)]
    assert area_correlation(0.8, 0.6, 10**7, 10**7) == pytest.approx(both[0] / both[1], abs=1e-6)
    assert area_correlation(0.8, 0.0, 14, 25) == pytest.approx(0.0, abs=1e-12)
    assert area_correlation(0.8, 1.0, 14, 25) == pytest.approx(1.0)
    assert -1 < area_correlation(0.8, -1.0, 14, 25) < 0


def test_the_smallest_gain_has_the_power_it_claims():
    """By Monte Carlo: two binormal scores, the gain of `smallest_visible`, DeLong's test; the formula is cautious."""
    ones, zeros, correlation, auc = 19, 32, 0.6, 0.7
    gain = smallest_visible(auc, ones, zeros, correlation)
    assert gain is not None
    rng = np.random.default_rng(4)
    outcome, shift = np.repeat([1, 0], [ones, zeros]), [2**0.5 * norm.ppf(a) for a in (auc + gain, auc)]
    found = 0
    for _ in range(400):
        scores = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], size=51)
        scores += outcome[:, None] * np.array(shift)
        found += DeLong.of(outcome, *scores.T).difference()[2] < 0.05
    assert 0.78 < found / 400 < 0.92


def test_the_equation_of_two_independent_arms_holds():
    gain = smallest_visible(0.7, 40, 60, 0.0)
    assert gain is not None
    null, other = hanley_mcneil_error(0.7, 40, 60), hanley_mcneil_error(0.7 + gain, 40, 60)
    assert gain == pytest.approx(1.959964 * 2**0.5 * null + 0.841621 * (null**2 + other**2) ** 0.5, abs=1e-5)


def test_more_patients_and_closer_scores_show_smaller_differences():
    small, large = (smallest_visible(0.7, n, 2 * n, 0.6) for n in (15, 150))
    assert small is not None
    assert large is not None
    assert small > large
    closer = smallest_visible(0.7, 15, 30, 0.9)
    assert closer is not None
    assert closer < small


def test_where_nothing_could_be_seen_it_says_so():
    assert smallest_visible(0.9, 5, 10, 0.2) is None
    assert smallest_visible(1.0, 50, 50, 0.5) is None
    assert visible(None, 5, 0.2).startswith("With 5 events, not even a perfect arm could be told from the other one")


def test_scores_correlate_within_the_outcomes_only():
    """An outcome that both arms see perfectly makes no correlation; the ranks of what is left do."""
    subjects = [f"S{i}" for i in range(8)]
    rows = pd.DataFrame({"subject": subjects, "outcome": [0] * 4 + [1] * 4})
    first = rows.assign(score=[1, 2, 3, 4, 11, 12, 13, 14])
    assert score_correlation(first, rows.assign(score=[1, 2, 3, 9, 21, 22, 23, 99])) == pytest.approx(1.0)
    # Ranks 1 2 3 4 against 2 1 4 3: Spearman 0.6, so 2 sin(0.1 pi) in the events; 1 in the others; the mean of both.
    mixed = rows.assign(score=[1, 2, 3, 4, 12, 11, 14, 13])
    assert score_correlation(first, mixed) == pytest.approx((1 + 2 * np.sin(0.1 * np.pi)) / 2)
    assert score_correlation(first, rows.assign(score=0.5)) == 0.0


def test_the_precision_of_one_auc():
    assert power(0.75, 19, 32, 0.95) == (
        "With 19 events among 51 subjects an AUC of 0.75 is known to within 0.15 either way (Hanley-McNeil, 95 %)."
    )
