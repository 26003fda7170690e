"""What a misregistration would do to a region's mean: the mean of an image's gradient, and shifts tried out."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.data.box import box_of, widened
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError, GeometryError

Array = npt.NDArray[np.float64]

RADII_MM = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
SHARE = 0.05
MOST_VOXELS = 8000  # of a large region's voxels so many, evenly taken, are tried out: a mean needs no more
RATIO_UNITS = ("SUV", "counts")  # a share of their mean says something; HU and z-scores have no true zero


def sensitivity(volume: Volume, mask: Mask, error_mm: float) -> dict[str, Any]:
    """Say how the region's mean follows a shift of the region over the image.

    To first order a shift d changes the mean by ``mean(grad I) . d``, so at most by ``|mean(grad I)|`` for each mm. A
    region that lies on a peak has no such gradient and loses all the same: so shifts are tried out as well, along the
    axes, the diagonals and the gradient.

    Parameters
    ----------
    volume, mask : on one grid; the unit of the numbers is the volume's.
    error_mm : length of the shift that the alignment's error amounts to.

    Returns
    -------
    mean, sd : of the region.
    gradient : x, y, z (LPS), unit per mm.
    per_mm : the gradient's length. first_order : the most that it makes of error_mm.
    worst : the largest change of the mean, either way, that a shift of error_mm makes of all that are tried.
    of, share : what the change is held against (``mean`` where the unit has a true zero, else ``sd``), and worst's
        share of it; None where that is zero.
    five_percent_mm : the shortest shift that changes the mean by 5 % of it; None: none of up to 16 mm does.
    """
    _check(volume, mask)
    if not error_mm > 0:
        raise DataError(f"a misregistration of {error_mm:g} mm is asked for, expected a length above zero")
    inside = volume.array[mask.inside].astype(np.float64)
    mean, sd = float(inside.mean()), float(inside.std())
    gradient = mean_gradient(volume, mask)
    per_mm = float(np.linalg.norm(gradient))
    of = "mean" if volume.unit in RATIO_UNITS else "sd"
    base = abs(mean) if of == "mean" else sd
    directions = _directions(gradient)
    most = {r: float(np.abs(changes(volume, mask, r * directions)).max()) for r in sorted({*RADII_MM, error_mm})}
    return {
        "unit": volume.unit,
        "mean": mean,
        "sd": sd,
        "gradient": [float(each) for each in gradient],
        "per_mm": per_mm,
        "error_mm": float(error_mm),
        "first_order": per_mm * error_mm,
        "worst": most[error_mm],
        "of": of,
        "share": most[error_mm] / base if base > 0 else None,
        "five_percent_mm": _first_reach(most, SHARE * base) if base > 0 else None,
    }


def mean_gradient(volume: Volume, mask: Mask) -> Array:
    """Average an image's gradient over a region: along LPS x, y, z, in the volume's unit per mm.

    By central differences, one-sided at the border of the grid, which are exact for an image that rises evenly. An
    axis of one voxel has no gradient.
    """
    _check(volume, mask)
    box = widened(box_of(mask.inside), [1, 1, 1], volume.array.shape)
    part, inside = volume.array[box].astype(np.float64), mask.inside[box]
    along = np.zeros(3)
    for axis, step in enumerate(volume.geometry.spacing_mm[::-1]):
        if part.shape[axis] > 1:
            along[2 - axis] = np.gradient(part, step, axis=axis)[inside].mean()
    # Columns of the direction are where the index axes point.
    return np.asarray(np.asarray(volume.geometry.direction).reshape(3, 3) @ along)


def changes(volume: Volume, mask: Mask, shifts_mm: npt.ArrayLike) -> Array:
    """Shift a region over an image and give the change of its mean, for each shift (n, 3) in LPS mm.

    The image is taken linearly between its voxels, and goes on evenly beyond its border.
    """
    from scipy.ndimage import map_coordinates

    _check(volume, mask)
    places = np.argwhere(mask.inside)
    places = places[:: -(-len(places) // MOST_VOXELS)]
    shifts = np.asarray(shifts_mm, dtype=float).reshape(-1, 3)
    steps = (shifts @ np.linalg.inv(volume.geometry.index_to_physical[:3, :3]).T)[:, ::-1]
    reach = np.ceil(np.abs(steps).max(axis=0, initial=0.0)).astype(int) + 1
    box = widened(box_of(mask.inside), reach.tolist(), volume.array.shape)
    part = np.ascontiguousarray(volume.array[box], dtype=np.float64)
    places = places - [each.start for each in box]
    before = part[tuple(places.T)].mean()
    means = [map_coordinates(part, (places + step).T, order=1, mode="nearest").mean() for step in steps]
    return np.asarray(means, dtype=np.float64) - float(before)


def _directions(gradient: Array) -> Array:
    """Both ways along the three axes, the four diagonals and the gradient, as unit vectors."""
    every = [np.asarray(each, dtype=float) for each in product((-1, 0, 1), repeat=3) if sum(map(abs, each)) in (1, 3)]
    if gradient.any():
        every += [gradient, -gradient]
    return np.stack([each / np.linalg.norm(each) for each in every])


def _first_reach(most: dict[float, float], wanted: float) -> float | None:
    """Give the length at which the change first reaches what is wanted, linearly between the lengths tried."""
    r0, change0 = 0.0, 0.0
    for r, change in most.items():
        if change >= wanted:
            return r0 + (r - r0) * (wanted - change0) / (change - change0) if change > change0 else r
        r0, change0 = r, change
    return None


def _check(volume: Volume, mask: Mask) -> None:
    if not mask.geometry.matches(volume.geometry):
        raise GeometryError(
            f"the region and {volume.modality} do not share a grid: {mask.geometry.differences(volume.geometry)}",
            hint="Take both from one aligned subject.",
        )
    if not mask.voxels:
        raise DataError(f"the region measured in {volume.modality} is empty", hint="Draw it, or leave the subject out.")
