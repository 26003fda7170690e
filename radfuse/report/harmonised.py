"""Figures of the batch effect for the folder of `radfuse harmonize`: densities, and the clouds that the report has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from radfuse.report.batches import scatter
from radfuse.report.drawing import SERIES, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures(found: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """Draw what `radfuse.harmonize.diagnostics` found, as SVG by file name; what has no data is not drawn."""
    clouds = {name: each["pca"] for name, each in found.items() if (each.get("pca") or {}).get("batch")}
    curves = {name: each["densities"] for name, each in found.items() if each.get("densities")}
    drawn = {}
    if clouds:
        drawn["pca.svg"] = scatter(clouds, "pca.svg").content
    if curves:
        drawn["densities.svg"] = _densities(curves)
    return drawn


def _densities(found: Mapping[str, list[Mapping[str, Any]]]) -> bytes:
    """A row per feature, before beside after, on one scale; a colour per batch."""
    drawn = [(modality, each) for modality, features in found.items() for each in features]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(drawn), 2, squeeze=False)
        for pair, (_, each) in zip(panels, drawn, strict=True):
            tops = [max(curve) for moment in ("before", "after") for curve in each[moment].values()]
            labels = sorted({*each["before"], *each["after"]})
            for axes, moment in zip(pair, ("before", "after"), strict=True):
                for place, label in enumerate(labels):
                    if label in each[moment]:
                        axes.plot(each["grid"], each[moment][label], color=SERIES[place % len(SERIES)], label=label)
                axes.set_ylim(0, 1.05 * max(tops, default=1.0))
                axes.set_yticks([])
                axes.set_title(f"{each['feature']}, {moment}", fontsize=7.5)
            pair[0].legend(fontsize=7)

    return svg(draw, 8.6, 1.9 * len(drawn))
