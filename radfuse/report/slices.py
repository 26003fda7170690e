"""One slice of an example: where to cut, how to window, how to lay one scan over another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.report.drawing import BLUE, INK, bare, scan_png
from radfuse.report.section import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

SOFT_TISSUE_HU = (-160.0, 240.0)
LEAST_SUV = 2.5
CONTOUR = "#00E5C8"


@dataclass(frozen=True, eq=False)
class Cut:
    """A slice of the common grid.

    Parameters
    ----------
    index : place along the grid's third axis.
    inside : the region (y, x).
    aspect : height over width of a voxel.
    rows, columns : what part of the slice is shown.
    """

    index: int
    inside: npt.NDArray[np.bool_]
    aspect: float
    rows: slice
    columns: slice

    def of(self, volume: Volume) -> Array:
        """The shown part of a volume's slice."""
        return np.asarray(volume.array[self.index, self.rows, self.columns], dtype=float)

    @property
    def region(self) -> npt.NDArray[np.bool_]:
        """The shown part of the region."""
        return self.inside[self.rows, self.columns]


def cut(mask: Mask, margin_mm: float | None = None) -> Cut:
    """Take the slice in which the region is largest; with a margin, only what lies around the region there."""
    index = int(mask.inside.sum(axis=(1, 2)).argmax())
    inside = mask.inside[index]
    x_mm, y_mm, _ = mask.geometry.spacing_mm
    rows, columns = slice(None), slice(None)
    if margin_mm is not None and inside.any():
        rows = _around(np.flatnonzero(inside.any(axis=1)), margin_mm / y_mm, inside.shape[0])
        columns = _around(np.flatnonzero(inside.any(axis=0)), margin_mm / x_mm, inside.shape[1])
    return Cut(index, inside, y_mm / x_mm, rows, columns)


def window(volume: Volume, mask: Mask, shown: Array) -> tuple[float, float]:
    """The grey scale's two ends: soft tissue for HU, 0 to the region's maximum for SUV, 1st to 99th percentile else."""
    if volume.unit == "HU":
        return SOFT_TISSUE_HU
    if volume.unit == "SUV":
        inside = volume.array[mask.inside] if mask.array.shape == volume.array.shape else shown
        return 0.0, max(LEAST_SUV, float(np.nanmax(inside, initial=0.0)))
    low, high = np.nanpercentile(shown, [1, 99]) if np.isfinite(shown).any() else (0.0, 1.0)
    return float(low), float(high) if high > low else float(low) + 1.0


def show(axes: Axes, volume: Volume, mask: Mask, where: Cut, title: str) -> None:
    """Draw a slice with the region's contour; SUV is dark where it is high, as in the clinic."""
    shown = where.of(volume)
    low, high = window(volume, mask, shown)
    grey = "gray_r" if volume.unit == "SUV" else "gray"
    axes.imshow(shown, cmap=grey, vmin=low, vmax=high, aspect=where.aspect, interpolation="nearest")
    outline(axes, where, BLUE if volume.unit == "SUV" else CONTOUR)
    axes.set_title(f"{title}\n{_scale(volume, low, high)}", fontsize=8, color=INK)
    bare(axes)


def outline(axes: Axes, where: Cut, colour: str) -> None:
    """Draw the region's border."""
    if where.region.any() and not where.region.all():
        axes.contour(where.region.astype(float), levels=[0.5], colors=[colour], linewidths=1.1)


def panels(count: int, where: Cut, draw: Any, across: int) -> bytes:
    """Lay panels of one slice out in rows; ``draw`` gets the axes, one for each panel."""
    height, width = where.region.shape
    across = min(across, count)
    down = -(-count // across)
    ratio = min(2.2, max(0.4, height * where.aspect / max(width, 1)))
    each = 9.6 / max(across, 4)

    def fill(figure: Figure) -> None:
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for spare in axes[count:]:
            spare.set_axis_off()
        draw(list(axes[:count]))

    return scan_png(fill, each * across, down * (each * ratio + 0.42))


def region_of(subject: Subject) -> Mask | None:
    """The region that leads: the first mask that is not empty."""
    return next((mask for mask in subject.masks.values() if mask.voxels), None)


def _around(places: npt.NDArray[np.intp], margin: float, size: int) -> slice:
    return slice(max(0, int(places[0] - margin)), min(size, int(places[-1] + margin) + 2))


def _scale(volume: Volume, low: float, high: float) -> str:
    unit = "" if volume.unit == "fused" else f"{volume.unit} "
    digits = 0 if max(abs(low), abs(high)) >= 20 else 1 if volume.unit == "SUV" else 2
    return f"{unit}{interval_text(low, high, digits)}"


def interval_text(low: float, high: float, digits: int) -> str:
    """The ends of a grey scale."""
    return f"{number(low, digits)} to {number(high, digits)}"
