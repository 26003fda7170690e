"""The point spread of each modality along the grid's axes: given in the config, or estimated from the scan."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import PositiveFloat

from radfuse.align.edge_spread import LEAST_EDGES, edge_spread
from radfuse.align.resolution import Triple
from radfuse.data.geometry import Geometry
from radfuse.data.volume import Volume
from radfuse.errors import DataError

ESTIMATE = "estimate"
Width = PositiveFloat | Literal["estimate"]
Spread = Width | tuple[Width, Width, Width]

ALONG = float(np.cos(np.deg2rad(15.0)))
"""How well an axis of the scan must lie along one of the grid's for its point spread to be that axis'."""


def triple(value: float | Triple) -> Triple:
    """Give one number for each axis."""
    return value if isinstance(value, tuple) else (value, value, value)


def is_estimated(given: Spread) -> bool:
    """Whether any axis is to be told from the image."""
    return ESTIMATE in (given if isinstance(given, tuple) else (given,))


def widest(given: Spread) -> float:
    """Give the largest number among the axes; 0 where all are to be told from the image."""
    return max(
        (float(width) for width in (given if isinstance(given, tuple) else (given,)) if width != ESTIMATE), default=0.0
    )


def point_spread(volume: Volume, given: Spread, grid: Geometry) -> tuple[Triple, dict[str, Any]]:
    """Give a scan's point spread along x, y, z of the grid, and what was measured; nothing for what was given.

    Parameters
    ----------
    volume : on its scanner's grid, in any linear scale.
    given : the setting.
    grid : whose axes count; those of the scan may be swapped or turned round, but not be oblique to them.
    """
    wanted = given if isinstance(given, tuple) else (given, given, given)
    if not is_estimated(wanted):
        x, y, z = (float(width) for width in wanted)
        return (x, y, z), {}
    found = edge_spread(volume)
    own = _axes(volume, grid)
    widths: list[float] = []
    for axis, width in enumerate(wanted):
        if width != ESTIMATE:
            widths.append(float(width))
            continue
        measured = found[own[axis]]
        if measured.fwhm_mm is None:
            raise DataError(
                f"the point spread of {volume.modality} along {'xyz'[axis]} cannot be told: {measured.edges} profiles "
                f"cross from air to body along it, expected at least {LEAST_EDGES}",
                hint=f"Give align.fwhm_mm.{volume.modality} three entries, a number for this axis and `estimate` for "
                "others; the slice thickness is a fair number for z.",
            )
        widths.append(measured.fwhm_mm)
    x, y, z = widths
    edges = [found[own[axis]].edges if width == ESTIMATE else 0 for axis, width in enumerate(wanted)]
    return (x, y, z), {"estimated_fwhm_mm": widths, "from_edges": edges}


def _axes(volume: Volume, grid: Geometry) -> list[int]:
    """For each axis of the grid, which axis of the scan lies along it."""
    between = np.abs(np.asarray(grid.direction).reshape(3, 3).T @ np.asarray(volume.geometry.direction).reshape(3, 3))
    if between.max(axis=1).min() < ALONG:
        raise DataError(
            f"the axes of {volume.modality} are oblique to the common grid's, so its estimated point spread has no x, "
            "y, z there",
            hint=f"Give align.fwhm_mm.{volume.modality} in millimetres.",
        )
    return [int(axis) for axis in between.argmax(axis=1)]
