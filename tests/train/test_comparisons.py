"""Comparisons of arms: each test against its oracle, and which of them are made."""

import numpy as np
import pandas as pd
import pytest
from conftest import scored
from scipy.stats import ttest_rel

from radfuse.data.predictions import Predictions
from radfuse.train.comparisons import (
    BASELINES,
    FAMILY,
    comparison_table,
    fold_auc,
    highest,
    planned,
    sources,
    validating_share,
)
from radfuse.train.scores import Bootstrap, compare
from radfuse.train.statistics import DeLong, corrected_resampled_t, holm

ARMS = {
    "single-CT-logistic": ("single", "CT", "logistic", 0.8),
    "single-PET-logistic": ("single", "PET", "logistic", 0.5),
    "single-CT-lda": ("single", "CT", "lda", 0.6),
    "image-fused-average-CT_PET-logistic": ("image", "fused-average-CT_PET", "logistic", 1.0),
    "image-fused-maximum-CT_PET-logistic": ("image", "fused-maximum-CT_PET", "logistic", 0.1),
    "early-logistic": ("early", "CT+PET", "logistic", 1.6),
    "late-lda": ("late", "CT+PET", "lda", 0.9),
    "intermediate": ("intermediate", "CT+PET", "network", 1.0),
    "baseline-volume": ("baseline", "CT", "logistic", 0.4),
}


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    """Nine arms of 30 subjects, of whom 12 have the event; 2 repeats of 3 folds."""
    rng = np.random.default_rng(2)
    outcome = (np.arange(30) % 5 < 2).astype(int)
    shared, folds = rng.normal(size=30), [(np.arange(30) // 2 + repeat) % 3 for repeat in range(2)]
    return scored(ARMS, outcome, folds, lambda signal: signal * outcome + shared + rng.normal(size=30))


@pytest.fixture(scope="module")
def table(predictions: Predictions) -> pd.DataFrame:
    return comparison_table(predictions, Bootstrap(predictions, 300, 0.95, 0), "logistic")


def test_corrected_t_worked_by_hand():
    # The example of the differences with mean 0.02 and standard deviation 0.08 over 50 folds, n_test / n_train = 1/4:
    # t = 0.02 / sqrt((1/50 + 1/4) 0.0064) = 0.4811 with 49 degrees of freedom, p = 0.633.
    raw = np.random.default_rng(0).normal(size=50)
    differences = 0.02 + 0.08 * (raw - raw.mean()) / raw.std(ddof=1)
    error, t, p = corrected_resampled_t(differences, 0.25)
    assert error == pytest.approx((0.27 * 0.0064) ** 0.5)
    assert (t, p) == (pytest.approx(0.4811, abs=5e-5), pytest.approx(0.633, abs=5e-4))


def test_without_shared_training_rows_it_is_the_paired_t_test():
    first, second = np.random.default_rng(1).normal(size=(2, 9))
    _, t, p = corrected_resampled_t(first - second, 0.0)
    found = ttest_rel(first, second)
    assert (t, p) == (pytest.approx(found.statistic), pytest.approx(found.pvalue))


@pytest.mark.parametrize(
    ("differences", "expected"),
    [([0.1], (np.nan,) * 3), ([0.0, 0.0, np.nan], (0.0, 0.0, 1.0)), ([0.5, 0.5], (0.0, np.inf, 0.0))],
)
def test_corrected_t_where_there_is_nothing_to_test(differences: list[float], expected: tuple[float, ...]):
    assert corrected_resampled_t(np.array(differences), 0.25) == pytest.approx(expected, nan_ok=True)


def test_holm_worked_by_hand():
    # Sorted .01 .03 .04 .2: times 4, 3, 2, 1, and never below the one before: .04 .09 .09 .2.
    assert holm(np.array([0.04, 0.2, 0.01, 0.03])) == pytest.approx([0.09, 0.2, 0.04, 0.09])
    assert holm(np.array([0.7, np.nan, 0.6])) == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)


def test_every_level_meets_its_own_modalities_with_its_own_classifier(predictions):
    made = list(planned(predictions, "logistic"))
    assert [pair[:2] for pair in made if pair[2] == FAMILY] == [
        ("early-logistic", "single-CT-logistic"), ("early-logistic", "single-PET-logistic"),
        ("late-lda", "single-CT-lda"),
        ("intermediate", "single-CT-logistic"), ("intermediate", "single-PET-logistic"),
    ]  # fmt: skip
    assert {pair[0] for pair in made if pair[2] == BASELINES} == {"early-logistic", "late-lda", "intermediate"}
    images = [pair for pair in made if "image" in pair[2]]
    best = highest(predictions, [arm for arm in ARMS if arm.startswith("image")])
    assert images == [(best, f"single-{m}-logistic", "best of 2 images against single") for m in ("CT", "PET")]


def test_sources_of_an_arm():
    assert sources("fused-average-CT_PET+clinical", ["CT", "PET", "MR", "clinical"]) == ["CT", "PET", "clinical"]


def test_a_row_is_what_the_single_comparison_says(predictions, table):
    alone = compare(predictions, "early-logistic", "single-PET-logistic", Bootstrap(predictions, 300, 0.95, 0))
    row = table.set_index(["arm", "against"]).loc[("early-logistic", "single-PET-logistic")]
    for name in ("auc", "auc_against", "difference", "ci_low", "ci_high", "p", "visible"):
        assert row[name] == alone[name], name


def test_the_fold_test_uses_every_fold(predictions, table):
    first, second = (predictions.of(name) for name in ("early-logistic", "single-CT-logistic"))
    gaps = fold_auc(first) - fold_auc(second)
    assert len(gaps) == 6
    assert validating_share(first) == pytest.approx(10 / 20)
    row = table.set_index(["arm", "against"]).loc[("early-logistic", "single-CT-logistic")]
    assert row["difference"] == pytest.approx(gaps.mean(), abs=1e-12)
    assert row["corrected_t"] == pytest.approx(gaps.mean() / ((1 / 6 + 0.5) * gaps.var()) ** 0.5)


def test_holm_covers_the_family_and_nothing_else(table):
    family = table["family"] == FAMILY
    assert table.loc[family, "p_holm"].to_numpy() == pytest.approx(holm(table.loc[family, "p"].to_numpy()))
    assert (table.loc[family, "corrected_p_holm"] >= table.loc[family, "corrected_p"]).all()
    assert table.loc[~family, ["p_holm", "corrected_p_holm"]].isna().all(axis=None)


def test_delong_is_of_mean_scores_and_silent_where_a_patient_has_several_rows(predictions, table):
    pair = ["early-logistic", "single-CT-logistic"]
    means = [predictions.of(name).groupby("subject")["score"].mean().to_numpy() for name in pair]
    outcome = predictions.of(pair[0]).groupby("subject")["outcome"].first().to_numpy()
    delong = DeLong.of(outcome, *means)
    row = table.set_index(["arm", "against"]).loc[tuple(pair)]
    assert row["delong_difference"] == pytest.approx(delong.auc[0] - delong.auc[1])
    assert row["delong_p"] == pytest.approx(delong.difference()[2])
    together = Predictions(predictions.rows.assign(group=predictions.rows["subject"].str[:2]))
    found = comparison_table(together, Bootstrap(together, 20, 0.95, 0), "logistic")
    assert found["delong_p"].isna().all()
    assert found["delong_difference"].notna().all()


def test_nothing_to_compare_gives_the_columns_alone(predictions):
    lone = Predictions(predictions.of("single-CT-logistic"))
    found = comparison_table(lone, Bootstrap(lone, 20, 0.95, 0), "logistic")
    assert len(found) == 0
    assert list(found.columns)[:3] == ["arm", "against", "family"]
