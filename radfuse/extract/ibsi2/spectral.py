"""Filters given by their transfer function."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from radfuse.extract.ibsi2.filter import Array

Transfer = Callable[[Sequence[Array]], npt.NDArray[np.complex128] | Array]


def regular(size: int) -> Array:
    """Frequencies of the discrete Fourier transform along an axis, in units of the Nyquist frequency."""
    return np.asarray(2 * np.fft.fftfreq(size), np.float64)


def closed(size: int) -> Array:
    """Frequencies from -1 to 1 with both ends on the grid, zero first.

    The reference maps of the Simoncelli wavelet were made on this grid: it gives 8.a.2 to 1e-7 of its range,
    `regular` to 2.5 %. With an even size it has no zero and is not symmetric.
    """
    if size == 1:
        return np.zeros(1)
    return np.fft.ifftshift(np.linspace(-1, 1, size))


def filtered(array: Array, transfer: Transfer, axes: Sequence[int], grid: Callable[[int], Array]) -> Array:
    """Filter periodically along some axes, and give the real part.

    Parameters
    ----------
    transfer : from the frequencies along each axis of ``axes`` (they broadcast to the transform) to its factor.
    grid : the frequencies along an axis of some size.
    """
    from scipy import fft

    sizes = [array.shape[axis] for axis in axes]
    there, opposite = [], []
    for place, (axis, size) in enumerate(zip(axes, sizes, strict=True)):
        kept = size // 2 + 1 if place == len(axes) - 1 else size
        shape = [1] * array.ndim
        shape[axis] = kept
        frequency = grid(size)
        there.append(frequency[:kept].reshape(shape))
        opposite.append(np.roll(frequency[::-1], 1)[:kept].reshape(shape))
    # The real part of the response is the response of the Hermitian part, which a real transform can do.
    factor = (transfer(there) + np.conj(transfer(opposite))) / 2
    response: Array = fft.irfftn(fft.rfftn(array, axes=axes) * factor, s=sizes, axes=axes)
    return response
