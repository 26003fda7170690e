"""Agreement of repeated measurements."""

import numpy as np
import pandas as pd
import pytest

from radfuse.data.repeatability import Kind, MeanSquares, agreement, icc_agreement, stacked
from radfuse.errors import DataError
from radfuse.extract.repeatability import icc_table, verdict, verdict_counts

# Shrout & Fleiss, Psychol Bull 86:420 (1979), table 2: six subjects, four judges.
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
# Their table 4 (.17, .29, .71), with more digits and the 95 % intervals as R's psych::ICC documents them.
PUBLISHED = {"1,1": (0.166, -0.133, 0.723), "2,1": (0.290, 0.019, 0.761), "3,1": (0.715, 0.342, 0.946)}

# Eight wines and four judges, the example of pingouin.intraclass_corr; version 0.7.0 prints these.
WINES = np.array([[1, 2, 0, 1], [1, 3, 3, 2], [3, 8, 1, 4], [6, 4, 3, 3], [6, 5, 5, 6], [7, 5, 6, 2], [8, 7, 7, 9],
                  [9, 9, 9, 8]], float)  # fmt: skip
PINGOUIN = {"1,1": (0.728, 0.43, 0.93), "2,1": (0.728, 0.43, 0.93), "3,1": (0.729, 0.43, 0.93)}
KINDS: tuple[Kind, ...] = ("1,1", "2,1", "3,1")


def test_the_published_mean_squares() -> None:
    # Table 3: BMS 11.24, WMS 6.26, JMS 32.49, EMS 1.02.
    found = MeanSquares.of(JUDGES[:, :, None])
    squares = [found.between[0], found.within[0], found.judges[0], found.residual[0]]
    assert squares == pytest.approx([11.24, 6.26, 32.49, 1.02], abs=5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_example_and_its_intervals(kind: Kind) -> None:
    found = agreement(JUDGES[:, :, None], kind)
    assert (found.icc[0], found.low[0], found.high[0]) == pytest.approx(PUBLISHED[kind], abs=6e-4)
    assert found.subjects[0] == 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_example(kind: Kind) -> None:
    found = agreement(WINES[:, :, None], kind)
    assert found.icc[0] == pytest.approx(PINGOUIN[kind][0], abs=6e-4)
    assert (found.low[0], found.high[0]) == pytest.approx(PINGOUIN[kind][1:], abs=6e-3)


def simulated(rng: np.random.Generator, kind: Kind, truth: float, n: int, k: int, features: int) -> np.ndarray:
    """Measurements whose intraclass correlation is known: variance 1 in all, so much of it between subjects."""
    subject = truth**0.5 * rng.standard_normal((n, 1, features))
    error = (1 - truth) ** 0.5 * rng.standard_normal((n, k, features))
    if kind == "2,1":  # half of the error belongs to the whole measurement
        judge = ((1 - truth) / 2) ** 0.5 * rng.standard_normal((1, k, features))
        return subject + judge + error / 2**0.5
    shift = 3.0 * np.arange(k)[None, :, None] if kind == "3,1" else 0.0
    return subject + error + shift


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("truth", [0.3, 0.8])
def test_intervals_cover_the_truth_as_often_as_they_say(kind: Kind, truth: float, rng: np.random.Generator) -> None:
    """Six thousand studies of 20 subjects: 90 % intervals within 1.5 points (exact ones: 4 standard errors)."""
    found = agreement(simulated(rng, kind, truth, 20, 6, 6000), kind, confidence=0.9)
    covered = float(((found.low <= truth) & (truth <= found.high)).mean())
    assert covered == pytest.approx(0.9, abs=0.0155 if kind != "2,1" else 0.025)
    below, above = float((truth < found.low).mean()), float((truth > found.high).mean())
    # Satterthwaite's is an approximation, a little short at the lower end with few measurements.
    assert below == pytest.approx(0.05, abs=0.012 if kind != "2,1" else 0.035)
    assert above == pytest.approx(0.05, abs=0.012 if kind != "2,1" else 0.035)
    assert np.median(found.icc) == pytest.approx(truth, abs=0.03)


def test_many_features_at_once_are_each_alone(rng: np.random.Generator) -> None:
    values = rng.normal(size=(9, 4, 30)) + 2 * rng.normal(size=(9, 1, 30))
    values[3, 1, 7] = np.nan
    together = agreement(values)
    for feature in range(30):
        alone = agreement(values[:, :, feature : feature + 1])
        for part in ("icc", "low", "high", "subjects"):
            assert getattr(together, part)[feature] == pytest.approx(getattr(alone, part)[0], rel=1e-12)
    assert together.subjects[7] == 8


def test_equal_measurements_agree_wholly_and_a_shift_costs_agreement_but_not_consistency() -> None:
    rng = np.random.default_rng(0)
    once = rng.normal(size=(30, 5))
    same = np.stack([once, once], axis=1)
    for kind in KINDS:
        found = agreement(same, kind)
        assert np.stack([found.icc, found.low, found.high]) == pytest.approx(np.ones((3, 5)))
    moved = np.stack([once, once + 1], axis=1)
    assert (icc_agreement(moved) < 0.8).all()
    assert agreement(moved, "3,1").icc == pytest.approx(np.ones(5))


def test_two_subjects_and_two_measurements_say_next_to_nothing(rng: np.random.Generator) -> None:
    found = agreement(rng.normal(size=(2, 2, 500)) + 3 * rng.normal(size=(2, 1, 500)))
    assert np.isfinite(found.low).all()
    some = found.icc > 0
    assert (found.low[some] <= found.icc[some]).all()
    assert (found.icc[some] <= found.high[some] + 1e-9).all()
    assert np.median(found.low) < 0.1


def test_large_offsets_lose_no_digits() -> None:
    rng = np.random.default_rng(1)
    pair = np.stack([(once := rng.normal(size=(30, 3))), once + 0.1 * rng.normal(size=(30, 3))], axis=1)
    for kind in KINDS:
        far, near = agreement(pair + 1e7, kind), agreement(pair, kind)
        assert np.stack([far.icc, far.low]) == pytest.approx(np.stack([near.icc, near.low]), rel=1e-6)


def test_a_missing_value_leaves_its_subject_out_of_that_feature() -> None:
    values = np.stack([JUDGES, JUDGES], axis=2)
    values[2, 1, 1] = np.nan
    found = icc_agreement(values)
    assert found[0] == icc_agreement(JUDGES[:, :, None])[0]
    assert found[1] == pytest.approx(icc_agreement(np.delete(JUDGES, 2, axis=0)[:, :, None])[0])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_compare_is_no_number(kind: Kind) -> None:
    for values in (JUDGES[:1, :, None], np.ones((5, 2, 1)), np.full((5, 2, 1), np.nan)):
        found = agreement(values, kind)
        assert np.isnan([found.icc[0], found.low[0], found.high[0]]).all()


# Tables.


def table_of(values: np.ndarray, columns: list[str]) -> pd.DataFrame:
    """(subject, perturbation, feature) with a row 0 that would spoil everything if it were looked at."""
    subjects = [f"S{i}" for i in range(len(values))]
    index = pd.MultiIndex.from_product([subjects, range(values.shape[1] + 1)], names=["subject", "perturbation"])
    spoiled = np.concatenate([np.full((len(values), 1, values.shape[2]), 1e9), values], axis=1)
    return pd.DataFrame(spoiled.reshape(-1, values.shape[2]), index=index, columns=columns)


COLUMNS = [
    "CT.original_glcm_Contrast",
    "fused-average-CT_PET.wavelet-LLH_glcm_Contrast",
    "CT.original_shape_Sphericity",
]


def test_the_table_says_icc_interval_and_verdict_of_every_feature() -> None:
    flat = np.ones_like(JUDGES)
    exact = np.repeat(JUDGES[:, :1], 4, axis=1)
    found = icc_table(table_of(np.stack([JUDGES, exact, flat], axis=2), COLUMNS)).set_index("feature")
    assert list(found.columns) == ["subjects", "perturbations", "icc", "low", "high", "verdict"]
    assert found.loc[COLUMNS[0], ["icc", "low", "high"]].tolist() == pytest.approx(PUBLISHED["2,1"], abs=6e-4)
    assert found["perturbations"].tolist() == [4, 4, 4]
    assert found["verdict"].tolist() == ["poor", "excellent", "unknown"]
    counts = verdict_counts(found.reset_index())
    assert counts.loc[("CT", "glcm")].to_dict() == {
        "features": 1, "excellent": 0, "good": 0, "moderate": 0, "poor": 1, "unknown": 0,
    }  # fmt: skip
    assert counts.loc[("fused-average-CT_PET", "glcm"), "excellent"] == 1
    assert counts.loc[("CT", "shape"), "unknown"] == 1


def test_verdicts_are_those_of_koo_and_li() -> None:
    assert [verdict(low) for low in (0.95, 0.9, 0.899, 0.75, 0.5, 0.49, -0.3)] == [
        "excellent", "excellent", "good", "good", "moderate", "poor", "poor",
    ]  # fmt: skip


def test_rows_are_stacked_by_name_and_not_by_order() -> None:
    values = np.random.default_rng(0).normal(size=(4, 3, 2))
    table = table_of(values, ["a", "b"]).sample(frac=1.0, random_state=1)
    found, subjects = stacked(table, ["b", "a"])
    assert subjects == ["S0", "S1", "S2", "S3"]
    assert np.array_equal(found, values[:, :, ::-1])


def test_a_subject_measured_less_often_is_refused() -> None:
    table = table_of(np.zeros((3, 3, 1)), ["a"]).drop(index=("S1", 2))
    with pytest.raises(DataError, match="3 subjects and 3 perturbations make 9 rows, found 8") as caught:
        stacked(table, ["a"])
    assert "radfuse stability" in caught.value.hint
