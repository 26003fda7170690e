"""Site by site: what each site says of models that never saw it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from radfuse.data.study import Study
from radfuse.report.section import Block, Fold, Section, Table, Words, interval, number

COLUMNS = ("site", "arm", "n", "events", "AUC", "interval")
MEANS = ("arm", "sites", "AUC, sites alike", "pairs", "AUC, by pairs")
POLICIES = {
    "pass": "left as measured, beside training rows that were harmonised",
    "largest": "corrected as if they were of the largest training batch",
}


def sites(study: Study) -> list[Section]:
    """Show each site's AUC, the declared comparison's arms first; empty where no site was left out."""
    if "sites" not in study.tables or study.tables["sites"].empty:
        return []
    found = study.tables["sites"]
    contrast = study.contrast or {}
    named = (str(contrast.get(side)) for side in ("arm", "against"))
    declared = [name for name in named if name in set(found["arm"])]
    first = found[found["arm"].isin(declared)] if declared else found
    blocks: list[Block] = [
        Words(
            f"Each of the {found['site'].nunique()} sites was judged by models trained on all the others. The AUC of "
            "an arm is the mean over the sites that hold both outcomes, each counting the same, however small; its "
            "interval resamples patients, not sites, so that it says nothing of a site beyond these. The interval of a "
            "single site is DeLong's, where it has two patients of either outcome and is not perfect."
        ),
        *_together(study, declared),
        *_one_sided(found),
        *_policy(study, found),
        Table("The arms of the declared comparison" if declared else "Every arm", COLUMNS, _rows(first), COLUMNS[2:]),
    ]
    rest = found[~found["arm"].isin(declared)]
    if declared and len(rest):
        table = Table("The other arms, site by site", COLUMNS, _rows(rest), COLUMNS[2:])
        blocks.append(Fold(f"The other {rest['arm'].nunique()} arms", blocks=[table]))
    good = "Every site says about the same."
    bad = "One site carries the mean, or the sites fall apart: the model knows its scanners."
    return [Section("sites", "Site by site", blocks, good, bad)]


def by_pairs(study: Study) -> pd.Series | None:
    """Give each arm's AUC over all sites, every pair of patients of one site counting alike; None without sites."""
    found = study.tables.get("sites_together")
    return None if found is None or found.empty else found.set_index("arm")["auc_by_pairs"]


def _together(study: Study, declared: Sequence[str]) -> list[Block]:
    """Set both means of the sites beside each other."""
    if by_pairs(study) is None:
        return []
    found = study.tables["sites_together"]
    shown = found[found["arm"].isin(declared)] if declared else found
    rows = [
        (str(row["arm"]), str(row["sites"]), number(row["auc"], 3), str(row["pairs"]), number(row["auc_by_pairs"], 3))
        for row in shown.to_dict("records")
    ]
    words = (
        "By pairs, a site counts with its pairs of a patient with the outcome and one without. Where that differs much "
        "from the mean over sites, it is the small sites that decide the mean, or the large one that decides the other."
    )
    return [Words(words), Table("All sites together", MEANS, rows, MEANS[1:])]


def _one_sided(found: pd.DataFrame) -> list[Block]:
    by_site = found.drop_duplicates("site")
    alone = by_site[(by_site["events"] == 0) | (by_site["events"] == by_site["n"])]["site"].astype(str)
    if alone.empty:
        return []
    text = f"{', '.join(sorted(alone))}: one outcome only, so no pair to compare and no AUC; not part of any mean."
    return [Words(text, "caution")]


def _policy(study: Study, found: pd.DataFrame) -> list[Block]:
    """Say what the harmoniser did to the sites that it never saw."""
    chosen: Any = (study.config.get("harmonize") or {}).get("harmonizer") or {}
    method, unseen = chosen.get("method", ""), chosen.get("unseen", "")
    if not method:
        return []
    if method == "none":
        return [Words("Features were not harmonised, neither in training nor in the site left out.")]
    raw = found[found["raw"] > 0]
    told = f"harmonizer {method}, unseen: {unseen}" if unseen else f"harmonizer {method}"
    if unseen == "largest":
        return [Words(f"Rows of a batch that training lacks were {POLICIES[unseen]} ({told}).", "caution")]
    if raw.empty:
        return [Words(f"No row was left as measured: the batches of each site left out were fitted ({told}).")]
    most = raw.groupby("site")["raw"].max()
    counts = ", ".join(f"{site} {count}" for site, count in most.items())
    return [Words(f"Rows of a batch that training lacks were {POLICIES['pass']} ({told}): {counts}.", "caution")]


def _rows(found: pd.DataFrame) -> list[tuple[str, ...]]:
    ordered = found.assign(site=found["site"].astype(str)).sort_values("site", kind="stable")
    return [
        (row["site"], str(row["arm"]), str(row["n"]), str(row["events"]), number(row["auc"], 3),
         interval(row["ci_low"], row["ci_high"], 3))
        for row in ordered.to_dict("records")
    ]  # fmt: skip
