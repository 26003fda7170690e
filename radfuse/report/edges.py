"""The edges of one image, drawn on another: where the two lie on each other, they meet."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SMOOTHING_MM = 2.5
WEAK, STRONG = 0.15, 0.35  # shares of the strongest gradient: where an edge goes on, what it has on average
STRONGEST = 99.0
SHORTEST_MM = 12.0
COLOUR = "#FF7A1A"


def edges(shown: Array, spacing_mm: tuple[float, float], window: tuple[float, float]) -> list[Array]:
    """Find the edges of a slice: lines of points (column, row), in fractions of a pixel.

    They are where the Laplacian of the smoothed slice is zero [Marr & Hildreth 1980, Proc R Soc Lond B 207:187,
    doi:10.1098/rspb.1980.0020], as far as the slice is steep there. What is short or faint is noise and left out.

    Parameters
    ----------
    shown : pixels (row, column); NaN where there is nothing.
    spacing_mm : of rows and columns.
    window : the grey scale's two ends: what lies beyond has no edges.
    """
    from contourpy import contour_generator
    from scipy.ndimage import gaussian_gradient_magnitude, gaussian_laplace, map_coordinates

    low, high = window
    clipped = np.clip(np.nan_to_num(shown, nan=low), low, high)
    sigma = [max(1.0, SMOOTHING_MM / step) for step in spacing_mm]
    steep = gaussian_gradient_magnitude(clipped, sigma, mode="nearest")
    strongest = float(np.percentile(steep, STRONGEST))
    if strongest <= 0.0:
        return []
    field = gaussian_laplace(clipped, sigma, mode="nearest")
    flat = (steep <= WEAK * strongest) | ~np.isfinite(shown)
    lines = contour_generator(z=np.ma.masked_where(flat, field)).lines(0.0)
    found = [np.asarray(line, dtype=np.float64) for line in lines]

    def counts(line: Array) -> bool:
        length_mm = np.linalg.norm(np.diff(line, axis=0) * spacing_mm[::-1], axis=1).sum()
        mean = map_coordinates(steep, line.T[::-1], order=1, mode="nearest").mean()
        return bool(length_mm >= SHORTEST_MM and mean >= STRONG * strongest)

    return [line for line in found if counts(line)]
