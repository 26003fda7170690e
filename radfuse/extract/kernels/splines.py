"""Cubic B-spline interpolation on a grid whose axes run along the image's."""

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

POLE = np.sqrt(3.0) - 2.0
HORIZON = 18  # terms until the pole's power falls below 1e-10, ITK's tolerance


@compiled
def prefilter(image: Floats) -> None:
    """Turn voxel values into spline coefficients, in place [Unser 1999, doi:10.1109/79.799930].

    The order of operations is ITK's (itkBSplineDecompositionImageFilter), edges being mirrored.
    """
    nz, ny, nx = image.shape
    gain = 1.0 * (1.0 - POLE) * (1.0 - 1.0 / POLE)
    # Along x every row is a line of its own; along y and z all lines of a plane go side by side.
    for z in range(nz if nx > 1 else 0):
        for y in range(ny):
            _line(image[z, y].reshape(nx, 1), gain)
    for z in range(nz if ny > 1 else 0):
        _line(image[z], gain)
    if nz > 1:
        _line(image.reshape(nz, ny * nx), gain)


@compiled
def _line(lines: Floats, gain: float) -> None:
    count, width = lines.shape
    for index in range(count):
        row = lines[index]
        for lane in range(width):
            row[lane] *= gain
    first = lines[0]
    power = POLE
    if count > HORIZON:
        for index in range(1, HORIZON):
            row = lines[index]
            for lane in range(width):
                first[lane] += power * row[lane]
            power *= POLE
    else:
        inverse = 1.0 / POLE
        mirrored = POLE ** (count - 1)
        last = lines[count - 1]
        for lane in range(width):
            first[lane] += mirrored * last[lane]
        mirrored *= mirrored * inverse
        for index in range(1, count - 1):
            row = lines[index]
            for lane in range(width):
                first[lane] += (power + mirrored) * row[lane]
            power *= POLE
            mirrored *= inverse
        for lane in range(width):
            first[lane] /= 1.0 - power * power
    for index in range(1, count):
        row, before = lines[index], lines[index - 1]
        for lane in range(width):
            row[lane] += POLE * before[lane]
    row, before = lines[count - 1], lines[count - 2]
    factor = POLE / (POLE * POLE - 1.0)
    for lane in range(width):
        row[lane] = factor * (POLE * before[lane] + row[lane])
    for index in range(count - 2, -1, -1):
        row, after = lines[index], lines[index + 1]
        for lane in range(width):
            row[lane] = POLE * (after[lane] - row[lane])


@compiled
def sample(coefficients: Floats, places: tuple[Ints, Ints, Ints], weights: tuple[Floats, Floats, Floats]) -> Floats:
    """Evaluate the spline on a grid, one axis after the other.

    Parameters
    ----------
    coefficients : (z, y, x).
    places : by axis (size, 4): which coefficients a voxel needs; the first is -1 outside the image.
    weights : by axis (size, 4): what they weigh.

    Returns
    -------
    values : (z, y, x) of the grid; 0 outside the image.
    """
    (iz, iy, ix), (wz, wy, wx) = places, weights
    nz, ny, nx = iz.shape[0], iy.shape[0], ix.shape[0]
    values = np.zeros((nz, ny, nx))
    height, width = coefficients.shape[1:]
    slab = np.empty((height, width))
    line = np.empty(width)
    for z in range(nz):
        if iz[z, 0] < 0:
            continue
        a, b, c, d = coefficients[iz[z, 0]], coefficients[iz[z, 1]], coefficients[iz[z, 2]], coefficients[iz[z, 3]]
        wa, wb, wc, wd = wz[z]
        for y in range(height):
            ra, rb, rc, rd, out = a[y], b[y], c[y], d[y], slab[y]
            for x in range(width):
                out[x] = wa * ra[x] + wb * rb[x] + wc * rc[x] + wd * rd[x]
        for y in range(ny):
            if iy[y, 0] < 0:
                continue
            ra, rb, rc, rd = slab[iy[y, 0]], slab[iy[y, 1]], slab[iy[y, 2]], slab[iy[y, 3]]
            wa, wb, wc, wd = wy[y]
            for x in range(width):
                line[x] = wa * ra[x] + wb * rb[x] + wc * rc[x] + wd * rd[x]
            row = values[z, y]
            for x in range(nx):
                if ix[x, 0] >= 0:
                    row[x] = (
                        wx[x, 0] * line[ix[x, 0]] + wx[x, 1] * line[ix[x, 1]]
                        + wx[x, 2] * line[ix[x, 2]] + wx[x, 3] * line[ix[x, 3]]
                    )  # fmt: skip
    return values


@compiled
def settle(
    values: Floats, coefficients: Floats, places: tuple[Ints, Ints, Ints], weights: tuple[Floats, Floats, Floats],
    doubt: float,
) -> None:  # fmt: skip
    """Do those values again that lie so near a whole number that rounding decides which way they are cut off.

    This time in ITK's own order of sums (itkBSplineInterpolateImageFunction), 64 terms for each value.

    Parameters
    ----------
    values : what `sample` gave; changed in place.
    coefficients, places, weights : as for `sample`.
    doubt : how near is near.
    """
    (iz, iy, ix), (wz, wy, wx) = places, weights
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                value = values[z, y, x]
                if abs(value - np.rint(value)) > doubt:
                    continue
                if iz[z, 0] < 0 or iy[y, 0] < 0 or ix[x, 0] < 0:
                    continue
                total = 0.0
                for c in range(4):
                    for b in range(4):
                        for a in range(4):
                            weight = wx[x, a] * wy[y, b] * wz[z, c]
                            total += weight * coefficients[iz[z, c], iy[y, b], ix[x, a]]
                values[z, y, x] = total
