"""The Laplacian of a Gaussian as ITK's recursive filter gives it, computed only where the region needs it."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels.recursive import filter_lines

Floats = npt.NDArray[np.float64]

# The Gaussian (first row) and its second derivative as two damped waves [Deriche 1993, INRIA RR-1893, and
# Farneback & Westin 2006, doi:10.1007/s10851-006-8464-z], with the constants of ITK: a1, b1, a2, b2.
WAVES = ((1.3530, 1.8151, -0.3531, 0.0902), (-1.3563, 5.2318, 0.3446, -2.2355))
FREQUENCY = 0.6681, 2.0787
DAMPING = -1.3932, -1.3732


def laplacian(
    image: npt.NDArray[Any], box: tuple[slice, ...], spacing_mm: Floats, sigma_mm: float
) -> npt.NDArray[np.float32]:
    """Give sigma squared times the Laplacian of the smoothed image, inside the box.

    Every line is filtered whole, but of the lines of a later pass only those that reach the box.

    Parameters
    ----------
    image : (z, y, x), at least 4 voxels along each axis.
    box : where the answer is wanted.
    spacing_mm : voxel size along z, y, x.
    sigma_mm : width of the Gaussian.
    """
    small = image.dtype.kind in "iu" and image.dtype.itemsize <= 2
    source = np.ascontiguousarray(image, dtype=np.float32 if small or image.dtype == np.float32 else np.float64)
    whole = tuple(slice(0, size) for size in image.shape)
    smooth = [coefficients(sigma_mm, float(step), derivative=False) for step in spacing_mm]
    total = np.zeros([part.stop - part.start for part in box], np.float32)
    passed = np.empty(image.size, np.float32)
    for derived in (2, 1, 0):
        needed = list(whole)
        current: npt.NDArray[Any] = source.ravel()
        for axis in (derived, *(other for other in (2, 1, 0) if other != derived)):
            own = coefficients(sigma_mm, float(spacing_mm[axis]), derivative=True) if axis == derived else smooth[axis]
            starts, step = _lines(image.shape, needed, axis)
            filter_lines(current, passed, starts, step, image.shape[axis], own)
            needed[axis] = box[axis]
            current = passed
        inverse = 1.0 / float(spacing_mm[derived]) ** 2
        total = (total + passed.reshape(image.shape)[box] * np.float64(inverse)).astype(np.float32)
    return total


def _lines(shape: tuple[int, ...], needed: list[slice], axis: int) -> tuple[npt.NDArray[np.int64], int]:
    """Give the first voxel of every line along an axis that crosses what is needed, and the step along it."""
    steps = np.array([shape[1] * shape[2], shape[2], 1])
    places = [np.arange(part.start, part.stop) * step for part, step in zip(needed, steps, strict=True)]
    places[axis] = np.zeros(1, np.int64)
    starts = places[0][:, None, None] + places[1][None, :, None] + places[2][None, None, :]
    return starts.ravel().astype(np.int64), int(steps[axis])


def coefficients(sigma_mm: float, spacing_mm: float, *, derivative: bool) -> Floats:
    """Give the 20 coefficients of `filter_lines`: the smoothing, or sigma squared times the second derivative."""
    sigma = sigma_mm / spacing_mm
    cos1, cos2 = (math.cos(w / sigma) for w in FREQUENCY)
    exp1, exp2 = (math.exp(damp / sigma) for damp in DAMPING)
    d4 = exp1 * exp1 * exp2 * exp2
    d3 = -2 * cos1 * exp1 * exp2 * exp2
    d3 += -2 * cos2 * exp2 * exp1 * exp1
    d2 = 4 * cos2 * cos1 * exp1 * exp2
    d2 += exp1 * exp1 + exp2 * exp2
    d1 = -2 * (exp2 * cos2 + exp1 * cos1)
    sd, dd, ed = 1.0 + d1 + d2 + d3 + d4, d1 + 2 * d2 + 3 * d3 + 4 * d4, d1 + 4 * d2 + 9 * d3 + 16 * d4
    n, (sn, dn, en) = _numerator(sigma, WAVES[0])
    if derivative:
        n2, (sn2, dn2, en2) = _numerator(sigma, WAVES[1])
        beta = -(2 * sn2 - sd * n2[0]) / (2 * sn - sd * n[0])
        n = [second + beta * zeroth for second, zeroth in zip(n2, n, strict=True)]
        sn, dn, en = sn2 + beta * sn, dn2 + beta * dn, en2 + beta * en
        alpha = (en * sd * sd - ed * sn * sd - 2 * dn * dd * sd + 2 * dd * dd * sn) / (sd * sd * sd)
        scale = sigma_mm * sigma_mm / alpha
    else:
        scale = 1.0 / (2 * sn / sd - n[0])
    n = [value * scale for value in n]
    m = [n[1] - d1 * n[0], n[2] - d2 * n[0], n[3] - d3 * n[0], -d4 * n[0]]
    sum_n, sum_m = n[0] + n[1] + n[2] + n[3], m[0] + m[1] + m[2] + m[3]
    d = [d1, d2, d3, d4]
    return np.array([*n, *m, *d, *(value * sum_n / sd for value in d), *(value * sum_m / sd for value in d)])


def _numerator(sigma: float, wave: tuple[float, ...]) -> tuple[list[float], tuple[float, float, float]]:
    a1, b1, a2, b2 = wave
    sin1, sin2 = (math.sin(w / sigma) for w in FREQUENCY)
    cos1, cos2 = (math.cos(w / sigma) for w in FREQUENCY)
    exp1, exp2 = (math.exp(damp / sigma) for damp in DAMPING)
    n0 = a1 + a2
    n1 = exp2 * (b2 * sin2 - (a2 + 2 * a1) * cos2)
    n1 += exp1 * (b1 * sin1 - (a1 + 2 * a2) * cos1)
    n2 = (a1 + a2) * cos2 * cos1
    n2 -= b1 * cos2 * sin1 + b2 * cos1 * sin2
    n2 *= 2 * exp1 * exp2
    n2 += a2 * exp1 * exp1 + a1 * exp2 * exp2
    n3 = exp2 * exp1 * exp1 * (b2 * sin2 - a2 * cos2)
    n3 += exp1 * exp2 * exp2 * (b1 * sin1 - a1 * cos1)
    return [n0, n1, n2, n3], (n0 + n1 + n2 + n3, n1 + 2 * n2 + 3 * n3, n1 + 4 * n2 + 9 * n3)
