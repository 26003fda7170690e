"""Slices put in order: one regular, upright grid, or a refusal that names what is irregular."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.errors import GeometryError

Vector = npt.NDArray[np.float64]

UNEVEN_STEPS = 0.05
# Positions written to 0.1 mm leave a regular grid by about 0.05 mm, which is more than 5 % of a thin slice.
ROUNDING_MM, ROUNDING_STEPS = 0.055, 0.1
DRIFT_PIXELS = 0.1  # in-plane drift over the whole stack that counts as shear
SAME_COSINES = 1e-3
SAME_PLACE_STEPS = 0.01


@dataclass(frozen=True)
class Plane:
    """Where one slice lies.

    Parameters
    ----------
    position_mm : LPS centre of the first pixel (Image Position (Patient)).
    orientation : cosines of a row and of a column (Image Orientation (Patient)).
    spacing_mm : between rows and between columns (Pixel Spacing), in this order.
    rows, columns : the size of the slice.
    """

    position_mm: tuple[float, float, float]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, float]
    rows: int
    columns: int


def grid_of(planes: Sequence[Plane]) -> tuple[list[int], Geometry]:
    """Order planes along their normal; give that order and the grid.

    Raises GeometryError for a single slice, mixed orientations, mixed pixels, repeated or missing positions, uneven
    steps and shear (a tilted gantry). The step is that of the best regular grid through all positions.
    """
    _check_alike(planes)
    first = planes[0]
    along_row, along_column, normal = axes(first.orientation)
    positions = np.array([plane.position_mm for plane in planes])
    heights = positions @ normal
    order = [int(i) for i in np.argsort(heights, kind="stable")]
    step = _step(heights[order])
    _check_shear(positions[order], normal, step, first)
    direction = np.column_stack([along_row, along_column, normal])
    grid = Geometry(
        (first.columns, first.rows, len(planes)),
        (first.spacing_mm[1], first.spacing_mm[0], step),
        planes[order[0]].position_mm,
        tuple(float(value) for value in direction.ravel()),
    )
    return order, grid


def axes(orientation: Sequence[float]) -> tuple[Vector, Vector, Vector]:
    """Unit vectors along a row, along a column and along the normal (their cross product), exactly orthogonal."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) == 0 or max(abs(length - 1) for length in lengths) > 1e-2 or abs(row @ column) > 1e-2:
        raise GeometryError(
            "Image Orientation (Patient) is not two unit vectors at right angles",
            hint="Export the series again; its header is damaged.",
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    column /= np.linalg.norm(column)
    return row, column, np.cross(row, column)


def _check_alike(planes: Sequence[Plane]) -> None:
    if len(planes) < 2:
        raise GeometryError(
            f"the series has {len(planes)} slice, expected a volume of two or more",
            hint="Leave it out with --modality 'DESCRIPTION=skip', or send the whole series.",
        )
    first = planes[0]
    turned = [p for p in planes if not np.allclose(p.orientation, first.orientation, atol=SAME_COSINES)]
    if turned:
        raise GeometryError(
            f"mixed orientations: {len(turned)} of {len(planes)} slices lie at another angle than the first",
            hint="This is a localiser or a rotating series; export one orientation as a series of its own.",
        )
    sizes = sorted({(p.rows, p.columns) for p in planes})
    spacings = sorted({p.spacing_mm for p in planes})
    if len(sizes) > 1:
        raise GeometryError(f"slices of mixed size (rows, columns): {_few(sizes)}", hint="Export them as two series.")
    if not np.allclose(spacings, spacings[0], rtol=1e-4):
        raise GeometryError(f"slices of mixed pixel spacing: {_few(spacings)} mm", hint="Export them as two series.")
    if min(first.spacing_mm) <= 0:
        raise GeometryError(f"Pixel Spacing is {first.spacing_mm} mm, expected positive numbers")


def _step(heights: Vector) -> float:
    """The step of sorted heights, in mm; refuse what is not regular."""
    gaps = np.diff(heights)
    typical = float(np.median(gaps[gaps > 1e-4])) if (gaps > 1e-4).any() else 0.0
    repeated = int((gaps <= max(SAME_PLACE_STEPS * typical, 1e-4)).sum())
    if repeated:
        places = len(heights) - repeated
        many = len(heights) / places
        times = f"each of {places} positions occurs {many:.0f} times" if many == int(many) else f"{repeated} twice"
        raise GeometryError(
            f"duplicate slices: {len(heights)} slices on {places} positions ({times})",
            hint="Dynamic, gated or multi-echo series: export one phase. A file copied twice: remove the copy.",
        )
    multiples = np.rint(gaps / typical)
    whole = np.abs(gaps / typical - multiples) <= UNEVEN_STEPS
    if (multiples > 1).any() and whole.all():
        missing = int((multiples - 1).sum())
        where = int(np.argmax(multiples > 1))
        raise GeometryError(
            f"missing slices: {missing} of {len(heights) + missing}, the first between {heights[where]:.2f} and "
            f"{heights[where + 1]:.2f} mm along the normal, where the step is {typical:.3f} mm",
            hint="Send or export the whole series again.",
        )
    number = np.arange(len(heights)) - (len(heights) - 1) / 2
    step = float(number @ (heights - heights.mean()) / (number @ number))
    off = float(np.abs(heights - heights.mean() - step * number).max())
    if off > max(UNEVEN_STEPS * step, min(ROUNDING_MM, ROUNDING_STEPS * step)):
        raise GeometryError(
            f"unevenly spaced slices: steps of {gaps.min():.3f} to {gaps.max():.3f} mm, up to {off:.3f} mm off a "
            f"regular grid of {step:.3f} mm",
            hint="Reconstruct the series at one spacing, or resample it with a program that knows its positions.",
        )
    return step


def _check_shear(positions: Vector, normal: Vector, step: float, first: Plane) -> None:
    shift = positions - positions[0]
    aside = shift - np.outer(shift @ normal, normal)
    drift = float(np.linalg.norm(aside, axis=1).max())
    if drift <= DRIFT_PIXELS * min(first.spacing_mm):
        return
    tilt = math.degrees(math.atan2(float(np.linalg.norm(aside[-1])), step * (len(positions) - 1)))
    raise GeometryError(
        f"gantry tilt: the slices are sheared, they drift {drift:.2f} mm in plane over the stack ({tilt:.1f} degrees)",
        hint="Correct the tilt first, for example with dcm2niix (its *_Tilt file), and give the NIfTI.",
    )


def _few(values: Sequence[object]) -> str:
    shown = ", ".join(map(str, values[:3]))
    return shown + (", ..." if len(values) > 3 else "")
