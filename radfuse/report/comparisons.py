"""Which differences between arms would survive a second look: every comparison, three tests, one correction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from radfuse.data.study import Study
from radfuse.report.section import Block, Fold, Section, Table, Words, absent, interval, number, split_long

FAMILY = "fusion against single"
COLUMNS = ("arm", "against", "difference", "interval", "p", "Holm p", "p over folds", "p by DeLong", "visible from")
SHOWN = 12
GOOD = (
    "The declared comparison has a small p before and after the correction, and the test over folds, whose models "
    "differ, agrees with it."
)
BAD = (
    "One small p among many, gone after the correction; tests that disagree; differences below what the cohort can see."
)


def comparisons(study: Study) -> Section:
    """Set every planned comparison beside its tests; those of the declared classifier first."""
    table = study.tables.get("comparisons")
    if table is None or not len(table):
        hint = "Run `radfuse train` with two modalities and a fusion level."
        return Section("comparisons", "Is the difference real?", [absent("No two arms were compared.", hint)])
    own = table[table["family"] == FAMILY]
    first = own[_same_classifier(own, study)]
    blocks: list[Block] = [Words(_method(own))]
    if len(first):
        blocks += split_long(_table("Fusion levels against their single modalities", first, study), SHOWN)
    rest = own.drop(first.index)
    if len(rest):
        blocks.append(_folded("Further classifiers of the same family", rest, study))
    for family, rows in table[table["family"] != FAMILY].groupby("family", sort=False):
        blocks.append(_folded(f"{str(family).capitalize()}: not corrected, for orientation", rows, study))
    blocks.append(Words("All of them, unrounded, are in tables/comparisons.csv beside this page."))
    return Section("comparisons", "Is the difference real?", blocks, GOOD, BAD)


def corrected(study: Study) -> Words | None:
    """Say in one sentence what is left of the declared comparison after the correction; None where it was not made."""
    table, contrast = study.tables.get("comparisons"), study.contrast
    if table is None or not contrast:
        return None
    own = table[table["family"] == FAMILY]
    declared = own[(own["arm"] == contrast.get("arm")) & (own["against"] == contrast.get("against"))]
    if declared.empty:
        return None
    row: Mapping[Any, Any] = declared.iloc[0].to_dict()
    kept = int((own["p_holm"] < 0.05).sum())
    text = (
        f"Counted as one of the {len(own)} comparisons of fusion levels with single modalities, the declared one has "
        f"p = {p_value(row['p_holm'])} after Holm's correction, and p = {p_value(row['corrected_p'])} by the corrected "
        f"t-test over folds; after the correction {kept} of the {len(own)} stay below 0.05."
    )
    return Words(text)


def p_value(p: object) -> str:
    """Set a p.

    Examples
    --------
    >>> p_value(0.0004), p_value(0.0312)
    ('<0.001', '0.031')
    """
    return "<0.001" if isinstance(p, float) and p < 0.001 else number(p, 3)


def _method(own: pd.DataFrame) -> str:
    return (
        f"The family is declared: every fusion level against each of its single modalities, with the same classifier; "
        f"{len(own)} comparisons, adjusted together by Holm's method. p and interval resample the patients and keep "
        "the models. p over folds is the t-test of the folds' differences, corrected for shared training patients "
        "[Nadeau & Bengio 2003], not adjusted. p by DeLong is of another difference, that of "
        "each patient's mean score over the repeats, pooled over the folds: approximate. Visible from: the smallest "
        "true difference that these patients show with 80 % power; a dash where no arm could be good enough."
    )


def _same_classifier(own: pd.DataFrame, study: Study) -> pd.Series:
    against = str((study.contrast or {}).get("against"))
    if study.auc is None or against not in set(study.auc["arm"]):
        return pd.Series(True, index=own.index)
    classifier = dict(zip(study.auc["arm"], study.auc["classifier"], strict=True))
    return own["against"].map(lambda arm: classifier.get(arm) == classifier[against])


def _table(caption: str, rows: pd.DataFrame, study: Study) -> Table:
    return Table(caption, COLUMNS, [_row(row, study) for row in rows.to_dict("records")], COLUMNS[2:])


def _folded(title: str, rows: pd.DataFrame, study: Study) -> Fold:
    return Fold(f"{title} ({len(rows)})", blocks=[_table(title, rows, study)])


def _row(row: Mapping[Any, Any], study: Study) -> tuple[str, ...]:
    contrast = study.contrast or {}
    declared = (row["arm"], row["against"]) == (contrast.get("arm"), contrast.get("against"))
    return (
        f"{row['arm']} (declared)" if declared else str(row["arm"]),
        str(row["against"]),
        number(row["difference"], 3),
        interval(row["ci_low"], row["ci_high"], 3),
        *(p_value(row[name]) for name in ("p", "p_holm", "corrected_p", "delong_p")),
        number(row["visible"]),
    )
