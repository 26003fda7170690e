"""Negative controls: what stays of a gain when what should bring it is taken away."""

from __future__ import annotations

from typing import Any

import pandas as pd

from radfuse.data.study import Study
from radfuse.report.section import Block, Section, Table, Words, absent, interval, number

GOOD = (
    "With a modality shuffled or replaced by noise the arms that used it fall, a single modality to 0.50, and the gain "
    "of fusion goes to 0 or below; under permuted outcomes an arm reaches 0.50 on average."
)
BAD = (
    "A gain that stays although the modality tells nothing any more: it comes from elsewhere, such as missing values, "
    "the batch, or more columns. A mean of many permutations well off 0.50: a leak."
)
MODALITY = ("control", "arm", "draws", "AUC", "under control", "draws from to", "against", "gain", "gain under control")
OUTCOME = ("arm", "permutations", "AUC", "permuted mean", "permuted 95 %", "p", "p, all these arms")


def controls(study: Study) -> Section:
    """Set every control beside the true data."""
    title = "Negative controls"
    found, null = study.tables.get("controls"), study.tables.get("permuted")
    if found is None and null is None:
        hint = "Run `radfuse train --control shuffle:MODALITY` or `--control permute-outcome`."
        return Section("controls", title, [absent("No negative control has been run.", hint)], GOOD, BAD)
    blocks: list[Block] = [] if found is None else _modalities(found)
    return Section("controls", title, [*blocks, *([] if null is None else _outcomes(null))], GOOD, BAD)


def _modalities(found: pd.DataFrame) -> list[Block]:
    rows = [_row(row) for row in found.to_dict("records")]
    told = found[found["gain"].notna()] if found["gain"].notna().any() else found
    return [
        *(Words(str(line)) for line in told["reading"]),
        Table("With the true data and under each control; same folds, trained anew", MODALITY, rows, MODALITY[2:6]
              + MODALITY[7:]),
        Words(
            "Shuffled: the modality's rows, with all regions, its batch labels and the fused images made from it, are "
            "dealt anew among the subjects. Noise: Gaussian, of each column's mean and SD. Both keep what a column "
            "looks like and leave nothing of the outcome in it. Of `clinical` only what that modality is told is "
            "false: harmonising goes on protecting the true facts. The bar is the declared single modality, or the "
            "best one left untouched; where several modalities are left, the same arm trained on those alone. The "
            "ranges are the lowest and highest draw."
        ),
    ]  # fmt: skip


def _row(row: dict[Any, Any]) -> tuple[str, ...]:
    gains = pd.notna(row["gain"])
    return (
        str(row["control"]),
        str(row["arm"]),
        str(row["draws"]),
        number(row["auc"], 3),
        number(row["auc_control"], 3),
        interval(row["auc_control_low"], row["auc_control_high"], 3),
        str(row["against"]) if gains else "",
        number(row["gain"], 3) if gains else "",
        f"{number(row['gain_control'], 3)} ({interval(row['gain_control_low'], row['gain_control_high'], 3)})"
        if gains
        else "",
    )


def _outcomes(null: pd.DataFrame) -> list[Block]:
    rows = [
        (str(row["arm"]), str(row["permutations"]), number(row["auc"], 3), number(row["null_mean"], 3),
         interval(row["null_low"], row["null_high"], 3), number(row["p"], 3), number(row["p_adjusted"], 3))
        for row in null.to_dict("records")
    ]  # fmt: skip
    return [
        *(Words(str(line)) for line in null["reading"]),
        Table("The whole pipeline under permuted outcomes", OUTCOME, rows, OUTCOME[1:]),
        Words(
            "Outcomes are dealt anew among the subjects, and folds, selection, inner choices and training are done "
            "again each time. p counts the true outcome among the permutations, (1 + reached) / (1 + permutations), "
            "so it cannot be below 1 / (1 + permutations). The last column is adjusted for having looked at all arms "
            "of this table (Westfall and Young)."
        ),
    ]
