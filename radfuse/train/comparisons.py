"""Every fusion arm against its own single modalities and the baselines, with what the number of comparisons costs.

Three tests look at each difference, because none of them is right alone. The bootstrap resamples patients and keeps the
fitted models; the corrected resampled t-test looks at the folds, whose models differ, and allows for their shared
training rows; DeLong's test takes each subject's scores averaged over the repeats for those of one model, which they
are not. Holm's correction covers one declared family: the fusion levels against the single modalities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from radfuse.data.names import fused_modalities, is_fused
from radfuse.data.predictions import Predictions
from radfuse.train.power import score_correlation, smallest_visible
from radfuse.train.scores import Bootstrap
from radfuse.train.statistics import (
    DeLong,
    bootstrap_p,
    corrected_resampled_t,
    holm,
    pair_auc,
    percentile_interval,
    within_fold_auc,
)

COMPARISONS = "comparisons"
LEVELS = ("chosen", "early", "intermediate", "late")
FAMILY = "fusion against single"
BASELINES = "fusion against baseline"
COLUMNS = (
    "arm", "against", "family", "auc", "auc_against", "difference", "ci_low", "ci_high", "p", "p_holm",
    "corrected_t", "corrected_p", "corrected_p_holm", "delong_difference", "delong_p", "visible",
)  # fmt: skip


def comparison_table(predictions: Predictions, bootstrap: Bootstrap, classifier: str) -> pd.DataFrame:
    """Give one row per comparison, with the columns of ``COLUMNS``.

    ``family`` is ``FAMILY`` (``p_holm`` and ``corrected_p_holm`` are adjusted within it, and NaN elsewhere),
    ``BASELINES``, or says of how many images the one compared is the best: its p owes something to that choice.
    ``difference`` is of AUCs of pairs within a fold. ``visible``: see `radfuse.train.power.smallest_visible`.

    Parameters
    ----------
    classifier : of the single arms with which a level that has no classifier of its own is compared.
    """
    drawn: dict[str, tuple[float, np.ndarray]] = {}
    by_fold: dict[str, pd.Series] = {}
    found = []
    for arm, against, family in planned(predictions, classifier):
        first, second = (predictions.of(name).reset_index(drop=True) for name in (arm, against))
        for name, rows in ((arm, first), (against, second)):
            if name not in drawn:
                drawn[name], by_fold[name] = bootstrap.auc(rows), fold_auc(rows)
        (auc, values), (auc_against, values_against) = drawn[arm], drawn[against]
        low, high = percentile_interval(values - values_against, bootstrap.confidence)
        _, t, p = corrected_resampled_t((by_fold[arm] - by_fold[against]).to_numpy(), validating_share(first))
        gap, delong_p = _delong(first, second)
        seen = smallest_visible(auc_against, bootstrap.ones, bootstrap.zeros, score_correlation(first, second))
        found.append(
            (arm, against, family, auc, auc_against, auc - auc_against, low, high,
             bootstrap_p(values - values_against), np.nan, t, p, np.nan, gap, delong_p,
             np.nan if seen is None else seen)
        )  # fmt: skip
    table = pd.DataFrame(found, columns=list(COLUMNS))
    own = (table["family"] == FAMILY).to_numpy()
    for adjusted, raw in (("p_holm", "p"), ("corrected_p_holm", "corrected_p")):
        table.loc[own, adjusted] = holm(table.loc[own, raw].to_numpy(dtype=float))
    return table


def planned(predictions: Predictions, classifier: str) -> Iterator[tuple[str, str, str]]:
    """Give what is compared with what, and the family that the comparison belongs to.

    Of the arms of one image each, the best per classifier is compared with the modalities that it was fused from.
    """
    arms = predictions.rows.drop_duplicates("arm")[["arm", "fusion", "modalities", "classifier"]]
    single = arms[arms["fusion"] == "single"]
    alone = {(row.modalities, row.classifier): str(row.arm) for row in single.itertuples()}
    measured = list(dict.fromkeys(single["modalities"]))
    trained = set(single["classifier"])
    baselines = arms.loc[arms["fusion"] == "baseline", "arm"]
    for row in arms[arms["fusion"].isin(LEVELS)].itertuples():
        theirs = str(row.classifier) if row.classifier in trained else classifier
        for modality in sources(str(row.modalities), measured):
            if (modality, theirs) in alone:
                yield str(row.arm), alone[modality, theirs], FAMILY
        for baseline in baselines:
            yield str(row.arm), str(baseline), BASELINES
    for name, images in arms[arms["fusion"] == "image"].groupby("classifier", sort=False):
        best = highest(predictions, list(images["arm"]))
        family = f"best of {len(images)} images against single" if len(images) > 1 else "image against single"
        for modality in sources(str(images.set_index("arm")["modalities"][best]), measured):
            if (modality, name) in alone:
                yield best, alone[modality, name], family


def sources(modalities: str, measured: list[str]) -> list[str]:
    """The measured modalities behind an arm's own, which are joined by ``+``.

    Examples
    --------
    >>> sources("CT+fused-average-CT_PET", ["MR", "PET", "CT"])
    ['PET', 'CT']
    """
    behind: set[str] = set()
    for name in modalities.split("+"):
        behind |= set(fused_modalities(name, measured)) if is_fused(name) else {name}
    return [modality for modality in measured if modality in behind]


def highest(predictions: Predictions, arms: list[str]) -> str:
    """The arm with the highest AUC of pairs within a fold; of equals the first."""
    auc: Mapping[str, float] = {arm: _auc(predictions.of(arm).reset_index(drop=True)) for arm in arms}
    return max(arms, key=lambda arm: -1.0 if np.isnan(auc[arm]) else auc[arm])


def best_arms(predictions: Predictions) -> list[str]:
    """The arm with the highest AUC of each fusion level, in the levels' order of appearance."""
    levels = predictions.rows.drop_duplicates("arm").groupby("fusion", sort=False)["arm"]
    return [highest(predictions, list(arms)) for _, arms in levels]


def fold_auc(rows: pd.DataFrame) -> pd.Series:
    """The AUC of every fold of every repeat; NaN where it has one outcome only."""
    parts = rows.groupby(["repeat", "fold"]).indices
    outcome, score = rows["outcome"].to_numpy(), rows["score"].to_numpy(dtype=float)
    return pd.Series({place: pair_auc(outcome[index], score[index]) for place, index in parts.items()})


def validating_share(rows: pd.DataFrame) -> float:
    """How many subjects validate for each one that trains, on average over the folds."""
    tested = len(rows) / len(rows[["repeat", "fold"]].drop_duplicates())
    return tested / (rows["subject"].nunique() - tested)


def _delong(first: pd.DataFrame, second: pd.DataFrame) -> tuple[float, float]:
    """Difference and p on scores averaged over the repeats; the p is NaN where several rows are of one patient."""
    means = [rows.groupby("subject", sort=True)["score"].mean().to_numpy(dtype=float) for rows in (first, second)]
    subjects = first.groupby("subject", sort=True).first()
    delong = DeLong.of(subjects["outcome"].to_numpy(), *means)
    repeated = "group" in subjects.columns and bool(subjects["group"].duplicated().any())
    unknown = repeated or bool(np.isnan(delong.covariance).any())
    return float(delong.auc[0] - delong.auc[1]), float("nan") if unknown else delong.difference()[2]


def _auc(rows: pd.DataFrame) -> float:
    return float(within_fold_auc(rows, np.ones((1, 1)), np.zeros(len(rows), dtype=int))[0])
