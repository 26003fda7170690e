"""Go on with an image beyond what a scan covers, so that nothing there depends on how it was padded."""

import numpy as np
import numpy.typing as npt

from radfuse.data.box import box_of

Array = npt.NDArray[np.generic]
Voxels = npt.NDArray[np.bool_]


def gone_on(array: Array, seen: Voxels) -> Array:
    """Give every voxel that was not seen the value of the nearest seen one along x, else along y, else along z.

    Around a box this is what repeating its border gives. A filter that looks beyond the edge of a scan finds tissue
    going on there, and no cliff.

    Parameters
    ----------
    array, seen : (z, y, x). Where nothing was seen at all, the array comes back as it is.
    """
    if seen.all() or not seen.any():
        return array
    box = box_of(seen)
    if seen[box].all():
        edges = [(part.start, count - part.stop) for part, count in zip(box, array.shape, strict=True)]
        return np.pad(array[box], edges, mode="edge")
    for axis in (2, 1, 0):
        array, seen = _along(array, seen, axis)
    return array


def _along(array: Array, seen: Voxels, axis: int) -> tuple[Array, Voxels]:
    """Fill the lines of one axis on which something was seen; of two seen voxels that are as near, the one before."""
    count = array.shape[axis]
    none = 3 * count  # further than any voxel of the line
    place = np.arange(count, dtype=np.int32).reshape([-1 if each == axis else 1 for each in range(3)])
    before = np.maximum.accumulate(np.where(seen, place, -1), axis=axis)
    after = np.flip(np.minimum.accumulate(np.flip(np.where(seen, place, none), axis), axis=axis), axis)
    nearest = np.where((before < 0) | (after - place < place - before), np.minimum(after, count - 1), before)
    some = np.broadcast_to(seen.any(axis=axis, keepdims=True), seen.shape)
    return np.take_along_axis(array, nearest, axis), some
