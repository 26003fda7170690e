"""What the compared models lean on: features, modalities, and the weights of late fusion."""

from __future__ import annotations

from typing import Any

import pandas as pd

from radfuse.data.study import Study
from radfuse.report.section import Block, Section, Table, Words, number, percent, split_long

SHOWN = 12
GOOD = (
    "The same few features in most folds, each of which costs AUC when it is permuted; a fusion that loses by each "
    "modality it is made of."
)
BAD = (
    "Features chosen in a few folds only, or whose permutation costs nothing: another sample would have chosen others. "
    "A fusion that leans on one modality is that modality."
)


def explanations(study: Study) -> list[Section]:
    """Show what the arms lean on; nothing where no arm was asked."""
    blocks: list[Block] = []
    for arm, rows in study.tables.get("importance", pd.DataFrame({"arm": []})).groupby("arm", sort=False):
        blocks += split_long(_features(str(arm), rows), SHOWN)
    if "modality_importance" in study.tables:
        blocks.append(_modalities(study.tables["modality_importance"]))
    if "modality_weights" in study.tables:
        blocks.append(_weights(study.tables["modality_weights"]))
    if not blocks:
        return []
    words = Words(
        "Importance is the AUC lost on a fold's validation patients when a feature's values change places among them; "
        "mean over the folds that chose it. A loss in half of the folds is noise. SHAP shares are of the sizes of all "
        "SHAP values, in late fusion weighed as the modalities are where they have weights; the direction is towards "
        "the outcome (+) or away from it. Neither says that a feature causes "
        "anything, and features that say the same hide each other. All rows: tables/importance.csv."
    )
    return [Section("explained", "What the models lean on", [words, *blocks], GOOD, BAD)]


def _features(arm: str, rows: pd.DataFrame) -> Table:
    columns = ("feature", "chosen in", "AUC lost", "SD", "folds losing", "SHAP share", "direction")
    cells = [
        (str(row["feature"]), percent(row["chosen"]), *_drop(row), percent(row["shap_share"]),
         number(row["direction"], 1))
        for row in rows.to_dict("records")
    ]  # fmt: skip
    return Table(f"Features of {arm}", columns, cells, columns[1:])


def _modalities(table: pd.DataFrame) -> Table:
    columns = ("arm", "modality", "AUC lost", "SD", "folds losing", "SHAP share")
    cells = [
        (str(row["arm"]), str(row["modality"]), *_drop(row), percent(row["shap_share"]))
        for row in table.to_dict("records")
    ]
    return Table("All chosen features of a modality permuted together", columns, cells, columns[2:])


def _weights(table: pd.DataFrame) -> Table:
    columns = ("arm", "modality", "weight", "SD over folds")
    cells = [
        (str(row["arm"]), str(row["modality"]), number(row["weight"], 3), number(row["weight_sd"], 3))
        for row in table.to_dict("records")
    ]
    return Table("Weights of late fusion; a mean weighs all alike", columns, cells, columns[2:])


def _drop(row: dict[Any, Any]) -> tuple[str, str, str]:
    return number(row["auc_drop"], 3), number(row["auc_drop_sd"], 3), percent(row["folds_dropping"])
