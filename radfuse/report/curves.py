"""How well: the ROC curves by fusion level, and every arm with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from radfuse.data.predictions import FUSIONS, Predictions
from radfuse.data.study import Study
from radfuse.report.drawing import FUSION, GREY, INK, svg
from radfuse.report.roc import draw_arm, frame, mean_curve
from radfuse.report.section import Block, Picture, Section, absent, interval, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GOOD = (
    "The curve of a fusion level rises above those of single modalities and of the volume baseline over the range you "
    "would use, and its interval in the chart below stands clear of theirs."
)
BAD = (
    "Bands that cover the diagonal; a fusion level no better than the volume or batch baseline; a curve that hugs the "
    "upper left corner in a small cohort (look for a leak before believing it)."
)

DRAWN = ("fusion", "auc", "ci_low", "ci_high")


def curves(study: Study, resamples: int, seed: int) -> Section:
    """Draw what the predictions and the table of arms hold."""
    blocks: list[Block] = []
    if study.predictions is None or study.predictions.rows.empty:
        blocks.append(absent("No arm has been trained, so there is no ROC curve.", "Run `radfuse train`."))
    else:
        blocks.append(_roc(study.predictions, resamples, seed))
    if study.auc is not None and len(study.auc):
        blocks.append(_forest(study.auc))
    return Section("roc", "ROC curves and intervals", blocks, GOOD, BAD)


def ordered(auc: pd.DataFrame) -> pd.DataFrame:
    """The table of arms by fusion level, within it by AUC from the highest down."""
    rank = auc["fusion"].map({name: place for place, name in enumerate(FUSIONS)}).fillna(len(FUSIONS))
    keyed = auc.assign(_rank=rank).sort_values(["_rank", "auc", "arm"], ascending=[True, False, True], kind="stable")
    return keyed.drop(columns="_rank").reset_index(drop=True)


def _areas(predictions: Predictions) -> pd.DataFrame:
    found = []
    for arm in predictions.arms:
        rows = predictions.of(arm)
        curve = mean_curve(rows)
        area = float("nan") if curve is None else float(np.trapezoid(curve[1], curve[0]))
        found.append({"arm": arm, "fusion": rows["fusion"].iloc[0], "auc": area})
    return ordered(pd.DataFrame(found))


def _roc(predictions: Predictions, resamples: int, seed: int) -> Picture:
    areas = _areas(predictions)
    levels = list(dict.fromkeys(areas["fusion"]))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(-(-len(levels) // 3), min(3, len(levels)), squeeze=False).ravel()
        for axes in panels[len(levels) :]:
            axes.set_axis_off()
        for axes, level in zip(panels, levels, strict=False):
            arms = list(areas.loc[areas["fusion"] == level, "arm"])
            frame(axes, level if arms[0] == level else f"{level}\n{arms[0]}")
            for other in arms[1:]:
                curve = mean_curve(predictions.of(other))
                if curve is not None:
                    axes.plot(*curve, color=GREY, linewidth=0.7, alpha=0.7)
            best = predictions.of(arms[0]).reset_index(drop=True)
            draw_arm(axes, best, FUSION.get(level, INK), resamples, seed)

    drawn = "; ".join(f"{r.fusion}: {r.arm}, AUC {number(r.auc)}" for r in areas.drop_duplicates("fusion").itertuples())
    return Picture(
        "roc.svg",
        svg(draw, 3.1 * min(3, len(levels)), 3.45 * -(-len(levels) // 3)),
        f"Mean ROC curves. Best arm of each fusion level: {drawn}.",
        "Mean of the folds' own ROC curves, over folds and then repeats; the area under it is the AUC of the table. "
        "In colour the arm with the highest AUC of its level, with a pointwise 95 % band from "
        f"{resamples} resamples of the patients, centred on the curve; in grey the level's other arms. The best of "
        "several looks better than it is: the comparison declared beforehand is the one in the answer.",
    )


def _forest(auc: pd.DataFrame) -> Picture:
    table = ordered(auc)
    volume = table.loc[table["arm"] == "baseline-volume", "auc"]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        if len(volume):
            axes.axvline(float(volume.iloc[0]), color=INK, linewidth=0.8, linestyle=":")
        for place, (fusion, *numbers) in enumerate(zip(*(table[c] for c in DRAWN), strict=True)):
            colour = FUSION.get(str(fusion), INK)
            middle, low, high = map(float, numbers)
            axes.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([middle], [place], "o", color=colour, markersize=6)
            label = f"{number(middle)}  ({interval(low, high)})"
            axes.text(1.01, place, label, va="center", fontsize=8, transform=axes.get_yaxis_transform())
        axes.set_yticks(range(len(table)), list(table["arm"].astype(str)))
        axes.set(ylim=(len(table) - 0.4, -0.6), xlabel="AUC of pairs within a fold, with its interval")
        least = float(np.nanmin([0.4, *table["ci_low"]]))
        axes.set_xlim(max(0.0, least - 0.03), 1.01)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)

    dotted = "; the dotted line is the volume baseline" if len(volume) else ""
    return Picture(
        "auc.svg",
        svg(draw, 9.3, 1.0 + 0.27 * len(table)),
        "AUC of every arm with its interval; the numbers are in the table of arms.",
        f"The dashed line is guessing{dotted}. Overlapping intervals do not show that two arms are equal, nor do "
        "separate ones replace the paired test: all arms are judged on the same patients.",
    )
