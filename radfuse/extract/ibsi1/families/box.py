"""The bounding box of a region."""

import numpy as np
import numpy.typing as npt


def bounding_box(inside: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """Give the least box, along z, y, x, that holds a region, which is not empty."""
    planes = np.flatnonzero(inside.any((1, 2)))
    within = inside[planes[0] : planes[-1] + 1]
    lines = (planes, np.flatnonzero(within.any((0, 2))), np.flatnonzero(within.any((0, 1))))
    z, y, x = (slice(int(found[0]), int(found[-1]) + 1) for found in lines)
    return z, y, x
