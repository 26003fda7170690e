"""What modalities share, against hand-worked matrices and against formulas written another way."""

import itertools
import time

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from radfuse.data.table import FeatureTable
from radfuse.train.shared_information import (
    shared_classes,
    shared_information,
    similarity,
    standardised,
    u_centred,
    without_diagonal,
)


def table_of(group: list[str] | None = None, **blocks: np.ndarray) -> FeatureTable:
    n = len(next(iter(blocks.values())))
    index = pd.Index([f"s{i:04d}" for i in range(n)], name="subject")
    classes = ("firstorder", "glcm")
    parts = [
        pd.DataFrame(block, index, [f"{name}.original_{classes[k % 2]}_F{k}" for k in range(block.shape[1])])
        for name, block in blocks.items()
    ]
    facts = pd.DataFrame(index=index) if group is None else pd.DataFrame({"group": group}, index=index)
    return FeatureTable(pd.concat(parts, axis=1), facts)


def unbiased_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Song et al. 2012, equation 5, as printed."""
    n = len(k)
    k, m, one = k - np.diag(np.diag(k)), m - np.diag(np.diag(m)), np.ones(len(k))
    whole = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * one @ k @ m @ one
    return float(whole / (n * (n - 3)))


def hsic_of_quadruples(k: np.ndarray, m: np.ndarray) -> float:
    """The U-statistic that it is, as a mean over all quadruples of different subjects (Gretton et al. 2005)."""
    values = [
        k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in itertools.permutations(range(len(k)), 4)
    ]  # fmt: skip
    return float(np.mean(values))


def test_debiased_cka_is_that_of_song_and_of_all_quadruples(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 5))
    y[:, 0] += 2 * x[:, 0]
    k, m = x @ x.T, y @ y.T
    found, _ = similarity(u_centred(k), u_centred(m))
    for hsic in (unbiased_hsic, hsic_of_quadruples):
        assert found == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)), abs=1e-12)


def test_u_centring_worked_by_hand() -> None:
    """Off the diagonal: 1 2 3 / 1 4 5 / 2 4 6 / 3 5 6; row sums 6 10 12 14; total 42."""
    gram = np.array([[9.0, 1, 2, 3], [1, 9, 4, 5], [2, 4, 9, 6], [3, 5, 6, 9]])
    # 1 - (6 + 10) / 2 + 42 / 6 = 0, 2 - (6 + 12) / 2 + 7 = 0, 3 - (6 + 14) / 2 + 7 = 0: all are 0.
    np.testing.assert_allclose(u_centred(gram), np.zeros((4, 4)), atol=1e-12)
    gram[0, 1] = gram[1, 0] = 4.0  # sums 9 13 12 14, total 48: 4 - 22 / 2 + 8 = 1, 2 - 21 / 2 + 8 = -1 / 2
    found = u_centred(gram)
    assert (found[0, 1], found[0, 2], found[2, 3]) == pytest.approx((1.0, -0.5, 1.0))


def test_the_modified_rv_worked_by_hand_and_by_its_printed_formula(rng: np.random.Generator) -> None:
    one, other = np.array([[5.0, 1, 0], [1, 5, 2], [0, 2, 5]]), np.array([[7.0, 3, 1], [3, 7, 0], [1, 0, 7]])
    # off the diagonal, each twice: 1 * 3 + 0 * 1 + 2 * 0 = 3 over sqrt((1 + 0 + 4) (9 + 1 + 0)) = sqrt 50
    assert similarity(without_diagonal(one), without_diagonal(other))[0] == pytest.approx(3 / 50**0.5)
    x, y = (standardised(pd.DataFrame(rng.normal(size=(10, 4)))) for _ in range(2))
    bare = [g - np.diag(np.diag(g)) for g in (x @ x.T, y @ y.T)]
    vectors = [b.reshape(-1) for b in bare]
    expected = vectors[0] @ vectors[1] / np.sqrt((vectors[0] @ vectors[0]) * (vectors[1] @ vectors[1]))
    found = shared_information(table_of(CT=x, PET=y), 0, permutations=9).iloc[0]
    assert found["rv"] == pytest.approx(expected)


def test_rotated_and_scaled_copies_share_all(rng: np.random.Generator) -> None:
    x = standardised(pd.DataFrame(rng.normal(size=(20, 6))))
    turned = 3.0 * x @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    for bare in (u_centred, without_diagonal):
        assert similarity(bare(x @ x.T), bare(turned @ turned.T))[0] == pytest.approx(1.0)
    found = shared_information(table_of(CT=x, PET=x * 4 + 1), 0, permutations=99).iloc[0]
    assert (found["cka"], found["rv"], found["cka_p"], found["rv_p"]) == pytest.approx((1.0, 1.0, 0.01, 0.01))


def test_independent_noise_shares_nothing_although_features_outnumber_subjects() -> None:
    """The plain RV of such noise is 0.95; debiased CKA is 0 within its standard error, and p is uniform."""
    found = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        found.append(shared_information(table_of(CT=rng.normal(size=(15, 90)), PET=rng.normal(size=(15, 90))), 0, 19))
    table = pd.concat(found)
    assert abs(table["cka"].mean()) < 3 * table["cka"].std() / 50**0.5
    assert abs((table["rv"] - table["rv_chance"]).mean()) < 3 * table["rv"].std() / 50**0.5
    assert 0.4 < table["cka_p"].mean() < 0.6
    assert (table["cka_p"] <= 0.05).mean() < 0.15


def test_a_common_source_is_found_and_the_smallest_p_is_one_in_permutations() -> None:
    rng = np.random.default_rng(3)
    source = rng.normal(size=(39, 1))
    blocks = {name: source + rng.normal(size=(39, 1000)) for name in ("CT", "PET")}
    table, began = table_of(**blocks), time.perf_counter()
    found, classes = shared_information(table, 0).iloc[0], shared_classes(table, 0)
    assert time.perf_counter() - began < 10  # 0.5 s on two idle cores
    assert found["cka"] > 0.8
    assert found["cka_p"] == 1 / 1000
    assert (classes["correlation"] > 2 * classes["chance"]).all()


def test_shape_constants_and_subjects_without_a_modality_take_no_part(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(12, 4)), rng.normal(size=(12, 3))
    plain = table_of(CT=x, PET=y)
    values = plain.values.assign(**{
        "CT.original_shape_MeshVolume": np.arange(12.0), "PET.original_shape_MeshVolume": np.arange(12.0),
        "PET.original_glcm_Constant": 1.0,
    })  # fmt: skip
    more = pd.DataFrame(np.nan, index=["t1", "t2"], columns=values.columns)
    more.loc["t1", list(plain.values.filter(like="CT."))] = 1.0
    index = pd.Index([*values.index, "t1", "t2"], name="subject")
    wide = FeatureTable(pd.concat([values, more]).set_axis(index), pd.DataFrame(index=index))
    found = shared_information(wide, 0, 9)
    pd.testing.assert_frame_equal(found, shared_information(plain, 0, 9))
    assert found.loc[0, ["n", "features_one", "features_other"]].tolist() == [12, 4, 3]
    pd.testing.assert_frame_equal(shared_classes(wide, 0), shared_classes(plain, 0))


def test_groups_are_shuffled_whole(rng: np.random.Generator) -> None:
    """Six patients measured five times: within a patient everything is alike, which proves nothing."""
    group = [f"g{i // 5}" for i in range(30)]
    ct, pet = (np.repeat(rng.normal(size=(6, 20)), 5, axis=0) + 0.01 * rng.normal(size=(30, 20)) for _ in range(2))
    alone = shared_information(table_of(CT=ct, PET=pet), 0, 99).iloc[0]
    grouped = shared_information(table_of(group, CT=ct, PET=pet), 0, 99).iloc[0]
    assert alone["cka_p"] == 0.01 or alone["rv_p"] == 0.01
    assert grouped["rv_p"] > 0.05


def test_class_correlations_are_the_mean_of_spearmans(rng: np.random.Generator) -> None:
    from scipy.stats import spearmanr

    x, y = rng.normal(size=(15, 4)), np.exp(rng.normal(size=(15, 2)))
    x[3, 1] = x[4, 1]  # a tie
    found = shared_classes(table_of(CT=x, PET=y), 0).set_index(["class_one", "class_other"])["correlation"]
    for kind, columns in {"firstorder": (0, 2), "glcm": (1, 3)}.items():
        for beside, column in {"firstorder": 0, "glcm": 1}.items():
            expected = np.mean([abs(spearmanr(x[:, k], y[:, column]).statistic) for k in columns])
            assert found[kind, beside] == pytest.approx(expected)


def test_a_large_cohort_is_sampled_and_a_tiny_one_left_out(rng: np.random.Generator) -> None:
    large = table_of(CT=rng.normal(size=(600, 2)), PET=rng.normal(size=(600, 2)))
    assert shared_information(large, 0, 3)["n"].tolist() == [500]
    tiny = table_of(CT=rng.normal(size=(4, 2)), PET=rng.normal(size=(4, 2)))
    assert shared_information(tiny, 0).empty
    assert shared_classes(tiny, 0).empty
    assert shared_information(table_of(CT=rng.normal(size=(9, 2))), 0).empty


def test_the_number_of_threads_changes_no_digit():
    rng = np.random.default_rng(0)
    blocks = {f"M{place}": rng.normal(size=(51 + place, 1200))[:51] for place in range(4)}
    table = table_of(**blocks)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append((shared_information(table, 0, permutations=5), shared_classes(table, 0)))
    assert len(found[0][0]) == 6
    for one, other in zip(*found, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
