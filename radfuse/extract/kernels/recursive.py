"""The fourth-order recursive filter behind ITK's Gaussians, sixteen lines at a time."""

from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled

Floats = npt.NDArray[np.float64]

# Lines that go through the filter side by side, so that the processor does them at once.
LANES = 16


@compiled
def filter_lines(
    source: npt.NDArray[Any], target: npt.NDArray[np.float32], starts: npt.NDArray[np.int64], step: int, count: int,
    coefficients: Floats,
) -> None:  # fmt: skip
    """Filter lines of an image forwards and backwards, and add the two up.

    Beyond its ends a line goes on with its first and its last value. The order of every sum is ITK's
    (itkRecursiveSeparableImageFilter), so that results agree to the last bit.

    Parameters
    ----------
    source, target : flat images.
    starts : where the lines start.
    step : from one voxel of a line to the next.
    count : voxels of a line, at least 4.
    coefficients : N0-N3, M1-M4, D1-D4, then those of the boundaries BN1-BN4, BM1-BM4.
    """
    n0, n1, n2, n3 = coefficients[0:4]
    m1, m2, m3, m4 = coefficients[4:8]
    d1, d2, d3, d4 = coefficients[8:12]
    data = np.empty((count + 8, LANES))
    forth = np.empty((count + 4, LANES))
    back = np.empty((count + 4, LANES))
    for first in range(0, starts.size, LANES):
        lanes = min(LANES, starts.size - first)
        for lane in range(LANES):
            start = starts[first + min(lane, lanes - 1)]
            for index in range(count):
                data[index + 4, lane] = source[start + index * step]
            for index in range(4):
                data[index, lane] = data[4, lane]
                data[count + 4 + index, lane] = data[count + 3, lane]
        # Four places before the start hold what the line would have settled to; see `boundary`.
        for index in range(count):
            here, a, b, c = data[index + 4], data[index + 3], data[index + 2], data[index + 1]
            out = forth[index + 4]
            if index >= 4:
                w, x, y, z = forth[index + 3], forth[index + 2], forth[index + 1], forth[index]
                for lane in range(LANES):
                    value = here[lane] * n0 + a[lane] * n1 + b[lane] * n2 + c[lane] * n3
                    out[lane] = value - (w[lane] * d1 + x[lane] * d2 + y[lane] * d3 + z[lane] * d4)
            else:
                for lane in range(LANES):
                    edge = data[4, lane]
                    value = here[lane] * n0 + a[lane] * n1 + b[lane] * n2 + c[lane] * n3
                    p = forth[index + 3, lane] * d1 if index >= 1 else edge * coefficients[12]
                    q = forth[index + 2, lane] * d2 if index >= 2 else edge * coefficients[13]
                    r = forth[index + 1, lane] * d3 if index >= 3 else edge * coefficients[14]
                    s = edge * coefficients[15]
                    out[lane] = value - (p + q + r + s)
        for turn in range(count):
            index = count - 1 - turn
            a, b, c, d = data[index + 5], data[index + 6], data[index + 7], data[index + 8 if turn >= 3 else count + 7]
            out = back[index]
            if turn >= 4:
                w, x, y, z = back[index + 1], back[index + 2], back[index + 3], back[index + 4]
                for lane in range(LANES):
                    value = a[lane] * m1 + b[lane] * m2 + c[lane] * m3 + d[lane] * m4
                    out[lane] = value - (w[lane] * d1 + x[lane] * d2 + y[lane] * d3 + z[lane] * d4)
            else:
                for lane in range(LANES):
                    edge = data[count + 3, lane]
                    value = a[lane] * m1 + b[lane] * m2 + c[lane] * m3 + d[lane] * m4
                    p = back[index + 1, lane] * d1 if turn >= 1 else edge * coefficients[16]
                    q = back[index + 2, lane] * d2 if turn >= 2 else edge * coefficients[17]
                    r = back[index + 3, lane] * d3 if turn >= 3 else edge * coefficients[18]
                    s = edge * coefficients[19]
                    out[lane] = value - (p + q + r + s)
        for lane in range(lanes):
            start = starts[first + lane]
            for index in range(count):
                target[start + index * step] = np.float32(forth[index + 4, lane] + back[index, lane])
