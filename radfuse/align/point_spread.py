"""The point spread of each modality along the grid's axes: given in the config, estimated, or stated by the header."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import PositiveFloat

from radfuse.align.edge_spread import LEAST_EDGES, EdgeSpread, edge_spread
from radfuse.align.resolution import Triple
from radfuse.data.blur import COLUMN, stated_text
from radfuse.data.geometry import Geometry
from radfuse.data.transform import Transform
from radfuse.data.volume import Volume
from radfuse.errors import DataError

ESTIMATE, HEADER = "estimate", "header"
Width = PositiveFloat | Literal["estimate", "header"]
Spread = Width | tuple[Width, Width, Width]

STILL = Transform.identity()

ALONG = float(np.cos(np.deg2rad(15.0)))
"""How well an axis of the scan must lie along one of the grid's for its point spread to be that axis'."""


def triple(value: float | Triple) -> Triple:
    """Give one number for each axis."""
    return value if isinstance(value, tuple) else (value, value, value)


def _along_each(given: Spread) -> tuple[Width, Width, Width]:
    return given if isinstance(given, tuple) else (given, given, given)


def is_each_scans_own(given: Spread) -> bool:
    """Whether any axis is told from each scan, from its voxels or from its header."""
    return any(isinstance(width, str) for width in _along_each(given))


def takes_header(given: Spread) -> bool:
    """Whether any axis is told from the header."""
    return HEADER in _along_each(given)


def widest(given: Spread) -> float:
    """Give the largest number among the axes; 0 where all are told from each scan."""
    return max((width for width in _along_each(given) if not isinstance(width, str)), default=0.0)


def point_spread(
    volume: Volume,
    given: Spread,
    grid: Geometry,
    scanner: Triple = (0.0, 0.0, 0.0),
    motion: Transform = STILL,
) -> tuple[Triple, dict[str, Any]]:
    """Give a scan's point spread along x, y, z of the grid, and what was told from it; nothing for what was given.

    Parameters
    ----------
    volume : on its scanner's grid, in any linear scale.
    given : the setting.
    grid : whose axes count; those of the scan may be swapped or turned round, but not be oblique to them.
    scanner : what the scanner blurs before the filter that the header states; widths of Gaussians add in squares.
    motion : from the grid's points to the scan's, where they are two spaces: widths are the patient's millimetres, and
        on a template that is larger than a head they are larger with it.
    """
    wanted = _along_each(given)
    stretch = _stretch(grid, motion)
    if not is_each_scans_own(wanted):
        x, y, z = (float(width) * more for width, more in zip(wanted, stretch, strict=True))
        return (x, y, z), {}
    own = _axes(volume, grid, motion)
    edges = edge_spread(volume) if ESTIMATE in wanted else None
    widths: list[float] = []
    for axis, width in enumerate(wanted):
        if edges is not None and width == ESTIMATE:
            widths.append(_estimated(edges[own[axis]], volume.modality, "xyz"[axis]))
        elif width == HEADER:
            widths.append(float(np.hypot(_stated(volume, own[axis], "xyz"[axis]), scanner[axis])))
        else:
            widths.append(float(width))
    widths = [width * more for width, more in zip(widths, stretch, strict=True)]
    x, y, z = widths
    told: dict[str, Any] = {}
    if edges is not None:
        told["estimated_fwhm_mm"] = widths
        told["from_edges"] = [edges[own[axis]].edges if width == ESTIMATE else 0 for axis, width in enumerate(wanted)]
    if HEADER in wanted:
        told |= {"fwhm_mm": widths, "header_fwhm_mm": list(volume.header_fwhm_mm or ()), "scanner_fwhm_mm": [*scanner]}
    return (x, y, z), told


def _estimated(edge: EdgeSpread, modality: str, axis: str) -> float:
    if edge.fwhm_mm is None:
        raise DataError(
            f"the point spread of {modality} along {axis} cannot be told: {edge.edges} profiles "
            f"cross from air to body along it, expected at least {LEAST_EDGES}",
            hint=f"Give align.fwhm_mm.{modality} three entries, a number for this axis and `estimate` for "
            "others; the slice thickness (`header`, where the manifest has it) is a fair number for z.",
        )
    return edge.fwhm_mm


def _stated(volume: Volume, own: int, axis: str) -> float:
    width = None if volume.header_fwhm_mm is None else volume.header_fwhm_mm[own]
    if width is None:
        raise DataError(
            f"align.fwhm_mm.{volume.modality} takes the header's word along {axis}, and the manifest's {COLUMN} says "
            f"{stated_text(volume.header_fwhm_mm) or 'nothing'} of this image",
            hint=f"Give this axis a number or `estimate` in align.fwhm_mm.{volume.modality}, or fill in the column.",
        )
    return width


def _stretch(grid: Geometry, motion: Transform) -> list[float]:
    """By how much a length of the scan is larger along each axis of the grid; exactly 1 under a rigid motion."""
    lengths = np.linalg.norm(motion.array[:3, :3] @ np.asarray(grid.direction).reshape(3, 3), axis=0)
    return [float(value) for value in np.round(1.0 / lengths, 9)]


def _axes(volume: Volume, grid: Geometry, motion: Transform) -> list[int]:
    """For each axis of the grid, which axis of the scan lies along it."""
    scan = motion.inverse.array[:3, :3] @ np.asarray(volume.geometry.direction).reshape(3, 3)
    scan /= np.linalg.norm(scan, axis=0)
    between = np.abs(np.asarray(grid.direction).reshape(3, 3).T @ scan)
    if between.max(axis=1).min() < ALONG:
        raise DataError(
            f"the axes of {volume.modality} are oblique to the common grid's, so a point spread along its own axes "
            "has no x, y, z there",
            hint=f"Give align.fwhm_mm.{volume.modality} as one number in millimetres.",
        )
    return [int(axis) for axis in between.argmax(axis=1)]
