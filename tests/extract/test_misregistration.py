"""How far features move for each millimetre by which a scan lies beside its region."""

import numpy as np
import pandas as pd
import pytest

from radfuse.extract.misregistration import error_of, feature_movement
from radfuse.extract.stability import Stability

GRADIENT = np.array([3.0, 0.0, -4.0])  # of length 5


def measured(subjects: int, repeats: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A feature that follows the shift of PET in a straight line, one that does not, and one of a scan that stays."""
    names = [f"s{i:03}" for i in range(subjects)]
    rows = pd.MultiIndex.from_product([names, range(repeats + 1)], names=["subject", "perturbation"])
    shift = rng.normal(0.0, 0.8, (len(rows), 3))
    shift[rows.get_level_values(1) == 0] = 0.0
    level = np.repeat(np.arange(subjects, dtype=float), repeats + 1)
    table = pd.DataFrame(
        {
            "PET.original_firstorder_Still": level,
            "PET.original_firstorder_Mean": 10.0 * level + shift @ GRADIENT,
            "PET.original_firstorder_Same": 7.0,
            "CT.original_firstorder_Mean": level,
        },
        index=rows,
    )
    drawn = pd.DataFrame(
        np.hstack([shift, np.zeros_like(shift)]), rows, pd.MultiIndex.from_product([["PET", "CT"], list("xyz")])
    )
    return table, drawn.drop(index=0, level=1)


def test_a_straight_line_has_the_length_of_its_gradient(rng: np.random.Generator) -> None:
    table, shifts = measured(40, 30, rng)
    found = feature_movement(table, shifts).set_index("feature")
    spread = 10.0 * np.std(np.arange(40.0), ddof=1)
    moved = found.loc["PET.original_firstorder_Mean"]
    assert moved["moved_sd_per_mm"] == pytest.approx(5.0 / spread, rel=0.05)
    assert moved["moved_sd"] == pytest.approx(5.0 * 0.8 / spread, rel=0.05)
    assert moved["error_mm"] == pytest.approx(0.8 * 3**0.5, rel=0.03)
    assert moved["subjects"] == 40
    assert found.loc["PET.original_firstorder_Still", "moved_sd_per_mm"] == 0.0
    assert np.isnan(found.loc["PET.original_firstorder_Same", "moved_sd_per_mm"])
    assert "CT.original_firstorder_Mean" not in found.index  # the reference stays
    assert found.index[0] == "PET.original_firstorder_Mean"


def test_a_subject_with_a_gap_is_left_out_of_that_feature(rng: np.random.Generator) -> None:
    table, shifts = measured(12, 5, rng)
    table.loc[("s003", 2), "PET.original_firstorder_Mean"] = np.nan
    found = feature_movement(table, shifts).set_index("feature")["subjects"]
    assert found["PET.original_firstorder_Mean"] == 11
    assert found["PET.original_firstorder_Still"] == 12


def test_the_shift_told_is_the_shift_made(ct, pet, sphere) -> None:
    from radfuse.data.subject import Subject

    aligned = {"reference": "CT", "registration": {"PET": {"accepted": True, "inverse_consistency_mm": 6.0**0.5}}}
    stage = Stability.model_validate({"chain": ["alignment"]})
    assert stage.misregistration_only
    assert not Stability().misregistration_only
    x = np.indices(pet.geometry.shape)[2] * pet.geometry.spacing_mm[0]
    ramp = pet.with_array(x.astype(np.float32))
    subject = Subject("s1", {"CT": ct, "PET": ramp}, {"CT": sphere, "PET": sphere})
    drawn = []
    for number in (1, 2, 3):
        again = stage(subject, number, aligned, whole=True)
        told = stage.shift_mm("s1", number, aligned, "PET")
        moved = ramp.array[sphere.inside].mean() - again.volumes["PET"].array[sphere.inside].mean()
        assert moved == pytest.approx(told[0], abs=0.02)
        assert stage.shift_mm("s1", number, aligned, "CT") == (0.0, 0.0, 0.0)
        drawn.append(told)
    assert len(set(drawn)) == 3


def test_the_error_is_what_registering_back_told_or_assumed() -> None:
    assert error_of({"accepted": True, "inverse_consistency_mm": 3.0}) == (3.0 / 2**0.5, "inverse consistency")
    assert error_of({"accepted": False, "inverse_consistency_mm": 76.0}) == (2.0, "assumed")
    assert error_of({}) == (2.0, "assumed")
