"""How much of the features the scanner explains, before and after harmonisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from radfuse.data.study import Study
from radfuse.report.drawing import GREY, MARKERS, SERIES, svg
from radfuse.report.section import DASH, Block, Picture, Section, Table, Words, absent, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GOOD = (
    "After: the clouds of the batches lie on each other, few features still differ, the batch of held-out rows is told "
    "no better than chance, and what the covariates explain is kept."
)
BAD = (
    "Clouds that stay apart; an accuracy that stays above chance; overlap bought by losing what the covariates "
    "explained; a batch that goes with the outcome."
)
COLUMNS = ("modality", "measure", "before", "after", "chance")


def batches(study: Study) -> Section:
    """Compare before and after; training harmonises anew inside each fold and never uses these values."""
    found = {name: each for name, each in (study.harmonization or {}).items() if isinstance(each, Mapping)}
    if not found:
        hint = "Name the scanner's column with cohort.batches, and run `radfuse harmonize`."
        blocks: list[Block] = [absent("No batch effect has been looked at.", hint)]
        return Section("batches", "Batch effect before and after", blocks, GOOD, BAD)
    blocks = [Words(f"{name}: {each['verdict']}") for name, each in found.items() if each.get("verdict")]
    rows = [row for name, each in found.items() for row in _rows(name, each)]
    blocks.append(Table("Batch effect of each modality", COLUMNS, rows, COLUMNS[2:]))
    flags = [f"{name}: {flag}" for name, each in found.items() for flag in (each.get("report") or {}).get("flags", ())]
    blocks += [Words("; ".join(flags) + ".", "caution")] if flags else []
    drawn = {name: each["pca"] for name, each in found.items() if (each.get("pca") or {}).get("batch")}
    blocks += [_scatter(drawn)] if drawn else []
    return Section("batches", "Batch effect before and after", blocks, GOOD, BAD)


def _rows(modality: str, found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for key, label in (("kruskal", "features whose location differs"), ("levene", "features whose spread differs")):
        pair = found.get(key) or {}
        rows.append((modality, label, percent(pair.get("before")), percent(pair.get("after")), DASH))
    explained = found.get("variance_explained") or {}
    for key, label in (("batch", "variance explained by batch"), ("covariates", "variance explained by covariates")):
        pair = explained.get(key)
        if pair:
            moments = [percent(pair.get(moment), 1) for moment in ("before", "after", "chance")]
            rows.append((modality, f"{label} (median)", *moments))
    for key, label in (("batch_accuracy", "batch told from held-out rows"), ("batch_auc", "AUC of telling the batch")):
        pair = found.get(key)
        if pair:
            moments = [number(pair.get(moment)) for moment in ("before", "after", "chance")]
            rows.append((modality, label, *moments))
    if found.get("batch_accuracy_note"):
        rows.append((modality, f"batch not told: {found['batch_accuracy_note']}", DASH, DASH, DASH))
    linked = found.get("batch_outcome") or {}
    if linked.get("cramers_v") is not None:
        strength = f"{number(linked['cramers_v'])} (p = {number(linked.get('p'), 3)})"
        rows.append((modality, "batch with outcome, Cramér's V", strength, DASH, "0"))
    return rows


def _scatter(found: Mapping[str, Mapping[str, Any]]) -> Picture:
    # Two modalities to a row, each before and after.
    across = 4 if len(found) > 1 else 2
    down = -(-2 * len(found) // across)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes in panels[2 * len(found) :]:
            axes.set_axis_off()
        for place, (modality, pca) in enumerate(found.items()):
            pair = panels[2 * place : 2 * place + 2]
            _limits(pair, pca)
            for axes, moment in zip(pair, ("before", "after"), strict=True):
                _cloud(axes, pca, moment)
                axes.set_title(f"{modality}\n{moment}", fontsize=9)
            pair[0].legend(loc="best", fontsize=7, handletextpad=0.2, borderpad=0.2)

    return Picture(
        "batches.svg",
        svg(draw, 2.4 * across, 2.55 * down),
        f"First two principal components of {', '.join(found)} by batch, before and after harmonisation.",
        "Each point is a subject on the first two principal axes of the features before, used for both; colour and "
        "shape are the batch, the large pale mark is its mean.",
    )


def _cloud(axes: Axes, pca: Mapping[str, Any], moment: str) -> None:
    points = np.asarray(pca[moment], dtype=float).reshape(-1, 2)
    labels = np.asarray([str(label) for label in pca["batch"]])
    axes.axhline(0, color=GREY, linewidth=0.4)
    axes.axvline(0, color=GREY, linewidth=0.4)
    for place, label in enumerate(sorted(set(labels.tolist()))):
        x, y = points[labels == label].T
        colour, marker = SERIES[place % len(SERIES)], MARKERS[place % len(MARKERS)]
        axes.scatter(x, y, s=14, color=colour, marker=marker, alpha=0.85, linewidth=0, label=f"{label} ({len(x)})")
        axes.scatter(x.mean(), y.mean(), s=150, color=colour, marker=marker, alpha=0.3, linewidth=0)
    axes.set(xticks=[], yticks=[])


def _limits(pair: Any, pca: Mapping[str, Any]) -> None:
    both = np.vstack([np.asarray(pca[moment], dtype=float).reshape(-1, 2) for moment in ("before", "after")])
    low, high = both.min(axis=0), both.max(axis=0)
    margin = 0.08 * (high - low) + 1e-9
    for axes in pair:
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
