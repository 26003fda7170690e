"""Decision curves: what acting on a model is worth, beside acting on everyone and on nobody."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from radfuse.data.predictions import Predictions
from radfuse.train.scores import Bootstrap
from radfuse.train.statistics import percentile_interval

DECISION = "decision"
THRESHOLDS = tuple(round(0.05 + 0.01 * step, 2) for step in range(56))
COLUMNS = ("arm", "threshold", "net_benefit", "ci_low", "ci_high", "treat_all")


def decision_table(
    predictions: Predictions, arms: Sequence[str], bootstrap: Bootstrap, thresholds: Sequence[float] = THRESHOLDS
) -> pd.DataFrame:
    """Give the net benefit of each arm at each threshold, with the columns of ``COLUMNS``; treating nobody is worth 0.

    ``TP / n - FP / n * t / (1 - t)``, a patient being treated where the probability is ``t`` or more [Vickers & Elkin
    2006, doi:10.1177/0272989X06295361, eq. 2]. Counted over all repeats, in each of which every patient is scored
    once by a model that did not see him. The interval is of resampled patients.

    Parameters
    ----------
    arms : such as give probabilities.
    thresholds : above 0 and below 1.
    """
    found = []
    odds = np.array([threshold / (1 - threshold) for threshold in thresholds])
    for arm in arms:
        rows = predictions.of(arm).reset_index(drop=True)
        event = rows["outcome"].to_numpy(dtype=float)[:, None]
        treated = rows["score"].to_numpy(dtype=float)[:, None] >= np.array(thresholds)
        count = bootstrap.total(rows, np.ones((len(rows), 1)))
        benefit = bootstrap.total(rows, treated * event - treated * (1 - event) * odds) / count
        everyone = bootstrap.total(rows, event - (1 - event) * odds)[0] / count[0]
        for place, threshold in enumerate(thresholds):
            low, high = percentile_interval(benefit[1:, place], bootstrap.confidence)
            found.append((arm, threshold, benefit[0, place], low, high, everyone[place]))
    return pd.DataFrame(found, columns=list(COLUMNS))
