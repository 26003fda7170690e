"""The stage: the whole table, missing values kept missing."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, DataError
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.nested_combat import NestedCombat
from radfuse.harmonize.stage import Harmonize


@pytest.fixture
def table(rng: np.random.Generator) -> FeatureTable:
    ids = pd.Index([f"S{place:02d}" for place in range(40)], name="subject")
    site = np.array(["a", "b"])[np.arange(40) % 2]
    values = pd.DataFrame(rng.normal(0, 1, (40, 10)), index=ids)
    values.columns = [f"{'CT' if place < 5 else 'MR'}.F{place % 5}" for place in range(10)]
    values += 3.0 * (site == "b")[:, None]
    subjects = pd.DataFrame({"outcome": np.arange(40) // 20, "batch.CT": site, "batch.MR": site}, index=ids)
    return FeatureTable(values, subjects)


def test_missing_values_stay_missing_and_are_counted(table: FeatureTable) -> None:
    values = table.values.copy()
    values.loc["S03", "CT.F1"] = np.nan
    values.loc["S05", [f"MR.F{place}" for place in range(5)]] = np.nan
    values["CT.F4"] = np.nan
    result = Harmonize()(table.with_values(values))
    assert result.table.values.isna().equals(values.isna())
    assert result.diagnostics["CT"]["report"]["imputed_cells"] == 41
    report = result.diagnostics["MR"]["report"]
    assert (report["rows_lacking"], report["subjects_passed"]) == (1, [])
    assert "1 rows lack the modality and take no part in it" in report["flags"]
    assert sum(result.diagnostics["MR"]["batches"].values()) == 39
    without = Harmonize()(table.take(table.values.index.drop("S05")))
    others = result.table.values.drop(index="S05").filter(like="MR.")
    pd.testing.assert_frame_equal(others, without.table.values.filter(like="MR."))


def test_the_transformer_takes_new_rows_that_lack_nothing(table: FeatureTable) -> None:
    """A modality that someone lacked in fitting adds a flag to the rows; new rows need none."""
    values = table.values.copy()
    values.loc["S05", [f"MR.F{place}" for place in range(5)]] = np.nan
    result = Harmonize()(table.with_values(values))
    fresh = table.rows().drop(index="S05")
    again = result.transformer.transform(fresh)[list(values.columns)]
    pd.testing.assert_frame_equal(again, result.table.values.drop(index="S05"), check_exact=True)
    moved = fresh[[*reversed(fresh.columns[:10]), *fresh.columns[10:]]]
    with pytest.raises(DataError, match=r"0 missing .*, 0 new .*, or another order"):
        result.transformer.transform(moved)


def test_a_missing_modality_takes_no_part_in_further_variables(table: FeatureTable) -> None:
    values = table.values.copy()
    gone = table.values.index[1:20:2]
    values.loc[gone, [f"MR.F{place}" for place in range(5)]] = np.nan
    facts = table.subjects.assign(kernel=table.subjects["batch.MR"], **{"batch.MR": "x"})
    stage = Harmonize(harmonizer=NestedCombat(then={"MR": ("kernel",)}))
    result = stage(FeatureTable(values, facts))
    without = stage(FeatureTable(values, facts).take(values.index.drop(gone)))
    others = result.table.values.drop(index=gone).filter(like="MR.")
    pd.testing.assert_frame_equal(others, without.table.values.filter(like="MR."), check_exact=True)
    assert result.diagnostics["MR"]["others"] == without.diagnostics["MR"]["others"]


def test_the_transformer_repeats_the_table(table: FeatureTable) -> None:
    result = Harmonize()(table)
    again = result.transformer.transform(table.rows())[list(table.values.columns)]
    pd.testing.assert_frame_equal(again, result.table.values, check_exact=True)
    assert result.table.subjects is table.subjects


def test_gives_the_same_twice(table: FeatureTable) -> None:
    first, second = Harmonize()(table), Harmonize()(table)
    assert first.diagnostics == second.diagnostics
    pd.testing.assert_frame_equal(first.table.values, second.table.values, check_exact=True)


def test_none_is_diagnosed_too(table: FeatureTable) -> None:
    result = Harmonize.model_validate({"harmonizer": "none"})(table)
    found = result.diagnostics["CT"]
    assert found["kruskal"]["before"] == found["kruskal"]["after"] == 1.0
    pd.testing.assert_frame_equal(result.table.values, table.values, check_exact=True)


def test_a_table_without_outcome_or_batches_is_fine(table: FeatureTable) -> None:
    bare = FeatureTable(table.values, table.subjects[[]])
    result = Harmonize()(bare)
    assert result.diagnostics == {}
    pd.testing.assert_frame_equal(result.table.values, table.values, check_exact=True)


def test_infinite_values_are_refused(table: FeatureTable) -> None:
    values = table.values.copy()
    values.iloc[3, 2] = np.inf
    with pytest.raises(DataError, match=r"1 features hold an infinite value, such as CT\.F2"):
        Harmonize()(table.with_values(values))


def test_a_reference_for_an_unknown_modality_is_refused(table: FeatureTable) -> None:
    with pytest.raises(ConfigError, match="names PT, which the table lacks; found CT, MR"):
        Harmonize(harmonizer=ComBat(reference_batch={"PT": "a"}))(table)
    with pytest.raises(ConfigError, match=r"harmonizer\.then names PT, which the table lacks"):
        Harmonize(harmonizer=NestedCombat(then={"PT": ("kernel",)}))(table)


def test_the_outcome_cannot_be_protected_under_another_name(table: FeatureTable) -> None:
    renamed = FeatureTable(table.values, table.subjects.assign(event=table.subjects["outcome"]))
    with pytest.raises(ConfigError, match="'event' is the outcome under another name"):
        Harmonize(harmonizer=ComBat(protect=("event",)))(renamed)


def test_naming_a_method_stays_light() -> None:
    code = (
        "import sys; from radfuse.harmonize.stage import Harmonize; Harmonize.model_validate({'harmonizer': 'combat'});"
        "sys.exit(bool({'sklearn', 'scipy', 'numba', 'neuroCombat', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_method_or_setting_is_named() -> None:
    with pytest.raises(ValidationError, match="did you mean 'combat'"):
        Harmonize.model_validate({"harmonizer": "kombat"})
    with pytest.raises(ValidationError, match="did you mean 'protect'"):
        Harmonize.model_validate({"harmonizer": {"method": "combat", "protekt": ["age_years"]}})
