"""Go on with an image beyond what a scan covers, so that nothing there depends on how it was padded."""

import numpy as np
import numpy.typing as npt

Voxels = npt.NDArray[np.bool_]


def gone_on(array: npt.NDArray[np.generic], seen: Voxels) -> npt.NDArray[np.generic]:
    """Give every voxel that was not seen the value of the nearest seen one along x, else along y, else along z.

    Around a box this is what repeating its border gives. A filter that looks beyond the edge of a scan finds tissue
    going on there, and no cliff.

    Parameters
    ----------
    array, seen : (z, y, x). Where nothing was seen at all, the array comes back as it is.
    """
    if seen.all() or not seen.any():
        return array
    for axis in (2, 1, 0):
        count = array.shape[axis]
        far = 3 * count  # further than any voxel of the line
        place = np.arange(count, dtype=np.int32).reshape([-1 if each == axis else 1 for each in range(3)])
        before = np.maximum.accumulate(np.where(seen, place, -1), axis=axis)
        after = np.flip(np.minimum.accumulate(np.flip(np.where(seen, place, far), axis), axis=axis), axis)
        # Of two that are as near, the one before; a line on which nothing was seen is left to the next axis.
        nearest = np.where((before < 0) | (after - place < place - before), np.minimum(after, count - 1), before)
        array = np.take_along_axis(array, nearest, axis)
        seen = np.broadcast_to(seen.any(axis=axis, keepdims=True), seen.shape)
    return array
