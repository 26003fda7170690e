"""Mean intensity in a ball of 1 cm3, IBSI family 9ST6 (manual 3.2)."""

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Inside = npt.NDArray[np.bool_]

RADIUS_MM = 10.0 * (3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)


def peaks(image: Floats, inside: Inside, spacing_mm: Floats) -> tuple[float, float]:
    """Give the local and the global intensity peak (VJGA, 0F91).

    Both are means of all voxels with their centre in a ball of 1 cm3 around a voxel of the region, in the region or
    not, as far as the image goes. The local peak is around the voxel of the greatest intensity (of several, the
    greatest of their peaks), the global peak is the greatest of all.

    Parameters
    ----------
    image : intensities, also around the region, (z, y, x).
    inside : the region; some voxel is inside.
    spacing_mm : voxel size along z, y, x.
    """
    places = np.argwhere(inside)
    sums = np.concatenate([np.zeros((*image.shape[:2], 1)), np.cumsum(image, axis=2)], axis=2)
    means = ball_means(sums, places, ball_rows(spacing_mm))
    values = image[inside]
    return float(means[values == values.max()].max()), float(means.max())


def ball_rows(spacing_mm: Floats) -> Ints:
    """Give the rows of a ball: steps along z and y, and how far it reaches along x, (row, 3)."""
    reach = (RADIUS_MM / spacing_mm).astype(np.int64)
    rows = []
    for z in range(-reach[0], reach[0] + 1):
        for y in range(-reach[1], reach[1] + 1):
            left = RADIUS_MM**2 - (z * spacing_mm[0]) ** 2 - (y * spacing_mm[1]) ** 2
            if left >= 0:
                rows.append((z, y, int(left**0.5 / spacing_mm[2])))
    return np.array(rows, dtype=np.int64)


@compiled
def ball_means(sums: Floats, places: Ints, rows: Ints) -> Floats:
    """Give the mean of the ball around each place.

    Parameters
    ----------
    sums : of all voxels before each along x, one longer than the image along x.
    places : (voxel, 3), along z, y, x.
    rows : see `ball_rows`.
    """
    means = np.empty(places.shape[0])
    for index in range(places.shape[0]):
        total, count = 0.0, 0
        for row in range(rows.shape[0]):
            z, y = places[index, 0] + rows[row, 0], places[index, 1] + rows[row, 1]
            if z < 0 or y < 0 or z >= sums.shape[0] or y >= sums.shape[1]:
                continue
            first = max(0, places[index, 2] - rows[row, 2])
            beyond = min(sums.shape[2] - 1, places[index, 2] + rows[row, 2] + 1)
            total += sums[z, y, beyond] - sums[z, y, first]
            count += beyond - first
        means[index] = total / count
    return means
