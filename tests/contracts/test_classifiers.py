"""Every classifier keeps the contract of its family."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone

from radfuse.train.classifiers import Classifier
from radfuse.train.statistics import pair_auc

MEMBERS = sorted(Classifier.members())


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(240, 4))
    return values, (values[:, 0] + values[:, 1] + rng.normal(0, 0.5, 240) > 0).astype(int)


def test_the_family_has_the_members_that_the_issue_names():
    assert {"logistic", "random_forest", "xgboost"} <= set(MEMBERS)


@pytest.mark.parametrize("method", MEMBERS)
def test_probabilities_lie_in_the_unit_interval_and_sum_to_one(method, rows):
    values, outcome = rows
    probability = Classifier.choose(method).build(0).fit(values[:120], outcome[:120]).predict_proba(values[120:])
    assert probability.shape == (120, 2)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert probability.sum(axis=1) == pytest.approx(np.ones(120), abs=1e-6)


@pytest.mark.parametrize("method", MEMBERS)
def test_a_planted_signal_is_learned(method, rows):
    values, outcome = rows
    model = Classifier.choose(method).build(0).fit(values[:120], outcome[:120])
    assert pair_auc(outcome[120:], model.predict_proba(values[120:])[:, 1]) > 0.85


@pytest.mark.parametrize("method", MEMBERS)
def test_the_seed_decides(method, rows):
    values, outcome = rows
    member = Classifier.choose(method)
    np.random.seed(1)  # noqa: NPY002 - the global state must not matter
    first = member.build(7).fit(values, outcome).predict_proba(values)
    np.random.seed(2)  # noqa: NPY002
    again = clone(member.build(7)).fit(values, outcome).predict_proba(values)
    assert np.array_equal(first, again)


@pytest.mark.parametrize("method", MEMBERS)
def test_constant_features_and_perfect_separation_do_no_harm(method):
    values = np.column_stack([np.repeat([-1.0, 1.0], 15), np.zeros(30)])
    outcome = np.repeat([0, 1], 15)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probability = Classifier.choose(method).build(0).fit(values, outcome).predict_proba(values)[:, 1]
    assert np.isfinite(probability).all()
    assert probability[:15].max() < probability[15:].min()


def test_elastic_net_converges_on_more_features_than_patients():
    rng = np.random.default_rng(0)
    values, outcome = rng.normal(size=(31, 1000)), np.arange(31) % 2
    model = Classifier.choose("logistic").build(0).fit(values, outcome)
    assert model.n_iter_[0] < 10_000
    assert 0 < (model.coef_ != 0).sum() < 500


@pytest.mark.parametrize("events", [1, 2, 3])
@pytest.mark.parametrize("method", MEMBERS)
def test_a_handful_of_events_is_enough_to_answer(method, events, rng):
    """Inner folds of late fusion leave as few; the answer may be poor but there is one."""
    values, outcome = rng.normal(size=(30, 3)), (np.arange(30) < events).astype(int)
    probability = Classifier.choose(method).build(0).fit(values, outcome).predict_proba(values)[:, 1]
    assert ((probability >= 0) & (probability <= 1)).all()


def test_the_sigmoid_of_margins_keeps_their_order_even_where_inner_folds_say_the_opposite():
    values = np.arange(40.0)[:, None]
    outcome = np.arange(40) % 2
    model = Classifier.choose("svm").build(0).fit(values, outcome)
    margins = model.classifier_.decision_function(values)
    assert np.array_equal(
        np.argsort(margins, kind="stable"), np.argsort(model.predict_proba(values)[:, 1], kind="stable")
    )
