"""How much of the features the scanner explains, before and after harmonisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from radfuse.data.names import is_fused
from radfuse.data.study import Study
from radfuse.report.drawing import GREY, MARKERS, SERIES, svg
from radfuse.report.section import DASH, Block, Fold, Picture, Section, Table, Words, absent, number, percent

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
COLUMNS = (
    "modality", "location differs", "spread differs", "variance by batch", "variance by covariates",
    "held-out batch told", "batch with outcome",
)  # fmt: skip
KEY = (
    "Before \N{RIGHTWARDS ARROW} after, and in brackets what chance gives. Location and spread: share of features that "
    "differ between batches (Kruskal-Wallis and Levene tests, false discovery rate 5 %). Variance: the median share "
    "over features that the batch and the protected covariates explain. Held-out batch: balanced accuracy of telling "
    "it from rows that the harmoniser has not seen. Batch with outcome: Cramer's V."
)


def batches(study: Study) -> Section:
    """Compare before and after; training harmonises anew inside each fold and never uses these values."""
    found = {name: each for name, each in (study.harmonization or {}).items() if isinstance(each, Mapping)}
    if not found:
        hint = "Name the scanner's column with cohort.batches, and run `radfuse harmonize`."
        blocks: list[Block] = [absent("No batch effect has been looked at.", hint)]
        return Section("batches", "Batch effect before and after", blocks, GOOD, BAD)
    rows = [_row(name, each) for name, each in found.items()]
    measured = {name: each for name, each in found.items() if not is_fused(name)}
    fused = {name: each for name, each in found.items() if is_fused(name)}
    blocks = [*_shown(measured, "batches.svg")]
    blocks += [Table("Batch effect", COLUMNS, rows, COLUMNS[1:]), Words(KEY)]
    blocks += (
        [Fold("The fused volumes, in words and drawn", blocks=_shown(fused, "batches-fused.svg"))] if fused else []
    )
    return Section("batches", "Batch effect before and after", [*blocks, *_remarks(found)], GOOD, BAD)


def _shown(found: Mapping[str, Mapping[str, Any]], name: str) -> list[Words | Table | Picture]:
    """The verdicts, and the clouds."""
    said = [(modality, str(each["verdict"])) for modality, each in found.items() if each.get("verdict")]
    drawn = {modality: each["pca"] for modality, each in found.items() if (each.get("pca") or {}).get("batch")}
    words: list[Words | Table | Picture] = [Table("In words", ("modality", "verdict"), said)] if said else []
    return [*words, *([scatter(drawn, name)] if drawn else [])]


def _row(modality: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    explained = found.get("variance_explained") or {}
    linked = found.get("batch_outcome") or {}
    association = f"{number(linked.get('cramers_v'))} (p = {number(linked.get('p'), 2)})"
    return (
        modality,
        _change(found.get("kruskal"), percent),
        _change(found.get("levene"), percent),
        _change(explained.get("batch"), percent),
        _change(explained.get("covariates"), percent),
        _change(found.get("batch_accuracy"), number),
        association if linked.get("cramers_v") is not None else DASH,
    )


def _change(pair: Mapping[str, Any] | None, shown: Callable[[object], str]) -> str:
    """Before, after, and what chance gives where that is known."""
    if not pair:
        return DASH
    text = f"{shown(pair.get('before'))} \N{RIGHTWARDS ARROW} {shown(pair.get('after'))}"
    return f"{text} ({shown(pair['chance'])})" if pair.get("chance") is not None else text


def _remarks(found: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    rows = []
    for name, each in found.items():
        flags = [str(flag) for flag in (each.get("report") or {}).get("flags", ())]
        note = each.get("batch_accuracy_note")
        flags += [f"held-out batch not told: {note}"] if note else []
        if flags:
            rows.append((name, "; ".join(flags)))
    if not rows:
        return []
    table = Table("Remarks of the harmoniser", ("modality", "remarks"), rows)
    return [Fold(f"What the harmoniser remarks on {len(rows)} of {len(found)} modalities", blocks=[table])]


def scatter(found: Mapping[str, Mapping[str, Any]], name: str) -> Picture:
    """Draw the clouds of some modalities, before beside after."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(found), 3, squeeze=False, width_ratios=[1, 1, 0.9])
        for (before, after, key), (modality, pca) in zip(panels, found.items(), strict=True):
            _limits((before, after), pca)
            for axes, moment in ((before, "before"), (after, "after")):
                _cloud(axes, pca, moment)
                axes.set_title(f"{modality}, {moment}", fontsize=9)
            key.set_axis_off()
            key.legend(*before.get_legend_handles_labels(), loc="center left", fontsize=7.5, handletextpad=0.3)

    return Picture(
        name,
        svg(draw, 8.6, 2.8 * len(found)),
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
