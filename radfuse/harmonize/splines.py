"""Natural cubic splines: smooth curves of a covariate that are straight beyond their outer knots.

Columns and places of the knots are Harrell's [2015, Regression Modeling Strategies, sections 2.4.5 and 2.4.6].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

QUANTILES = {
    3: (0.10, 0.50, 0.90),
    4: (0.05, 0.35, 0.65, 0.95),
    5: (0.05, 0.275, 0.50, 0.725, 0.95),
    6: (0.05, 0.23, 0.41, 0.59, 0.77, 0.95),
    7: (0.025, 0.1833, 0.3417, 0.50, 0.6583, 0.8167, 0.975),
}


def knots(values: Array, count: int) -> Array | None:
    """Place knots at quantiles of the known values; None where they do not differ, so that no curve can be fitted."""
    if not values.size:
        return None
    places = np.quantile(values, QUANTILES[count])
    return places if (np.diff(places) > 0).all() else None


def columns(values: Array, places: Array) -> Array:
    """Give the columns (row, knot - 1) of some values: the value itself, and a bend for each knot but the last two.

    Examples
    --------
    >>> columns(np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.0, 1.0, 2.0]))[:, 1]
    array([0.  , 0.25, 1.5 , 4.5 ])
    """
    last, before = places[-1], places[-2]
    width = last - places[0]
    bends = [values]
    for place in places[:-2]:
        bend = _cubed(values - place)
        bend -= _cubed(values - before) * (last - place) / (last - before)
        bend += _cubed(values - last) * (before - place) / (last - before)
        bends.append(bend / width**2)
    return np.stack(bends, axis=1)


def _cubed(distance: Array) -> Array:
    return np.asarray(np.maximum(distance, 0.0) ** 3)
