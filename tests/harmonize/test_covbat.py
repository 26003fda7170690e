"""CovBat: against its two parts done by neuroCombat and scikit-learn, and on planted covariances."""

import contextlib
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from neuroCombat import neuroCombat
from sklearn.decomposition import PCA

from radfuse.errors import DataError
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.covariance import Covariance, fit_covariance
from radfuse.harmonize.covbat import CovBat
from radfuse.harmonize.estimates import Array, Recipe, fit


def two_scanners(n: int = 240, seed: int = 3) -> tuple[Array, Any, Array]:
    """One factor drives all features, three times as strongly on scanner a as on b, besides shift and scale."""
    rng = np.random.default_rng(seed)
    batch = np.array(["a", "b"], dtype=object)[np.arange(n) % 2]
    strength = np.where(batch == "a", 1.5, 0.5)
    values = rng.normal(0, 1, (n, 20)) + (strength * rng.normal(0, 1, n))[:, None] * rng.normal(0, 1, 20)
    x = rng.normal(0, 1, (n, 1)).astype(np.float32).astype(np.float64)
    return values * np.where(batch == "b", 2.0, 1.0)[:, None] + 3.0 * (batch == "b")[:, None] + x, batch, x


def rows_of(values: Array, batch: Any, x: Array) -> pd.DataFrame:
    table = pd.DataFrame(values, columns=[f"CT.F{place}" for place in range(values.shape[1])])
    return table.assign(**{"@batch.CT": batch, "@x": x[:, 0]})


def quietly(values: Array, facts: pd.DataFrame, **given: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return neuroCombat(values.T, facts, "batch", **given)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_is_combat_then_combat_of_the_scores(share: float) -> None:
    """Chen 2022: neuroCombat, residuals to variance 1, scikit-learn's PCA, neuroCombat without Bayes on the scores."""
    values, batch, x = two_scanners()
    facts = pd.DataFrame({"batch": batch, "x": x[:, 0]})
    first = quietly(values, facts, continuous_cols=["x"])
    found = first["estimates"]
    sigma = np.sqrt(found["var.pooled"]).ravel()
    middle = (found["stand.mean"] + found["mod.mean"]).T
    residuals = (first["data"].T - middle) / sigma
    centre, spread = residuals.mean(axis=0), residuals.std(axis=0, ddof=1)
    pca = PCA(svd_solver="full").fit((residuals - centre) / spread)
    count = int(np.argmax(np.cumsum(pca.explained_variance_ratio_) > share)) + 1
    scores = pca.transform((residuals - centre) / spread)
    scores[:, :count] = quietly(scores[:, :count], facts[["batch"]], eb=False)["data"].T
    wanted = (scores @ pca.components_ * spread + centre) * sigma + middle

    recipe = Recipe(upstream=True)
    ours = fit(values, batch, x, recipe)
    harmonised = ours.apply(values, batch, x)
    step = fit_covariance(harmonised, batch, x, ours, recipe, share)
    assert step is not None
    assert len(step.axes) == count
    np.testing.assert_allclose(step.apply(harmonised, batch, x, ours), wanted, rtol=0, atol=1e-8)
    again = Covariance.from_dict(step.to_dict())
    np.testing.assert_array_equal(again.apply(harmonised, batch, x, ours), step.apply(harmonised, batch, x, ours))


def test_brings_the_covariances_together_where_combat_does_not() -> None:
    values, batch, x = two_scanners()
    apart = {}
    for config in (ComBat(protect=("x",)), CovBat(protect=("x",), variance=0.5)):
        out = config.build().fit_transform(rows_of(values, batch, x)).iloc[:, :20].to_numpy(float)
        a, b = (np.cov(out[batch == name], rowvar=False) for name in "ab")
        apart[config.method] = np.linalg.norm(a - b) / np.linalg.norm(a + b)
    assert apart["covbat"] < 0.6 * apart["combat"]


def test_too_few_rows_are_combat_alone_and_flagged_or_refused() -> None:
    rows = rows_of(*two_scanners(60))
    transformer = CovBat(protect=("x",)).build()
    pd.testing.assert_frame_equal(
        transformer.fit_transform(rows), ComBat(protect=("x",)).build().fit_transform(rows), check_exact=True
    )
    said = "60 rows are too few to harmonise covariances (least_rows 100): ComBat alone"
    assert said in transformer.report_["CT"]["flags"]
    with pytest.raises(DataError, match="CT: 60 rows are too few to harmonise covariances, expected at least 100"):
        CovBat(too_few="refuse").build().fit(rows)
    assert CovBat(least_rows=60).build().fit(rows).report_["CT"]["components"] > 0


def test_rows_of_new_batches_constant_features_and_the_reference_stay() -> None:
    values, batch, x = two_scanners()
    rows = rows_of(values, batch, x).assign(**{"CT.F3": 7.0})
    transformer = CovBat(reference_batch={"CT": "a"}).build().fit(rows)
    assert transformer.report_["CT"]["left_out"] == ["CT.F3"]
    fresh = rows.iloc[:4].assign(**{"@batch.CT": ["new", "a", "b", None]})
    out = transformer.transform(fresh)
    features = [name for name in rows if name.startswith("CT.")]
    pd.testing.assert_frame_equal(out[features].iloc[[0, 1, 3]], fresh[features].iloc[[0, 1, 3]], rtol=1e-12)
    assert (out["CT.F3"] == 7.0).all()
    assert transformer.flagged(fresh)["CT"].tolist() == [True, False, False, True]


def test_a_single_feature_has_no_covariance() -> None:
    values, batch, x = two_scanners()
    one = rows_of(values[:, :1], batch, x)
    transformer = CovBat(small_below=2).build().fit(one)
    assert transformer.report_["CT"]["components"] == 0
    said = "1 of 1 features vary in every batch, too few to harmonise covariances: ComBat alone"
    assert said in transformer.report_["CT"]["flags"]
    assert not any("rows are too few" in flag for flag in transformer.report_["CT"]["flags"])
