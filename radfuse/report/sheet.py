"""The sheet of a subject: its planes in colour, a row for each time point, with the scale beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from radfuse.data.names import FUSED
from radfuse.report.drawing import INK, Draw, bare
from radfuse.report.follow import Followed
from radfuse.report.planes import EDGES, PLANES, Place
from radfuse.report.slices import CONTOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN, BESIDE_IN, TITLE_IN, TALLEST_IN = 9.6, 1.4, 0.34, 3.4
CHANGE = "RdBu_r"


def sheet(
    found: Followed, place: Place, region: npt.NDArray[np.bool_] | None = None, planes: Sequence[str] = PLANES
) -> tuple[Draw, float, float]:
    """Compose a sheet: what to draw, its width and its height in inches.

    Parameters
    ----------
    found : the time points and their scale.
    place : where to cut.
    region : what to outline, (z, y, x) as stored.
    planes : which of `PLANES`, from left to right.
    """
    sizes = [place.size_mm(plane) for plane in planes]
    across, tall = sum(width for _, width in sizes), max(height for height, _ in sizes)
    per_mm = min((WIDTH_IN - BESIDE_IN) / across, TALLEST_IN / tall)
    rows = len(found.uptake) + len(found.changes)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(
            rows, len(planes), squeeze=False, gridspec_kw={"width_ratios": [width for _, width in sizes]}
        )
        for axis, plane in ((row[k], plane) for row in axes for k, plane in enumerate(planes)):
            bare(axis)
            axis.set_facecolor("black")
            axis.set_title(plane, fontsize=8, color=INK)
        for row, name in zip(axes, found.names, strict=False):
            light = found.luminance[name].modality.removeprefix(FUSED)
            row[0].set_ylabel(f"{name}\non {light}", fontsize=8, color=INK)
            for axis, plane in zip(row, planes, strict=True):
                # Matplotlib would cut the fractions off instead of rounding them.
                pixels = np.rint(255 * place.cut(found.images[name].rgb, plane)).astype(np.uint8)
                _picture(axis, pixels, place, plane, region)
        limit = found.change_limit
        for row, (name, change) in zip(axes[len(found.uptake) :], found.changes.items(), strict=True):
            row[0].set_ylabel(f"{name}\nminus {found.names[0]}", fontsize=8, color=INK)
            for axis, plane in zip(row, planes, strict=True):
                ends = {"cmap": CHANGE, "vmin": -limit, "vmax": limit}
                _picture(axis, place.cut(change, plane), place, plane, region, **ends)
        _bars(figure, axes, found)

    return draw, BESIDE_IN + per_mm * across, rows * (per_mm * tall + TITLE_IN)


def _picture(
    axes: Axes, shown: npt.NDArray[Any], place: Place, plane: str, region: npt.NDArray[np.bool_] | None, **ends: Any
) -> None:
    axes.imshow(shown, aspect=place.turned.aspect(plane), interpolation="nearest", **ends)
    inside = None if region is None else place.cut(region, plane)
    if inside is not None and inside.any() and not inside.all():
        axes.contour(inside.astype(float), levels=[0.5], colors=[CONTOUR], linewidths=0.9)
    left, right, top, bottom = EDGES[plane]
    texts = {left: (0.02, 0.5, "left", "center"), right: (0.98, 0.5, "right", "center")}
    texts |= {top: (0.5, 0.98, "center", "top"), bottom: (0.5, 0.02, "center", "bottom")}
    texts |= {"display only": (0.98, 0.02, "right", "bottom")}
    # A box, since the picture under a letter may be white, as where nothing changed.
    box = {"boxstyle": "square,pad=0.2", "facecolor": INK, "linewidth": 0}
    for text, (x, y, beside, above) in texts.items():
        axes.text(x, y, text, transform=axes.transAxes, ha=beside, va=above, fontsize=6.5, color="white", bbox=box)


def _bars(figure: Figure, axes: npt.NDArray[Any], found: Followed) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    scale, count, limit = found.scale, len(found.uptake), found.change_limit
    bars: list[tuple[Any, Any, tuple[float, float], str]] = [
        (axes[:count], ListedColormap(scale.bar()), scale.uptake, scale.unit)
    ]
    if found.changes:
        bars.append((axes[count:], CHANGE, (-limit, limit), f"change, {scale.unit}"))
    for part, colours, (low, high), label in bars:
        drawn = figure.colorbar(
            ScalarMappable(Normalize(low, high), colours), ax=list(part.ravel()), fraction=0.05, pad=0.01, aspect=22
        )
        drawn.set_label(label, color=INK, fontsize=8)
        drawn.outline.set_visible(False)
