"""The neuroCombat backend: the package's own numbers, applied to rows it has not seen."""

import contextlib
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from neuroCombat import neuroCombat
from pydantic import ValidationError

from radfuse.errors import ConfigError
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.estimates import Recipe
from radfuse.harmonize.upstream import fit_upstream


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    own = np.arange(60) % 3
    age = rng.normal(60, 9, 60)
    values = rng.normal(0, 1, (60, 20)) * (1 + own)[:, None] + own[:, None] * 2 + 0.05 * age[:, None]
    table = pd.DataFrame(values, columns=[f"CT.F{place}" for place in range(20)])
    return table.assign(**{"@batch.CT": np.array(["a", "b", "c"])[own], "@age_years": age})


@pytest.mark.parametrize("settings", [{}, {"empirical_bayes": False}, {"mean_only": True}])
def test_gives_what_the_package_gives(
    rows: pd.DataFrame, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    transformer = ComBat(protect=("age_years",), backend="neurocombat", **settings).build().fit(rows)
    found = transformer.transform(rows).iloc[:, :20].to_numpy(float)
    assert capsys.readouterr() == ("", "")
    facts = pd.DataFrame({"batch": rows["@batch.CT"], "age": rows["@age_years"]})
    with contextlib.redirect_stdout(io.StringIO()):
        wanted = neuroCombat(
            rows.iloc[:, :20].to_numpy(float).T,
            facts,
            "batch",
            continuous_cols=["age"],
            eb=settings.get("empirical_bayes", True),
            mean_only=settings.get("mean_only", False),
        )["data"].T
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)  # the package holds age in float32
    alone = transformer.transform(rows.iloc[[7]])
    np.testing.assert_array_equal(alone.iloc[0, :20].to_numpy(float), found[7])


def test_agrees_with_our_own_fit_to_the_tolerance_of_the_iteration(rows: pd.DataFrame) -> None:
    ours, theirs = (
        ComBat(protect=("age_years",), backend=backend).build().fit_transform(rows).iloc[:, :20].to_numpy(float)
        for backend in ("radfuse", "neurocombat")
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)


def test_a_small_batch_is_fitted_as_a_large_one_and_said_to_be(rows: pd.DataFrame) -> None:
    few = rows[(rows["@batch.CT"] != "c") | (rows.index < 9)]
    transformer = ComBat(backend="neurocombat").build().fit(few)
    assert transformer.report_["CT"]["batches"]["c"] == {"rows": 3, "treatment": "shift and scale"}
    assert transformer.report_["CT"]["flags"] == ["batch c has 3 training rows: its estimates are uncertain"]
    assert (transformer.estimates_["CT"]["delta"][2] != 1).all()


def test_a_constant_feature_does_not_spoil_the_others(rows: pd.DataFrame) -> None:
    spoilt = rows.assign(**{"CT.F3": 1.0})
    transformer = ComBat(backend="neurocombat").build().fit(spoilt)
    out = transformer.transform(spoilt)
    assert transformer.report_["CT"]["left_out"] == ["CT.F3"]
    assert np.isfinite(out.iloc[:, :20].to_numpy(float)).all()
    assert (out["CT.F3"] == 1.0).all()


def test_refuses_what_the_package_cannot_do() -> None:
    with pytest.raises(ValidationError, match=r"0\.2\.12 fails with a reference batch"):
        ComBat(backend="neurocombat", reference_batch={"CT": "a"})
    values, none = np.random.default_rng(0).normal(0, 1, (5, 3)), np.zeros((5, 0))
    batch = np.array(["a", "a", "b", "b", "b"], dtype=object)
    with pytest.raises(ConfigError, match="fails with a reference batch"):
        fit_upstream(values, batch, none, Recipe(reference="a"))
    with pytest.raises(ConfigError, match="two batches of two rows or more"):
        fit_upstream(values[1:], batch[1:], none[1:], Recipe())
