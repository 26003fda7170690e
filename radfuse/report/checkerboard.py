"""Tiles of two pictures in turn: where the two lie on each other, lines run on from tile to tile."""

from __future__ import annotations

import numpy as np

from radfuse.report.mosaic import Pixels

TILES = 6
LEAST = 4


def checkerboard(first: Pixels, second: Pixels, spacing_mm: tuple[float, float]) -> Pixels:
    """Interleave two pictures (row, column, colour) of one size in square tiles; the upper left one is the first's.

    Parameters
    ----------
    spacing_mm : of rows and columns: tiles are square in mm. The shorter side holds six, none under four pixels.
    """
    height, width = first.shape[:2]
    edge_mm = min(height * spacing_mm[0], width * spacing_mm[1]) / TILES
    edge_mm = max(edge_mm, LEAST * max(spacing_mm))
    rows = (np.arange(height) * spacing_mm[0] // edge_mm).astype(int)
    columns = (np.arange(width) * spacing_mm[1] // edge_mm).astype(int)
    even = (rows[:, None] + columns) % 2 == 0
    return np.where(even[..., None], first, second)
