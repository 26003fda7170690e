"""What lying beside its region would do to a scan's numbers: region by region, and feature by feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from radfuse.report.registration import doubts
from radfuse.report.section import Block, Table, Words, number, percent, split_long

SHOWN = 8
MOST_MM = 16
COLUMNS = (
    "subject", "scan", "doubt", "may lie off (mm)", "slope per mm", "mean moves by slope", "mean moves at worst",
    "5 % moved at (mm)",
)  # fmt: skip
FEATURES = ("feature", "moves per mm (SD)", "moved (SD)", "ICC", "ICC, low end", "subjects")


def shifts(found: Mapping[str, Mapping[str, Any]], sensitivity: pd.DataFrame | None) -> list[Block]:
    """Say how far each region's mean goes with a shift, the most doubtful registration first.

    Parameters
    ----------
    found : what align found, by subject.
    sensitivity : a row for each registered scan, as `radfuse.run.misregistration.sensitivities` gives it.
    """
    if sensitivity is None or sensitivity.empty:
        return []
    doubt = doubts(found, sensitivity)
    kept: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in sensitivity.to_dict("records")]
    rows = sorted(kept, key=lambda row: -doubt.get((row["subject"], row["scan"]), 1.0))
    table = Table(
        "What a misregistration would do to the region's mean: the most doubtful first",
        COLUMNS,
        [(*_row(row)[:2], number(doubt.get((row["subject"], row["scan"]), 1.0), 1), *_row(row)[2:]) for row in rows],
        COLUMNS[2:],
    )
    words = (
        f"How far a scan may lie off {_told(sensitivity)}. The slope is the mean gradient in the region; the worst is "
        "the largest change over shifts of that length, in 14 directions and along the slope: a region on a peak has "
        "no slope and loses all the same. Shares are of the mean for SUV and counts, of the region's standard "
        "deviation elsewhere. Doubt is how little a scan shares with the reference times the share at worst, each over "
        "the cohort's median for that scan."
    )
    return [Words(words), *split_long(table, SHOWN)]


def moves(sensitivity: pd.DataFrame | None, subject: str, scan: str) -> str:
    """Say in words how far the region's mean goes with a shift of one scan; empty where it is not known."""
    if sensitivity is None:
        return ""
    own = sensitivity[(sensitivity["subject"].astype(str) == subject) & (sensitivity["scan"] == scan)]
    if own.empty:
        return ""
    _, _, error, slope, first, worst, reach = _row({str(k): v for k, v in own.iloc[0].items()})
    return (
        f"A shift by {error} mm would change the region's mean by {first} to first order ({slope} per mm), "
        f"by {worst} at worst; 5 % takes {reach} mm."
    )


def movement(found: pd.DataFrame | None) -> list[Block]:
    """Say which features move most for each mm of misregistration.

    Parameters
    ----------
    found : as `radfuse.extract.misregistration.feature_movement` gives it, with ICCs.
    """
    if found is None or found.empty:
        return []
    rows = [
        (
            str(row["feature"]),
            number(row["moved_sd_per_mm"], 2),
            number(row["moved_sd"], 2),
            number(row["icc"], 2),
            number(row["low"], 2),
            str(row["subjects"]),
        )
        for row in found.head(3 * SHOWN).to_dict("records")
    ]
    caption = f"The features that misregistration moves most, of {len(found)}"
    words = (
        "Every scan but the reference was moved under its region by the error of its registration, and measured again. "
        "Movement is in standard deviations between subjects. All features are in "
        "misregistration/misregistration.csv; `train.stability` leaves out, in each fold, those that do not survive "
        "the steps of stability.chain, this one among them by default."
    )
    return [Words(words), *split_long(Table(caption, FEATURES, rows, FEATURES[1:]), SHOWN)]


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    of = "of the mean" if row["of"] == "mean" else "SD"
    base = abs(row["mean"]) if row["of"] == "mean" else row["sd"]
    reach = row["five_percent_mm"]
    share = (lambda value: percent(value / base) if of != "SD" else number(value / base, 2, " SD")) if base else number
    return (
        str(row["subject"]),
        str(row["scan"]),
        number(row["error_mm"], 1),
        number(row["per_mm"], 3, f" {row['unit']}"),
        share(row["first_order"]),
        share(row["worst"]),
        number(reach, 1) if pd.notna(reach) else f"over {MOST_MM}",
    )


def _told(sensitivity: pd.DataFrame) -> str:
    assumed = sensitivity.loc[sensitivity["error_from"] == "assumed", "error_mm"]
    if (sensitivity["error_from"] == "stated").all():
        return "is stated in `report.registration_error_mm`"
    measured = "is told by its registration's inverse consistency / sqrt(2)"
    kept = (
        f", or an assumed {assumed.iloc[0]:g} mm for the {len(assumed)} whose headers were kept" if len(assumed) else ""
    )
    return measured + kept
