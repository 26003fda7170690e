"""ComBat-GAM: the curve, the numbers, and neuroHarmonize."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from neuroCombat import neuroCombat
from pydantic import ValidationError
from scipy.interpolate import CubicSpline

from radfuse.harmonize import splines
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.combat_gam import CombatGAM
from radfuse.harmonize.covariates import encode, learn
from radfuse.harmonize.estimates import Recipe, fit

EXPECTED = Path(__file__).parent / "expected" / "neuroharmonize_gam.csv"


def curved(n: int = 200, seed: int = 4) -> pd.DataFrame:
    """Two scanners, the second with older patients; every feature follows age on a hump."""
    rng = np.random.default_rng(seed)
    own = np.arange(n) % 2
    age = rng.uniform(20, 60, n) + 25 * own
    values = rng.normal(0, 0.5, (n, 12)) + 3 * own[:, None] + 4 * np.sin((age - 20) / 65 * np.pi)[:, None]
    rows = pd.DataFrame(values, columns=[f"CT.F{place}" for place in range(12)])
    return rows.assign(**{"@batch.CT": np.array(["a", "b"])[own], "@age_years": age})


def test_the_columns_span_the_natural_cubic_splines_of_scipy() -> None:
    places = np.array([20.0, 35.0, 50.0, 58.0, 80.0])
    x = np.linspace(20, 80, 200)
    cardinal = CubicSpline(places, np.eye(5), bc_type="natural")(x)
    ours = np.column_stack([np.ones(200), splines.columns(x, places)])
    assert ours.shape == cardinal.shape
    rest = cardinal - ours @ np.linalg.lstsq(ours, cardinal, rcond=None)[0]
    assert np.abs(rest).max() < 1e-9


def test_the_curve_is_straight_beyond_the_outer_knots() -> None:
    places = np.array([20.0, 35.0, 50.0, 80.0])
    for start in (-40.0, 80.0):
        found = splines.columns(np.array([start, start + 30, start + 60]), places)
        np.testing.assert_allclose(found[2] - found[1], found[1] - found[0], atol=1e-10)


def test_knots_and_scale_are_those_of_the_training_rows() -> None:
    age = pd.Series(np.r_[np.arange(20.0, 80.0), np.nan], name="age_years")
    learnt = learn(age, 4)
    np.testing.assert_allclose(learnt["knots"], np.quantile(np.arange(20.0, 80.0), [0.05, 0.35, 0.65, 0.95]))
    columns, filled = encode(age, learnt, "mode")
    assert filled.sum() == 1
    np.testing.assert_allclose(columns.mean(axis=0), 0, atol=1e-12)
    alone, _ = encode(age.iloc[[7]], learnt, "mode")
    np.testing.assert_array_equal(alone, columns[[7]])


def test_a_code_of_two_values_stays_a_straight_line_and_says_so() -> None:
    rows = curved().assign(**{"@smoker": np.arange(200.0) // 2 % 2})
    gam = CombatGAM(protect=("age_years", "smoker")).build().fit(rows)
    assert [gam.covariates_[name]["kind"] for name in ("age_years", "smoker")] == ["smooth", "continuous"]
    assert "smoker: too few different values for a curve" in " ".join(gam.report_["CT"]["flags"])


def test_gives_what_neurocombat_gives_with_the_same_columns() -> None:
    rows = curved()
    learnt = learn(rows["@age_years"], 4)
    columns = encode(rows["@age_years"], learnt, "mode")[0].astype(np.float32).astype(np.float64)
    values, batch = rows.iloc[:, :12].to_numpy(float), rows["@batch.CT"].to_numpy(object)
    ours = fit(values, batch, columns, Recipe(upstream=True)).apply(values, batch, columns)
    facts = pd.DataFrame(columns, columns=["x0", "x1", "x2"]).assign(batch=batch)
    with contextlib.redirect_stdout(io.StringIO()):
        wanted = neuroCombat(values.T, facts, "batch", continuous_cols=["x0", "x1", "x2"])["data"].T
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-8)
    whole = CombatGAM(protect=("age_years",)).build().fit_transform(rows).iloc[:, :12].to_numpy(float)
    np.testing.assert_allclose(whole, ours, rtol=0, atol=2e-3)  # own stopping rule, and columns not rounded to float32


def test_keeps_a_hump_that_a_straight_line_loses() -> None:
    """Under the same scanner both would be flat; the truth is the hump without the scanner's shift of 3."""
    rows = curved()
    age, own = rows["@age_years"].to_numpy(), (rows["@batch.CT"] == "b").to_numpy()
    truth = 4 * np.sin((age - 20) / 65 * np.pi)
    gap = {}
    for config in (CombatGAM(protect=("age_years",)), ComBat(protect=("age_years",))):
        out = config.build().fit_transform(rows).iloc[:, :12].to_numpy(float).mean(axis=1) - truth
        gap[config.method] = abs(out[own].mean() - out[~own].mean())
    assert gap["combat_gam"] < 0.1
    assert gap["combat"] > 0.3


def test_lies_close_to_neuroharmonize() -> None:
    """neuroHarmonize 2.5.2 (MIT), harmonizationLearn(smooth_terms=["AGE"], seed=0), on 150 made-up rows of 3 sites.

    Its curve has more bends and a penalty chosen by folds, so that equality cannot be had; a straight line is ten
    times as far away.
    """
    table = pd.read_csv(EXPECTED)
    rows = table.filter(regex="^y").rename(columns=lambda name: f"CT.{name}")
    rows = rows.assign(**{"@batch.CT": table["site"], "@age_years": table["age"]})
    wanted = table.filter(regex="^neuroharmonize").to_numpy(float)
    far = {}
    for config in (CombatGAM(protect=("age_years",)), ComBat(protect=("age_years",))):
        out = config.build().fit_transform(rows).iloc[:, :6].to_numpy(float)
        far[config.method] = np.sqrt(((out - wanted) ** 2).mean(axis=0)).max()
    assert far["combat_gam"] < 0.05
    assert far["combat"] > 0.4


def test_only_protected_covariates_can_be_smooth() -> None:
    with pytest.raises(ValidationError, match="smooth names age_years, which protect lacks"):
        CombatGAM(smooth=("age_years",))
    straight = CombatGAM(protect=("age_years",), smooth=()).build().fit(curved())
    assert straight.covariates_["age_years"]["kind"] == "continuous"
