"""One step of the stationary wavelet transform."""

from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels import compiled

Array = npt.NDArray[Any]


@compiled
def convolve(source: Array, low: Array, high: Array, axis: int, start: int, whole: int) -> tuple[Array, Array]:
    """Filter along an axis, going round at the edges, to the last bit as PyWavelets does (`pywt.swtn`, one level).

    PyWavelets adds up in the order of the taps, but at the end of a line starts with those that reach round it.

    Parameters
    ----------
    source : (z, y, x), float32 or float64; a part of the image with a margin, or all of it.
    low, high : the two filters, of one even length and the image's type.
    axis : along which; 0 is z.
    start : where in the image the part starts along the axis; may be negative, which is round the edge.
    whole : size of the image along the axis.
    """
    lows, highs = np.zeros_like(source), np.zeros_like(source)
    taps = low.size
    half = taps // 2
    size = source.shape[axis]
    order = np.empty((size, taps), np.int64)
    for place in range(size):
        around = (start + place) % whole + half - whole
        for tap in range(taps):
            order[place, tap] = around - tap if tap <= around else tap
    for z in range(source.shape[0]):
        for y in range(source.shape[1]):
            one, other = lows[z, y], highs[z, y]
            if axis == 2:
                line = np.empty(size + taps, source.dtype)
                for x in range(size + taps):
                    line[x] = source[z, y, (x - half + 1) % size]
                for tap in range(taps):
                    part = line[taps - 1 - tap : taps - 1 - tap + size]
                    a, b = low[tap], high[tap]
                    for x in range(size):
                        one[x] += a * part[x]
                        other[x] += b * part[x]
                for x in range(size):
                    if order[x, 0] == 0:
                        continue
                    one[x] = 0.0
                    other[x] = 0.0
                    for turn in range(taps):
                        tap = order[x, turn]
                        one[x] += low[tap] * line[taps - 1 - tap + x]
                        other[x] += high[tap] * line[taps - 1 - tap + x]
                continue
            place = z if axis == 0 else y
            for turn in range(taps):
                tap = order[place, turn]
                behind = (place + half - tap) % size
                part = source[behind, y] if axis == 0 else source[z, behind]
                a, b = low[tap], high[tap]
                for x in range(source.shape[2]):
                    one[x] += a * part[x]
                    other[x] += b * part[x]
    return lows, highs
