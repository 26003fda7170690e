"""Counts of repeating and constant features, against tables whose answer is known."""

import numpy as np
import pandas as pd

from radfuse.report.features import components, near_copies, standardised


def test_constant_columns_are_left_out_and_the_rest_has_mean_zero_and_deviation_one() -> None:
    table = pd.DataFrame({"CT.a": [1.0, 2.0, 3.0, 6.0], "CT.b": [5.0] * 4, "CT.c": [np.nan] * 4})
    scores = standardised(table)
    assert list(scores.columns) == ["CT.a"]
    assert abs(scores["CT.a"].mean()) < 1e-15
    assert abs(scores["CT.a"].std(ddof=0) - 1) < 1e-15


def test_a_missing_value_takes_the_median() -> None:
    scores = standardised(pd.DataFrame({"CT.a": [1.0, np.nan, 3.0, 100.0], "CT.b": [1.0, 3.0, 3.0, 100.0]}))
    np.testing.assert_allclose(scores["CT.a"], scores["CT.b"])


def test_near_copies_are_counted_once_across_blocks(rng: np.random.Generator) -> None:
    base = rng.normal(size=(60, 400))
    # Each copy is a monotone change of its original, half of them falling: the same ranks, up to the sign.
    copies = np.exp(base) * np.where(np.arange(400) % 2, 1, -1)
    assert near_copies(base) == 0
    assert near_copies(np.hstack([base, copies])) == 400  # 800 columns: the originals lie in another block of 500


def test_components_of_a_table_of_known_rank(rng: np.random.Generator) -> None:
    axes, _ = np.linalg.qr(rng.normal(size=(30, 10)))
    assert components(axes) == 9  # ten equal axes: nine hold 90 %
    assert components(np.outer(axes[:, 0], rng.normal(size=50))) == 1
