"""The numbers of ComBat against published outputs, the neuroCombat package, and sums done by hand."""

import contextlib
import io
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neuroCombat import neuroCombat

from radfuse.harmonize.estimates import Array, Estimates, Recipe, fit

SETTINGS = list(product((True, False), (True, False), (False, True), (False, True)))


def upstream(values: Array, batch: Array, covariates: Array, eb: bool, mean_only: bool) -> Array:
    """neuroCombat's output; its covariates are cast to float32, so tests give it values that survive the cast."""
    names = [f"x{place}" for place in range(covariates.shape[1])]
    facts = pd.DataFrame(covariates, columns=names).assign(batch=batch)
    with contextlib.redirect_stdout(io.StringIO()):
        return neuroCombat(values.T, facts, "batch", continuous_cols=names, eb=eb, mean_only=mean_only)["data"].T


def cohort(seed: int, sizes: tuple[int, ...], features: int, covariates: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    batch = np.repeat([f"b{place}" for place in range(len(sizes))], sizes).astype(object)
    x = rng.normal(0, 1, (len(batch), covariates)).astype(np.float32).astype(np.float64)
    own = np.unique(batch.astype(str), return_inverse=True)[1]
    values = rng.normal(0, 2, (len(sizes), features))[own]
    values += rng.gamma(4, 0.25, (len(sizes), features))[own] * rng.normal(0, 1, (len(batch), features))
    order = rng.permutation(len(batch))
    return (values + x @ rng.normal(0, 1, (covariates, features)))[order], batch[order], x[order]


@pytest.mark.parametrize(("adjusted", "eb", "mean_only", "reference"), SETTINGS)
@pytest.mark.parametrize("program", ["python", "r"])
def test_meets_the_published_outputs(
    data_root: Path, adjusted: bool, eb: bool, mean_only: bool, reference: bool, program: str
) -> None:
    """All 16 parametric settings of the Testing folder of Jfortin1/ComBatHarmonization (MIT, Artistic-2.0)."""
    folder = data_root / "combat"
    name = f"testdata_combat_parametric_{'adjusted' if adjusted else 'unadjusted'}"
    name += "" if eb else "_noeb"
    name += ("_meanonly" if mean_only else "") + ("_batchref" if reference else "")
    values = np.loadtxt(folder / "inputData" / "testdata.csv", delimiter=",", skiprows=1).T
    wanted = np.loadtxt(folder / "outputData" / f"{name}_{program}.csv", delimiter=",", skiprows=int(program == "r")).T
    batch = np.array(["1"] * 5 + ["2"] * 5, dtype=object)
    covariates = np.array([[1.0], [2.0]] * 5) if adjusted else np.zeros((10, 0))
    recipe = Recipe(eb, frozenset("12") if mean_only else frozenset(), "1" if reference else "", upstream=True)
    found = fit(values, batch, covariates, recipe).apply(values, batch, covariates)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(4, 30), min_size=2, max_size=4).map(tuple),
    features=st.integers(2, 30),
    covariates=st.integers(0, 2),
    eb=st.booleans(),
    mean_only=st.booleans(),
)
def test_meets_the_neurocombat_package(
    seed: int, sizes: tuple[int, ...], features: int, covariates: int, eb: bool, mean_only: bool
) -> None:
    values, batch, x = cohort(seed, sizes, features, covariates)
    recipe = Recipe(eb, frozenset(batch) if mean_only else frozenset(), upstream=True)
    found = fit(values, batch, x, recipe).apply(values, batch, x)
    np.testing.assert_allclose(found, upstream(values, batch, x, eb, mean_only), rtol=1e-9, atol=1e-9)


def test_own_stopping_rule_moves_the_numbers_by_less_than_the_tolerance_allows() -> None:
    """A signed divisor ends the iteration a step early at worst; the step it leaves out is small."""
    values, batch, x = cohort(3, (25, 6, 6), 200, 1)
    ours, theirs, tight = (
        fit(values, batch, x, recipe).apply(values, batch, x)
        for recipe in (Recipe(), Recipe(upstream=True), Recipe(tolerance=1e-12))
    )
    scale = values.std()
    assert np.abs(ours - theirs).max() < 2e-3 * scale
    assert np.abs(ours - tight).max() < 2e-3 * scale


def test_two_batches_without_shrinkage_worked_by_hand() -> None:
    """Batch a: 1, 3 (mean 2); batch b: 10, 14, 18 (mean 14).

    alpha = (2 * 2 + 3 * 14) / 5 = 9.2; residuals -1, 1, -4, 0, 4: sigma^2 = 34 / 5 = 6.8.
    gamma_a = (2 - 9.2)/sigma, delta_a = 2/6.8; gamma_b = 4.8/sigma, delta_b = 16/6.8.
    y' = alpha + sigma^2 (y - mean of its batch) / (sd of its batch * sigma).
    """
    values = np.array([[1.0], [3.0], [10.0], [14.0], [18.0]])
    batch = np.array(["a", "a", "b", "b", "b"], dtype=object)
    none = np.zeros((5, 0))
    found = fit(values, batch, none, Recipe(empirical_bayes=False))
    sigma = np.sqrt(6.8)
    np.testing.assert_allclose(found.alpha, [9.2])
    np.testing.assert_allclose(found.sigma, [sigma])
    np.testing.assert_allclose(found.gamma, [[-7.2 / sigma], [4.8 / sigma]])
    np.testing.assert_allclose(found.delta, [[2 / 6.8], [16 / 6.8]])
    step_a, step_b = sigma / np.sqrt(2), sigma
    wanted = [9.2 - step_a, 9.2 + step_a, 9.2 - step_b, 9.2, 9.2 + step_b]
    np.testing.assert_allclose(found.apply(values, batch, none)[:, 0], wanted)


def test_mean_only_with_the_true_count_removes_the_shift_and_the_published_formula_does_not() -> None:
    """200 rows, 5 batches, 1500 features: sd of batch means 0.48 with n = 1 against 0.03 with the true n."""
    rng = np.random.default_rng(5)
    batch = np.repeat(list("abcde"), 40).astype(object)
    values = rng.normal(0, 1, (200, 1500)) + np.repeat(rng.normal(0, 1, (5, 1500)), 40, axis=0)
    none = np.zeros((200, 0))
    left = {}
    for published in (False, True):
        recipe = Recipe(location_only=frozenset("abcde"), upstream=published)
        out = fit(values, batch, none, recipe).apply(values, batch, none)
        left[published] = np.stack([out[batch == name].mean(axis=0) for name in "abcde"]).std(axis=0, ddof=1).mean()
    assert left[False] < 0.05
    assert left[True] > 0.3


@pytest.mark.parametrize(("offset", "tolerance"), [(1e6, 1e-8), (1e9, 1e-5)])
def test_a_huge_offset_costs_no_digits(offset: float, tolerance: float) -> None:
    values, batch, x = cohort(11, (20, 10, 30), 40, 2)
    plain = fit(values, batch, x, Recipe()).apply(values, batch, x)
    moved = fit(values + offset, batch, x, Recipe()).apply(values + offset, batch, x) - offset
    np.testing.assert_allclose(moved, plain, rtol=0, atol=tolerance)


def test_the_reference_batch_comes_back_untouched() -> None:
    values, batch, x = cohort(2, (20, 10), 30, 1)
    found = fit(values, batch, x, Recipe(reference="b1"))
    out = found.apply(values, batch, x)
    np.testing.assert_array_equal(out[batch == "b1"], values[batch == "b1"])
    assert np.abs(out[batch == "b0"] - values[batch == "b0"]).max() > 0.1


@pytest.mark.parametrize("offset", [0.0, 1e6, -0.1])
def test_constant_features_come_back_untouched_and_move_no_other(offset: float) -> None:
    values, batch, x = cohort(4, (20, 10, 8), 30, 1)
    spoilt = np.hstack([values, np.full((38, 1), offset), values[:, :1]])
    spoilt[batch == "b1", -1] = offset
    found = fit(spoilt, batch, x, Recipe())
    assert found.usable.tolist() == [True] * 30 + [False, False]
    out = found.apply(spoilt, batch, x)
    np.testing.assert_array_equal(out[:, 30:], spoilt[:, 30:])
    alone = fit(values, batch, x, Recipe()).apply(values, batch, x)
    np.testing.assert_allclose(out[:, :30], alone, rtol=0, atol=1e-13)


def test_a_feature_that_the_covariate_determines_is_left_out() -> None:
    values, batch, x = cohort(4, (20, 10), 5, 1)
    values[:, 2] = 3.0 + 2.0 * x[:, 0]
    found = fit(values, batch, x, Recipe())
    assert found.usable.tolist() == [True, True, False, True, True]
    np.testing.assert_array_equal(found.apply(values, batch, x)[:, 2], values[:, 2])


def test_values_too_large_to_square_are_left_out() -> None:
    values, batch, x = cohort(4, (20, 10), 5, 0)
    values[:, 3] *= 1e200
    found = fit(values, batch, x, Recipe())
    assert found.usable.tolist() == [True, True, True, False, True]


def test_one_feature_alone_is_fitted_without_shrinkage() -> None:
    values, batch, x = cohort(9, (20, 10), 1, 0)
    alone, plain = fit(values, batch, x, Recipe()), fit(values, batch, x, Recipe(empirical_bayes=False))
    np.testing.assert_array_equal(alone.gamma, plain.gamma)
    assert np.isfinite(alone.apply(values, batch, x)).all()


def test_equal_features_need_no_iteration() -> None:
    values, batch, x = cohort(9, (20, 10), 1, 0)
    found = fit(np.repeat(values, 3, axis=1), batch, x, Recipe())
    assert found.converged.all()
    assert np.isfinite(found.gamma).all()


def test_the_iteration_has_a_cap_and_says_so() -> None:
    values, batch, x = cohort(9, (20, 10), 50, 0)
    found = fit(values, batch, x, Recipe(tolerance=1e-300, cap=3))
    assert found.iterations.tolist() == [3, 3]
    assert not found.converged.any()


def test_new_rows_use_their_own_covariates_and_refit_nothing() -> None:
    values, batch, x = cohort(6, (30, 20), 12, 2)
    found = fit(values, batch, x, Recipe())
    whole = found.apply(values, batch, x)
    for row in range(0, 50, 7):
        own = slice(row, row + 1)
        np.testing.assert_array_equal(found.apply(values[own], batch[own], x[own]), whole[own])


def test_stores_as_plain_arrays() -> None:
    values, batch, x = cohort(6, (30, 20), 12, 2)
    found = fit(values, batch, x, Recipe())
    again = Estimates.from_dict(found.to_dict())
    np.testing.assert_array_equal(again.apply(values, batch, x), found.apply(values, batch, x))
