"""How much of each region the point spread carries into each other: the geometric transfer matrix."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from radfuse.align.resolution import FWHM_PER_SIGMA, Triple
from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError

Values = npt.NDArray[np.float64]
Inside = npt.NDArray[np.bool_]

LEAST_KEPT = 0.1
"""A region that keeps less of its own activity than that is smaller than the scanner can see."""

NEAR = (
    "Tissue within this distance of the regions is their background, and only regions and background are changed; "
    "none given: twice the largest point spread."
)


def blurred(values: Values, fwhm_mm: Triple, grid: Geometry) -> Values:
    """Convolve with the point spread; the edge value goes on beyond the edge."""
    from scipy.ndimage import gaussian_filter

    sigma = np.asarray(fwhm_mm) / FWHM_PER_SIGMA / np.asarray(grid.spacing_mm)
    out: Values = gaussian_filter(values, sigma[::-1], mode="nearest", truncate=5.0)
    return out


def parted(regions: Mapping[str, Mask], fwhm_mm: Triple, near_mm: float | None) -> tuple[list[str], list[Inside]]:
    """Divide the grid into the regions, the tissue near them, and the rest; every voxel is in one part.

    Parameters
    ----------
    regions : the main one first; parts that would be empty are left out.
    near_mm : how far the near tissue reaches; None for twice the largest point spread.
    """
    from scipy.ndimage import distance_transform_edt

    names: list[str] = []
    parts: list[Inside] = []
    taken: Inside = np.zeros(next(iter(regions.values())).array.shape, bool)
    for name, mask in regions.items():
        own = mask.inside & ~taken
        if own.any():
            names.append(name)
            parts.append(own)
            taken = taken | own
    spacing = next(iter(regions.values())).geometry.spacing_mm[::-1]
    away = distance_transform_edt(~taken, sampling=spacing)
    near = ~taken & (away <= (2 * max(fwhm_mm) if near_mm is None else near_mm))
    for name, part in (("near tissue", near), ("the rest", ~taken & ~near)):
        if part.any():
            names.append(name)
            parts.append(part)
    return names, parts


def true_means(volume: Volume, names: list[str], parts: list[Inside], fwhm_mm: Triple) -> tuple[Values, list[Values]]:
    """Solve for the mean activity of each part before the blur [Rousset, Ma & Evans, J Nucl Med 39:904, 1998].

    Entry (i, j) of the matrix is the mean, over part i, of part j blurred: what of j's activity is seen in i.

    Returns the means, and each part blurred.
    """
    spread = [blurred(part.astype(np.float64), fwhm_mm, volume.geometry) for part in parts]
    matrix = np.array([[float(own[part].mean()) for own in spread] for part in parts])
    for name, kept in zip(names, np.diag(matrix), strict=True):
        if kept < LEAST_KEPT:
            raise DataError(
                f"{name} keeps {100 * kept:.0f} % of its own activity under a point spread of "
                f"{', '.join(f'{width:.3g}' for width in fwhm_mm)} mm, expected at least {100 * LEAST_KEPT:.0f} %",
                hint="It is too small to be corrected: leave it out, or check align.fwhm_mm.",
            )
    seen = np.array([float(volume.array[part].mean(dtype=np.float64)) for part in parts])
    means: Values = np.linalg.solve(matrix, seen)
    return means, spread
