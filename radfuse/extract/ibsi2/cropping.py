"""Filter what is needed for a box of voxels, no more."""

import math

from radfuse.extract.ibsi2.filter import Array, Filter, Spacing

Box = tuple[slice, slice, slice]


def respond_in(box: Box, chosen: Filter, array: Array, spacing_mm: Spacing) -> Array:
    """Give the response inside a box: that part of the response to the whole image, to rounding.

    Parameters
    ----------
    box : from the first voxel to the one after the last, along z, y, x.
    chosen : the filter.
    array : the whole image, float64 (z, y, x).
    spacing_mm : along x, y, z.
    """
    reach = zip(chosen.reach_mm(spacing_mm)[::-1], spacing_mm[::-1], strict=True)
    seen = tuple(
        _widened(inside, far / step, size) for inside, (far, step), size in zip(box, reach, array.shape, strict=True)
    )
    here = tuple(
        slice(inside.start - outside.start, inside.stop - outside.start)
        for inside, outside in zip(box, seen, strict=True)
    )
    return chosen.build()(array[seen], spacing_mm)[here]


def _widened(inside: slice, margin: float, size: int) -> slice:
    """Put a margin around, as far as the image goes: the boundaries that do not repeat it look no further inwards."""
    voxels = size if math.isinf(margin) else math.ceil(margin - 1e-6)
    return slice(max(0, inside.start - voxels), min(size, inside.stop + voxels))
