"""Inputs on which neuroCombat 0.2.12 stops with someone else's error, or gives silent NaN or silent nonsense.

Here each ends in an error of ours, or in a policy that the report names; never in a value that is not finite. The rows
are those measured on 50 features x 60 samples x 3 batches.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from radfuse.data.table import FeatureTable
from radfuse.errors import CohortError, ConfigError, DataError, RadfuseError
from radfuse.harmonize import Harmonizer

MEMBERS: dict[str, dict[str, Any]] = {
    "combat": {},
    "combat_gam": {},
    "covbat": {"least_rows": 20},
    "nested_combat": {"then": {"CT": ["kernel"]}},
    "zscore": {},
}


def good_rows() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    batch = np.repeat(["a", "b", "c"], 20)
    values = rng.normal(0, 1, (60, 50)) + np.repeat([0.0, 2.0, 4.0], 20)[:, None]
    rows = pd.DataFrame(values, columns=[f"CT.F{place}" for place in range(50)], index=[f"S{i}" for i in range(60)])
    facts = {
        "@batch.CT": batch.astype(object),
        "@age": rng.normal(60, 9, 60),
        "@sex": rng.choice(["F", "M"], 60).astype(object),
        "@kernel": np.tile(["soft", "sharp"], 30).astype(object),
    }
    return pd.concat([rows, pd.DataFrame(facts, index=rows.index)], axis=1)


def cell(value: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def spoil(rows: pd.DataFrame) -> pd.DataFrame:
        rows.loc["S7", "CT.F3"] = value
        return rows

    return spoil


def fact(name: str, value: Any, where: slice = slice(5, 8)) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def spoil(rows: pd.DataFrame) -> pd.DataFrame:
        column = rows[f"@{name}"].to_numpy(object, copy=True)
        column[where] = value
        kind = float if name == "age" else object
        return rows.drop(columns=f"@{name}").assign(**{f"@{name}": column.astype(kind)})

    return spoil


def constants(rows: pd.DataFrame) -> pd.DataFrame:
    rows["CT.F0"] = 3.0
    rows.loc[rows["@batch.CT"] != "a", "CT.F1"] = 0.0
    return rows


def one_feature(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[["CT.F0", *[name for name in rows if name.startswith("@")]]].copy()


def huge(rows: pd.DataFrame) -> pd.DataFrame:
    rows.iloc[:, :50] += 1e12
    return rows


def unlike(rows: pd.DataFrame) -> pd.DataFrame:
    rows.iloc[:, :50] *= np.logspace(-150, 150, 50)
    return rows


# What is done to the rows; what is protected; the error, or what the report says of it.
CASES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], tuple[str, ...], type[RadfuseError] | str]] = {
    "NaN in one cell": (cell(np.nan), (), DataError),
    "infinity in one cell": (cell(np.inf), (), DataError),
    "batch of one row": (fact("batch.CT", "d", slice(0, 1)), (), "batch d has 1 training rows"),
    "batch of two rows": (fact("batch.CT", "d", slice(0, 2)), (), "batch d has 2 training rows"),
    "batches of one row only": (fact("batch.CT", [f"s{i}" for i in range(60)], slice(0, 60)), (), "fewer than two"),
    "one batch only": (fact("batch.CT", "a", slice(0, 60)), (), "fewer than two"),
    "no batch label": (fact("batch.CT", None), (), "3 rows have no batch label"),
    "single feature": (one_feature, (), ""),
    "NaN in a continuous covariate": (fact("age", np.nan), ("age",), "covariate age: 3 values filled in"),
    "infinity in a continuous covariate": (fact("age", np.inf), ("age",), DataError),
    "missing level of a covariate": (fact("sex", None), ("sex",), "covariate sex: 3 values filled in"),
    "covariate without any value": (fact("age", np.nan, slice(0, 60)), ("age",), "60 values filled in"),
    "categorical covariate that is the batch": (
        lambda rows: rows.assign(**{"@sex": rows["@batch.CT"]}), ("sex",), "cannot be told from the batches",
    ),
    "continuous covariate that is the batch": (
        lambda rows: rows.assign(**{"@age": np.repeat([1.0, 2.0, 3.0], 20)}), ("age",), "cannot be told from",
    ),
    "covariate that the table lacks": (lambda rows: rows.drop(columns="@age"), ("age",), ConfigError),
    "constant features": (constants, (), "2 of 50 features do not vary in some batch"),
    "offset of 1e12": (huge, (), ""),
    "features of very different scale": (unlike, (), ""),
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "member"), [(case, name) for case in CASES for name in MEMBERS if name != "zscore" or not CASES[case][1]]
)
def test_ends_in_an_error_of_ours_or_a_named_policy(case: str, member: str, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, protect, expected = CASES[case]
    settings = MEMBERS[member] | ({"protect": list(protect)} if protect else {})
    rows = spoil(good_rows())
    transformer = Harmonizer.choose({"method": member, **settings}).build()
    if not isinstance(expected, str):
        with pytest.raises(expected):
            transformer.fit(rows)
        return
    out = transformer.fit(rows).transform(rows)
    features = [name for name in rows if name.startswith("CT.")]
    before, after = rows[features].to_numpy(float), out[features].to_numpy(float)
    assert np.isfinite(after).all()
    assert any(expected in flag for flag in transformer.report_["CT"]["flags"]) or not expected
    assert transformer.report_["CT"]["rows_passed"] == transformer.flagged(rows)["CT"].sum()
    if member != "nested_combat":
        flagged = transformer.flagged(rows)["CT"].to_numpy()
        np.testing.assert_array_equal(after[flagged], before[flagged])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("member", [name for name in MEMBERS if name != "zscore"])
@pytest.mark.parametrize("policy", ["single", "small", "unseen", "unseen_level", "confounded"])
def test_every_policy_can_be_to_stop(policy: str, member: str) -> None:
    spoil = {
        "single": fact("batch.CT", "d", slice(0, 1)),
        "small": fact("batch.CT", "d", slice(0, 2)),
        "confounded": CASES["categorical covariate that is the batch"][0],
    }.get(policy, lambda rows: rows)
    train = spoil(good_rows())
    fresh = good_rows().iloc[:3].assign(**{"@batch.CT": "new"} if policy == "unseen" else {"@sex": "X"})
    settings = MEMBERS[member] | {"protect": ["sex"], policy: "refuse"}
    transformer = Harmonizer.choose({"method": member, **settings}).build()
    with pytest.raises((ConfigError, DataError)) as error:
        transformer.fit(train).transform(fresh)
    assert error.value.hint


@pytest.mark.parametrize("member", ["combat", "combat_gam", "covbat"])
def test_a_reference_of_one_row_or_none_is_refused(member: str) -> None:
    rows = fact("batch.CT", "d", slice(0, 1))(good_rows())
    for label in ("d", "nowhere"):
        config = Harmonizer.choose({"method": member, **MEMBERS[member], "reference_batch": {"CT": label}})
        with pytest.raises(DataError, match=f"the reference batch '{label}' has"):
            config.build().fit(rows)


@pytest.mark.parametrize("member", MEMBERS)
def test_new_rows_are_harmonised_by_name_in_any_order_and_with_some_batches_only(member: str) -> None:
    """neuroCombatFromTraining fails on NumPy 2, and where it runs it forgets the names of the batches."""
    transformer = Harmonizer.choose({"method": member, **MEMBERS[member]}).build()
    rows = good_rows()
    whole = transformer.fit(rows).transform(rows)
    some = rows.iloc[[59, 3, 45]]
    pd.testing.assert_frame_equal(transformer.transform(some), whole.iloc[[59, 3, 45]], check_exact=True)


def test_rows_shuffled_against_their_facts_are_refused() -> None:
    rows = good_rows()
    facts = rows[["@batch.CT"]].rename(columns={"@batch.CT": "batch.CT"})
    with pytest.raises(CohortError, match="do not agree in subject or order"):
        FeatureTable(rows.iloc[::-1].filter(regex="^CT"), facts)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_covariate_is_protected_by_name_or_not_at_all(member: str) -> None:
    """A setting that no method has, such as the non-parametric prior that underflows, is an error and not ignored."""
    with pytest.raises((ValueError, ValidationError), match="unknown setting"):
        Harmonizer.choose({"method": member, "parametric": False})


@pytest.mark.parametrize("member", MEMBERS)
def test_an_offset_costs_no_digits_as_a_cast_to_float32_would(member: str) -> None:
    transformer = Harmonizer.choose({"method": member, **MEMBERS[member]}).build()
    rows = good_rows()
    plain = transformer.fit_transform(rows).iloc[:, :50].to_numpy(float)
    moved = rows.copy()
    moved.iloc[:, :50] += 1e6
    again = transformer.fit_transform(moved).iloc[:, :50].to_numpy(float) - 1e6
    np.testing.assert_allclose(again, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("member", MEMBERS)
def test_what_is_no_table_is_refused(member: str) -> None:
    transformer = Harmonizer.choose({"method": member, **MEMBERS[member]}).build()
    with pytest.raises(DataError, match="expected the rows of a FeatureTable, found ndarray"):
        transformer.fit(np.zeros((4, 4)))
    rows = good_rows()
    with pytest.raises((ConfigError, DataError)):
        transformer.fit(rows).transform(rows.drop(columns="CT.F3"))
