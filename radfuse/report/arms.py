"""Every arm, and every subject that failed."""

from __future__ import annotations

from typing import Any

import pandas as pd

from radfuse.data.study import Study
from radfuse.report.curves import ordered
from radfuse.report.section import Block, Section, Table, Words, absent, interval, number

CORE = ("arm", "fusion", "modalities", "classifier", "auc", "ci_low", "ci_high", "n", "events")
POOLED = ("auc_pooled", "pooled_delong_low", "pooled_delong_high")


def arms(study: Study) -> Section:
    """List every arm that was trained."""
    if study.auc is None or not len(study.auc):
        return Section("arms", "All arms", [absent("No arm has been trained.", "Run `radfuse train`.")])
    auc = ordered(study.auc)
    extras = [str(name) for name in auc.columns if name not in CORE and name not in POOLED]
    pooled = all(name in auc for name in POOLED)
    columns = (
        "arm", "fusion", "modalities", "classifier", "AUC", "interval", "n", "events",
        *(name.replace("_", " ") for name in extras), *(["pooled AUC (DeLong)"] if pooled else []),
    )  # fmt: skip
    rows = [_row(row, extras, pooled) for row in auc.to_dict("records")]
    blocks: list[Block] = [Table("Arms by fusion level and AUC", columns, rows, columns[4:])]
    blocks.append(Words("The same numbers, unrounded, are in auc.csv beside this page."))
    if pooled:
        blocks.append(
            Words(
                "AUC compares pairs of subjects within a fold only. The pooled AUC averages each subject's scores over "
                "the repeats and compares all pairs; it is approximate, and too low for a weak model."
            )
        )
    return Section("arms", "All arms", blocks)


def _row(row: dict[Any, Any], extras: list[str], pooled: bool) -> tuple[str, ...]:
    cells = [str(row[name]) for name in ("arm", "fusion", "modalities", "classifier")]
    cells += [number(row["auc"], 3), interval(row["ci_low"], row["ci_high"], 3), str(row["n"]), str(row["events"])]
    cells += [number(row[name], 3) if isinstance(row[name], int | float) else str(row[name]) for name in extras]
    if pooled:
        low, high = row["pooled_delong_low"], row["pooled_delong_high"]
        cells.append(f"{number(row['auc_pooled'], 3)} ({interval(low, high, 3)})")
    return tuple(cells)


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
