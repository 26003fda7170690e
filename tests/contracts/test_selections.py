"""Every selection keeps the contract of its family."""

import numpy as np
import pytest

from radfuse.train.selection import Selection
from radfuse.train.selection.lasso import entry
from radfuse.train.selection.mrmr import relevance_over_redundancy

MEMBERS = sorted(Selection.members())
QUICK = {"boruta": {"rounds": 10, "trees": 30}}


def member(method: str) -> Selection:
    return Selection.choose({"method": method, **QUICK.get(method, {})})


@pytest.fixture
def rows(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sixty patients; column 3 (whose twin is 7) and column 5 tell the outcome, 9 is constant."""
    values = rng.normal(size=(60, 40))
    outcome = (values[:, 3] + 0.9 * values[:, 5] > 0).astype(int)
    values[:, 7] = values[:, 3] + rng.normal(0, 0.01, 60)
    values[:, 9] = 4.2
    return values, outcome


def test_the_family_has_the_members_that_the_issue_names():
    assert {"anova", "mann_whitney", "mrmr", "lasso", "penalty"} <= set(MEMBERS)


@pytest.mark.parametrize("method", MEMBERS)
def test_the_signal_comes_first_without_its_twin_and_constants_never(method, rows):
    chosen = member(method).build().fit(*rows).chosen_.tolist()
    assert chosen[0] in (3, 5, 7)
    assert len({3, 7} & set(chosen)) == 1
    assert 5 in chosen
    assert 9 not in chosen


@pytest.mark.parametrize("method", MEMBERS)
def test_units_and_order_of_columns_do_not_matter(method, rows, rng):
    values, outcome = rows
    chosen = member(method).build().fit(values, outcome).chosen_
    scale, order = 10.0 ** rng.integers(-4, 5, 40), rng.permutation(40)
    again = member(method).build().fit((values * scale + 3 * scale)[:, order], outcome).chosen_
    assert order[again].tolist() == chosen.tolist()


@pytest.mark.parametrize("method", MEMBERS)
def test_only_noise_and_hardly_a_patient_still_gives_a_feature(method, rng):
    chosen = member(method).build().fit(rng.normal(size=(8, 300)), np.arange(8) % 2).chosen_
    assert 1 <= len(chosen) <= 300


def test_mrmr_prefers_what_is_new():
    """The second column tells more of the outcome than the third, but the first has told it already."""
    rng = np.random.default_rng(0)
    outcome = np.repeat([0, 1], 50)
    first = outcome + rng.normal(0, 1, 100)
    other = 0.7 * outcome + rng.normal(0, 1, 100)
    values = np.column_stack([first, first + rng.normal(0, 0.05, 100), other])
    score = relevance_over_redundancy(values, outcome)
    assert np.argsort(-score)[1] == 2
    assert sorted(score) == [1, 2, 3]


def test_the_first_to_enter_the_lasso_is_the_most_correlated(rng):
    values, outcome = rng.normal(size=(50, 20)), np.arange(50) % 2
    correlation = [abs(np.corrcoef(column, outcome)[0, 1]) for column in values.T]
    assert np.argmax(entry(values, outcome)) == np.argmax(correlation)


def test_a_class_of_one_outcome_ranks_nothing():
    assert not entry(np.eye(4), np.zeros(4)).any()
