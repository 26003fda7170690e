"""PyRadiomics' stationary wavelet transform, on the region and as far around it as the filters reach."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pywt

from radfuse.extract.kernels.wavelets import convolve
from radfuse.extract.native.region import Prepared

Array = npt.NDArray[Any]


class Stationary:
    """The transform, level by level.

    PyRadiomics makes odd sizes even by repeating the first slice after the last, and goes round at the edges.

    Parameters
    ----------
    name : of the wavelet, as `pywt` knows it.
    prepared : the image and the region.
    levels : how many steps will be made.
    """

    def __init__(self, name: str, prepared: Prepared, levels: int) -> None:
        self.wavelet = pywt.Wavelet(name)
        reach = levels * self.wavelet.dec_len
        self.sizes, self.starts, places, box = [], [], [], []
        for part, size in zip(prepared.box, prepared.image.shape, strict=True):
            even = size + size % 2
            start, stop = part.start - reach, part.stop + reach
            stop += (stop - start) % 2
            if stop - start >= even:
                start, stop = 0, even
            self.sizes.append(even)
            self.starts.append(start)
            places.append(np.arange(start, stop) % even % size)
            box.append(slice(part.start - start, part.stop - start))
        self.box = tuple(box)
        image = prepared.image[np.ix_(*places)]
        self.data = np.ascontiguousarray(image, dtype=np.float32 if image.dtype == np.float32 else np.float64)

    def step(self, axes: tuple[int, ...]) -> dict[str, Array]:
        """Split the approximation once more; the bands by `pywt`'s names, the approximation first.

        Parameters
        ----------
        axes : along which, in this order.
        """
        if min(self.sizes) < 2 * self.wavelet.dec_len:
            # Filters that go round more than once: the library itself, on the whole image.
            bands: dict[str, Array] = pywt.swtn(self.data, self.wavelet, level=1, start_level=0, axes=axes)[0]
        else:
            bands = {"": self.data}
            low, high = _filters(self.wavelet.name, self.data.dtype.char)
            for axis in axes:
                halves = {}
                for band, image in bands.items():
                    one, other = convolve(image, low, high, axis, self.starts[axis], self.sizes[axis])
                    halves[f"{band}a"], halves[f"{band}d"] = one, other
                bands = halves
        self.data = bands["a" * len(axes)]
        return bands


@lru_cache(maxsize=16)
def _filters(name: str, pixel: str) -> tuple[Array, Array]:
    """Give both filters as the library has them in single or double precision: its answer to a single one."""
    wavelet = pywt.Wavelet(name)
    taps = wavelet.dec_len
    impulse = np.zeros(4 * taps, pixel)
    impulse[2 * taps] = 1
    low, high = pywt.swt(impulse, wavelet, level=1)[0]
    part = slice(2 * taps - taps // 2, 2 * taps - taps // 2 + taps)
    return np.ascontiguousarray(low[part]), np.ascontiguousarray(high[part])
