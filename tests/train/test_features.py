"""Rows taken apart into one matrix and their context, and put together again."""

import numpy as np
import pandas as pd
import pytest

from radfuse.data.table import places_by_modality
from radfuse.train.steps.features import features_of


@pytest.fixture
def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {"CT.a": [1.0, 2.0], "@age": [50, 60], "PET.a": [3.0, 4.0], "CT:rim.a": [5.0, 6.0], "@batch.CT": ["x", "y"]},
        index=["A", "B"],
    )


def test_features_come_first_and_the_context_keeps_its_types(rows):
    names, values, context = features_of(rows)
    assert names.tolist() == ["CT.a", "PET.a", "CT:rim.a"]
    assert values.tolist() == [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]
    expected = rows[["CT.a", "PET.a", "CT:rim.a", "@age", "@batch.CT"]]
    pd.testing.assert_frame_equal(features_of(rows).together(), expected)
    assert context.columns.tolist() == ["@age", "@batch.CT"]


@pytest.mark.parametrize("wanted", [["CT.a"], ["CT:rim.a", "CT.a"], ["PET.a", "CT:rim.a"], []])
def test_the_features_wanted_come_in_their_order(rows, wanted):
    found = features_of(rows, wanted)
    assert found.names.tolist() == wanted
    np.testing.assert_array_equal(found.values, rows[wanted].to_numpy(dtype=float))


def test_a_feature_that_is_not_there_is_named(rows):
    with pytest.raises(KeyError, match=r"MR\.a"):
        features_of(rows, ["CT.a", "MR.a"])


def test_the_regions_of_a_modality_are_its_own():
    found = places_by_modality(["CT:rim.a", "PET.a", "CT.a", "fused-x-CT_PET.a", "CT:rim.b"])
    assert {name: places.tolist() for name, places in found.items()} == {
        "CT": [0, 2, 4],
        "PET": [1],
        "fused-x-CT_PET": [3],
    }
