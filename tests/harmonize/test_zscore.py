"""Z-score per batch, against scipy."""

import numpy as np
import pandas as pd
from scipy import stats

from radfuse.harmonize.zscore import ZScore


def test_every_batch_has_one_mean_and_one_spread_and_scipys_z_scores() -> None:
    rng = np.random.default_rng(2)
    batch = np.repeat(["a", "b", "c"], [20, 12, 7])
    values = rng.normal(5, 1, (39, 6)) * np.where(batch == "b", 4.0, 1.0)[:, None] + 10.0 * (batch == "c")[:, None]
    rows = pd.DataFrame(values, columns=[f"CT.F{place}" for place in range(6)]).assign(**{"@batch.CT": batch})
    out = ZScore().build().fit_transform(rows).iloc[:, :6].to_numpy(float)
    within = np.sqrt(sum(((values[batch == b] - values[batch == b].mean(0)) ** 2).sum(0) for b in "abc") / 39)
    for name in "abc":
        own = batch == name
        z = stats.zscore(values[own], axis=0, ddof=1)
        np.testing.assert_allclose(out[own], values.mean(axis=0) + within * z, rtol=1e-12)


def test_a_row_of_a_new_batch_stays_comparable_and_small_batches_follow_the_policy() -> None:
    rng = np.random.default_rng(2)
    batch = np.repeat(["a", "b", "c", "d"], [20, 12, 3, 1])
    rows = pd.DataFrame(rng.normal(100, 5, (36, 4)), columns=[f"CT.F{place}" for place in range(4)])
    rows = rows.assign(**{"@batch.CT": batch})
    transformer = ZScore().build().fit(rows)
    treated = {label: done["treatment"] for label, done in transformer.report_["CT"]["batches"].items()}
    assert treated == {"a": "shift and scale", "b": "shift and scale", "c": "shift only", "d": "left as it is"}
    out = transformer.transform(rows.assign(**{"@batch.CT": "new"}))
    pd.testing.assert_frame_equal(out.iloc[:, :4], rows.iloc[:, :4], check_exact=True)
    assert transformer.flagged(rows)["CT"].sum() == 1
