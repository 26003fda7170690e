"""How the arms do site by site, where each site was left out in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from radfuse.data.predictions import Predictions
from radfuse.data.table import CONTEXT, GROUP
from radfuse.train.splits import SITE
from radfuse.train.statistics import DeLong, pair_auc

SITES, TOGETHER = "sites", "sites_together"
COLUMNS = ("arm", SITE, "n", "events", "auc", "ci_low", "ci_high", "raw")


def site_evidence(arm: str, splits: pd.DataFrame, reports: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Give the site of each fold, and how many of its rows an arm's harmoniser left as they are.

    Parameters
    ----------
    splits : with a column ``site``.
    reports : of `ArmResult`, one per repeat and fold.

    Returns
    -------
    Columns arm, repeat, fold, site, raw.
    """
    site = splits.drop_duplicates(["repeat", "fold"]).set_index(["repeat", "fold"])[SITE]
    rows = []
    for report in reports:
        flagged = report.get("harmonised", {}).get("validation_flagged", {})
        raw = {subject for name, own in flagged.items() if not name.startswith(CONTEXT) for subject in own}
        repeat, fold = report["repeat"], report["fold"]
        rows.append((arm, repeat, fold, str(site.loc[(repeat, fold)]), len(raw)))
    return pd.DataFrame(rows, columns=["arm", "repeat", "fold", SITE, "raw"])


def sites_table(evidence: pd.DataFrame, predictions: Predictions, confidence: float) -> pd.DataFrame:
    """Give one row per arm and site: its subjects, events, AUC with DeLong's interval, and rows left unharmonised.

    A site's rows are scored by one model that saw none of them, so that DeLong's interval is that of an external test.
    A site with one outcome has no AUC; with fewer than two subjects of either outcome, every pair in order, or several
    rows of one patient, it has no interval.
    """
    return pd.DataFrame(list(_judged(evidence, predictions, confidence)), columns=list(COLUMNS))


def together_table(sites: pd.DataFrame) -> pd.DataFrame:
    """Give each arm's AUC over all sites in two ways: every site counting alike, and every pair.

    The first is the headline, ``auc``: what to expect at a further site. In the second, ``auc_by_pairs``, sites count
    with their pairs of outcome 1 and 0, ``sum n1 n0 AUC / sum n1 n0``, so that a site of three patients does not count
    as much as one of a hundred; where the two differ, small sites decide. Sites of one outcome have no part in either.

    Parameters
    ----------
    sites : as `sites_table` gives it.

    Examples
    --------
    >>> sites = {"arm": ["a", "a"], "n": [20, 3], "events": [8, 1], "auc": [0.7, 1.0]}
    >>> together_table(pd.DataFrame(sites)).round(3).to_dict("records")
    [{'arm': 'a', 'sites': 2, 'pairs': 98, 'auc': 0.85, 'auc_by_pairs': 0.706}]
    """
    known = sites[sites["auc"].notna()]
    rows = []
    for arm, own in known.groupby("arm", sort=False):
        pairs = own["events"] * (own["n"] - own["events"])
        by_pairs = float((own["auc"] * pairs).sum() / pairs.sum())
        rows.append((arm, len(own), int(pairs.sum()), float(own["auc"].mean()), by_pairs))
    return pd.DataFrame(rows, columns=["arm", "sites", "pairs", "auc", "auc_by_pairs"])


def _judged(evidence: pd.DataFrame, predictions: Predictions, confidence: float) -> Iterator[tuple[Any, ...]]:
    for name in predictions.arms:
        rows = predictions.of(name)
        for found in evidence[evidence["arm"] == name].to_dict("records"):
            part = rows[(rows["repeat"] == found["repeat"]) & (rows["fold"] == found["fold"])]
            outcome, score = part["outcome"].to_numpy(), part["score"].to_numpy(dtype=float)
            n, events = len(part), int(outcome.sum())
            auc, low, high = pair_auc(outcome, score), float("nan"), float("nan")
            several = GROUP in part and bool(part[GROUP].duplicated().any())
            if 2 <= events <= n - 2 and 0 < auc < 1 and not several:
                low, high = DeLong.of(outcome, score).interval(confidence)
            yield name, found[SITE], n, events, auc, low, high, found["raw"]
