"""What the modalities share: how redundant or different their features are, without the outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radfuse.data.study import Study
from radfuse.report.drawing import svg
from radfuse.report.section import Block, Picture, Section, Table, Words, absent, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "What the modalities share"
COLUMNS = (
    "modalities", "subjects", "features", "debiased CKA", "shuffled", "p", "modified RV", "shuffled RV", "p of RV",
)  # fmt: skip
KEY = (
    "Computed from all subjects and without the outcome: shared information, not synergy. A high value means that the "
    "modalities say much the same of the same subjects, a low one that they differ; neither says that joining them "
    "predicts better, which only the gain in AUC does. 0 is nothing shared, 1 the same up to rotation and scale. "
    "Shuffled is the mean over 999 shuffles of the subjects, p the share of those that reach as much. Features are "
    "taken as measured, so a common scanner or tumour size is shared too; shape is left out, since one contour serves "
    "all modalities."
)
ACROSS, CELL_IN = 3, 0.42


def shared(study: Study) -> Section:
    """Show how much each pair of modalities has in common."""
    found, classes = study.tables.get("shared_information"), study.tables.get("shared_classes")
    if found is None or found.empty:
        text = "Nothing has been compared between modalities."
        hint = "`radfuse train` does, where two modalities of five subjects are measured."
        return Section("shared", TITLE, [absent(text, hint)])
    rows = [_row(row) for row in found.to_dict("records")]
    blocks: list[Block] = [*(Words(_said(row)) for row in found.to_dict("records"))]
    blocks += [Table("Shared information of each pair of modalities", COLUMNS, rows, COLUMNS[1:]), Words(KEY)]
    if classes is not None and len(classes):
        blocks.append(_map(classes))
    return Section("shared", TITLE, blocks)


def _said(row: dict[Any, Any]) -> str:
    one, other = row["one"], row["other"]
    if row["cka_p"] > 0.05:
        return f"{one} and {other} share no more than chance would (debiased CKA {number(row['cka'])})."
    return f"{one} and {other} share information: debiased CKA {number(row['cka'])}, p = {number(row['cka_p'], 3)}."


def _row(row: dict[Any, Any]) -> tuple[str, ...]:
    features = f"{row['features_one']}, {row['features_other']}"
    values = [number(row[f"{name}{part}"], 3) for name in ("cka", "rv") for part in ("", "_chance", "_p")]
    return (f"{row['one']} and {row['other']}", str(row["n"]), features, *values)


def _map(classes: pd.DataFrame) -> Picture:
    pairs = list(classes.groupby(["one", "other"], sort=False))
    down = -(-len(pairs) // ACROSS)
    size = max(max(part["class_one"].nunique(), part["class_other"].nunique()) for _, part in pairs)
    side = 1.3 + CELL_IN * size

    def draw(figure: Figure) -> None:
        panels = figure.subplots(down, min(len(pairs), ACROSS), squeeze=False).ravel()
        for axes, (_, part) in zip(panels, pairs, strict=False):
            _panel(axes, part)
        for axes in panels[len(pairs) :]:
            axes.set_axis_off()

    low, high = classes["correlation"].min(), classes["correlation"].max()
    return Picture(
        "shared.svg",
        svg(draw, max(side * min(len(pairs), ACROSS), 3.2), side * down),
        f"Mean absolute rank correlation between feature classes of each pair of modalities, {low:.2f} to {high:.2f}.",
        "Mean of |Spearman's rho| over all pairs of features of two classes. Independent features of "
        f"as many subjects give {number(classes['chance'].iloc[0])} on average.",
    )


def _panel(axes: Axes, part: pd.DataFrame) -> None:
    grid = part.pivot(index="class_one", columns="class_other", values="correlation")
    values = grid.to_numpy(dtype=float)
    axes.imshow(values, cmap="Blues", vmin=0.0, vmax=1.0, aspect="equal")
    for (i, j), value in np.ndenumerate(values):
        ink = "white" if value > 0.6 else "black"
        axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color=ink)
    axes.set_xticks(range(len(grid.columns)), list(grid.columns), rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(grid.index)), list(grid.index), fontsize=7)
    axes.set_ylabel(str(part["one"].iloc[0]))
    axes.set_xlabel(str(part["other"].iloc[0]))
