"""Every arm, and every subject that failed."""

from __future__ import annotations

from typing import Any

import pandas as pd

from radfuse.data.study import Study
from radfuse.report.curves import ordered
from radfuse.report.section import Block, Fold, Section, Table, Words, absent, interval, number
from radfuse.report.sites import by_pairs

CORE = ("arm", "fusion", "modalities", "classifier", "auc", "ci_low", "ci_high", "n", "events")


ALIKE = (
    "Each site was left out in turn: AUC is the mean over sites, each counting the same, however small; by pairs, a "
    "site counts with its pairs of patients of either outcome."
)
COLUMNS = ("arm", "fusion", "modalities", "classifier", "AUC", "interval", "n", "events")


def arms(study: Study) -> Section:
    """List every arm that was trained."""
    if study.auc is None or not len(study.auc):
        return Section("arms", "All arms", [absent("No arm has been trained.", "Run `radfuse train`.")])
    auc = ordered(study.auc)
    columns: tuple[str, ...] = COLUMNS
    rows = [_row(row) for row in auc.to_dict("records")]
    null = study.tables.get("permuted")
    if null is not None:  # p of the whole pipeline, by `radfuse train --control permute-outcome`
        p = dict(zip(null["arm"], null["p"], strict=True))
        columns, rows = (*COLUMNS, "p, permuted"), [(*row, number(p.get(row[0]), 3)) for row in rows]
    pairs = by_pairs(study)
    if pairs is not None:
        columns = (*columns, "AUC by pairs")
        rows = [(*row, number(pairs.get(row[0]), 3)) for row in rows]
    blocks: list[Block] = [
        Table("Arms by fusion level and AUC", columns, rows, columns[4:]),
        Words("The same numbers, unrounded, are in auc.csv beside this page."),
        *([] if pairs is None else [Words(ALIKE)]),
        *_withheld(study),
        *_other_views(auc),
    ]
    return Section("arms", "All arms", blocks)


def _withheld(study: Study) -> list[Block]:
    """Say what each fusion arm is worth to a patient who lacks a modality."""
    if "withheld" not in study.tables or study.auc is None:
        return []
    whole = study.auc.set_index("arm")["auc"]
    columns = ("arm", "withheld", "AUC", "interval", "with all")
    rows = [
        (row["arm"], row["withheld"], number(row["auc"], 3), interval(row["ci_low"], row["ci_high"], 3),
         number(whole[row["arm"]], 3))
        for row in study.tables["withheld"].to_dict("records") if row["arm"] in whole.index
    ]  # fmt: skip
    words = Words(
        "The same models, trained on all modalities, judge validation patients from whom modalities were withheld: "
        "what a new patient who lacks them may expect."
    )
    return [words, Table("When a modality is missing", columns, rows, columns[2:])]


def _row(row: dict[Any, Any]) -> tuple[str, ...]:
    names = [str(row[name]) for name in ("arm", "fusion", "modalities", "classifier")]
    return (
        *names,
        number(row["auc"], 3),
        interval(row["ci_low"], row["ci_high"], 3),
        str(row["n"]),
        str(row["events"]),
    )


def _other_views(auc: pd.DataFrame) -> list[Block]:
    """Whatever else the table of arms holds."""
    extras = [str(name) for name in auc.columns if name not in CORE]
    if not extras:
        return []
    columns = ("arm", *(name.replace("_", " ") for name in extras))
    rows = [
        (str(row["arm"]), *(number(row[n], 3) if isinstance(row[n], int | float) else str(row[n]) for n in extras))
        for row in auc.to_dict("records")
    ]
    words = Words(
        "The AUC above compares pairs of subjects within a fold only. Within batch: only pairs that also share their "
        "batch. Pooled: each subject's scores averaged over the repeats, all pairs compared, with DeLong's interval; "
        "approximate, and too low for a weak model."
    )
    table = Table("The same scores, seen otherwise", columns, rows, columns[1:])
    return [Fold("Other views of the same scores", blocks=[words, table])]


def failures(study: Study) -> Section:
    """List what failed, why, and what to do."""
    frame: pd.DataFrame = study.failures
    if frame.empty:
        return Section("failures", "Failures", [Words("No subject failed in any stage.")])
    columns = ("subject", "stage", "what", "hint")
    rows = [tuple("" if pd.isna(row[c]) else str(row[c]) for c in columns) for row in frame.to_dict("records")]
    table = Table("Subjects that could not be used in full", columns, rows)
    beside = Words("The same list is in failures.csv beside this page.")
    return Section("failures", "Failures", [table, beside])
