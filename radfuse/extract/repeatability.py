"""What the measurements of perturbed patients say about each feature."""

import numpy as np
import pandas as pd

from radfuse.data.names import FeatureName
from radfuse.data.repeatability import Kind, agreement, stacked

# Koo & Li 2016, J Chiropr Med 15:155, doi:10.1016/j.jcm.2016.02.012: judged by the interval, so by its lower end.
VERDICTS = {"excellent": 0.9, "good": 0.75, "moderate": 0.5, "poor": -np.inf}
UNKNOWN = "unknown"
COLUMNS = ["feature", "subjects", "perturbations", "icc", "low", "high", "verdict"]


def icc_table(perturbed: pd.DataFrame, kind: Kind = "2,1", confidence: float = 0.95) -> pd.DataFrame:
    """Give each feature's intraclass correlation over the perturbed measurements, its interval, and a verdict.

    Parameters
    ----------
    perturbed : features, indexed by subject and perturbation; number 0, the unperturbed measurement, is left out: it
        alone was not interpolated anew.
    kind, confidence : as for `radfuse.data.repeatability.agreement`.

    Returns
    -------
    One row per feature: feature, subjects (without a gap), perturbations, icc, low, high, verdict: the word of Koo &
    Li for the lower end of the interval; ``unknown`` where there is none.
    """
    columns = list(perturbed.columns)
    values, _ = stacked(perturbed, columns)
    found = agreement(values, kind, confidence)
    table = pd.DataFrame(
        {
            "feature": columns,
            "subjects": found.subjects,
            "perturbations": values.shape[1],
            "icc": found.icc,
            "low": found.low,
            "high": found.high,
            "verdict": [verdict(low) for low in found.low],
        }
    )
    return table[COLUMNS]


def verdict(low: float) -> str:
    """Give the word for the lower end of an interval.

    Examples
    --------
    >>> verdict(0.8), verdict(float("nan"))
    ('good', 'unknown')
    """
    if not np.isfinite(low):
        return UNKNOWN
    return next(word for word, least in VERDICTS.items() if low >= least)


def verdict_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Count the verdicts of `icc_table` by modality and feature class, in the order of the table.

    Returns
    -------
    Index modality and class; columns ``features`` and the verdicts.
    """
    names = [FeatureName.parse(feature) for feature in table["feature"]]
    keys = pd.DataFrame({"modality": [n.modality for n in names], "class": [n.feature_class for n in names]})
    words = [*VERDICTS, UNKNOWN]
    marks = pd.DataFrame({word: (table["verdict"] == word).to_numpy().astype(int) for word in words})
    counts = pd.concat([keys, marks], axis=1).groupby(["modality", "class"], sort=False).sum()
    counts.insert(0, "features", counts.sum(axis=1))
    return counts
