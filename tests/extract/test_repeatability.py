"""Agreement of repeated measurements."""

import numpy as np
import pytest

from radfuse.extract.repeatability import icc_agreement

# Shrout & Fleiss, Psychol Bull 86:420 (1979), table 2: six subjects, four judges; ICC(2,1) = .29.
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)


def test_the_published_example():
    # From the mean squares of their table 3: BMS 11.24, JMS 32.49, EMS 1.02.
    expected = (11.24 - 1.02) / (11.24 + 3 * 1.02 + 4 * (32.49 - 1.02) / 6)
    assert icc_agreement(JUDGES[:, :, None])[0] == pytest.approx(expected, abs=2e-3)


def test_equal_measurements_agree_wholly_and_a_shift_costs():
    rng = np.random.default_rng(0)
    once = rng.normal(size=(30, 5))
    assert icc_agreement(np.stack([once, once], axis=1)) == pytest.approx(np.ones(5))
    shifted = icc_agreement(np.stack([once, once + 1], axis=1))
    assert (shifted < 0.8).all()


def test_large_offsets_lose_no_digits():
    rng = np.random.default_rng(1)
    pair = np.stack([(once := rng.normal(size=(30, 3))), once + 0.1 * rng.normal(size=(30, 3))], axis=1)
    assert icc_agreement(pair + 1e7) == pytest.approx(icc_agreement(pair), rel=1e-6)


def test_a_missing_value_leaves_its_subject_out_of_that_feature():
    values = np.stack([JUDGES, JUDGES], axis=2)
    values[2, 1, 1] = np.nan
    found = icc_agreement(values)
    assert found[0] == icc_agreement(JUDGES[:, :, None])[0]
    assert found[1] == pytest.approx(icc_agreement(np.delete(JUDGES, 2, axis=0)[:, :, None])[0])


def test_nothing_to_compare_is_no_number():
    assert np.isnan(icc_agreement(JUDGES[:1, :, None])).all()
    assert np.isnan(icc_agreement(np.ones((5, 2, 1)))).all()
