"""External test: what the finished models say of patients of another manifest."""

from __future__ import annotations

import pandas as pd

from radfuse.data.study import Study
from radfuse.report.section import Block, Fold, Section, Table, Words, interval, number

FIRST = ("arm", "n", "events", "auc", "ci_low", "ci_high")
COLUMNS = ("arm", "n", "events", "AUC", "interval")


def external(study: Study) -> list[Section]:
    """Show the AUC on patients who took no part in training; empty where the study has no external test."""
    if "external_scores" not in study.tables:
        return []
    scores = study.tables["external_scores"]
    blocks: list[Block] = [
        Words(
            f"The models, fitted on all of the study's patients, scored {scores['subject'].nunique()} patients of "
            f"another manifest, through the same alignment, fusion, extraction and harmonising. Nothing was learned "
            "from them."
        ),
        *_auc(study.tables.get("external")),
        *_seen(scores),
        *_unscored(scores),
        *_harmonised(scores),
        *_notes(study.tables.get("external_notes")),
    ]
    good = "The AUC here is about that of cross-validation."
    bad = "It falls towards 0.5: what was learned belongs to the study's own scanners or patients."
    return [Section("external", "External test", blocks, good, bad)]


def _auc(found: pd.DataFrame | None) -> list[Block]:
    """The AUCs with DeLong's interval, and whatever else was judged."""
    if found is None or found.empty:
        return [Words("No AUC: the tables tell no outcome of patients who are new.", "absent")]
    rows = [
        (str(row["arm"]), str(row["n"]), str(row["events"]), number(row["auc"], 3),
         interval(row["ci_low"], row["ci_high"], 3))
        for row in found.to_dict("records")
    ]  # fmt: skip
    blocks: list[Block] = [Table("AUC with DeLong's interval", COLUMNS, rows, COLUMNS[1:])]
    extras = [str(name) for name in found.columns if name not in FIRST]
    if extras:
        columns = ("arm", *(name.replace("_", " ") for name in extras))
        cells = [(str(row["arm"]), *(_cell(row[name]) for name in extras)) for row in found.to_dict("records")]
        blocks.append(Table("The same scores, seen otherwise", columns, cells, columns[1:]))
    return blocks


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return number(value, 3) if isinstance(value, float) else str(value)


def _seen(scores: pd.DataFrame) -> list[Block]:
    seen = sorted(scores.loc[scores["seen_in_training"].astype(bool), "subject"].astype(str).unique())
    if not seen:
        return []
    count = f"{len(seen)} patient{'s' if len(seen) > 1 else ''}"
    return [Words(f"Also in training, and left out of the AUC: {count} ({', '.join(seen)}).", "caution")]


def _unscored(scores: pd.DataFrame) -> list[Block]:
    rows = [
        (str(row["subject"]), str(row["arm"]), str(row["error"]))
        for row in scores[scores["error"].fillna("") != ""].to_dict("records")
    ]
    if not rows:
        return []
    table = Table("Who got no score, and why", ("subject", "arm", "what"), rows)
    return [Fold(f"{len(rows)} scores could not be given", blocks=[table])]


def _harmonised(scores: pd.DataFrame) -> list[Block]:
    """How many patients each arm's harmoniser knew the batches of."""
    given = scores[scores["error"].fillna("") == ""].assign(harmonised=lambda part: part["harmonised"].fillna(""))
    counts = given.groupby(["arm", "harmonised"], sort=False).size().reset_index(name="patients")
    rows = [(str(row["arm"]), str(row["harmonised"]), str(row["patients"])) for row in counts.to_dict("records")]
    if not rows:
        return []
    columns = ("arm", "harmonised", "patients")
    return [Table("What harmonising did; `raw` rows stayed as measured", columns, rows, columns[2:])]


def _notes(notes: pd.DataFrame | None) -> list[Block]:
    return [] if notes is None else [Words(f"Note: {note}.") for note in notes["note"].astype(str)]
