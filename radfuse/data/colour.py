"""Colours: lightness and chroma of red, green, blue pictures, and what to do where a colour leaves the gamut."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma Y of YCbCr [ITU-R BT.601]."""

THIRDS = (1 / 3, 1 / 3, 1 / 3)
"""Weights in the intensity I of IHS."""


def lightness(colour: npt.NDArray[np.floating], weights: Sequence[float] = LUMA) -> Array:
    """Give the weighted mean of red, green and blue.

    Parameters
    ----------
    colour : (..., 3).
    weights : of the three; they sum to 1.

    Examples
    --------
    >>> lightness(np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5]]))
    array([0.299, 0.5  ], dtype=float32)
    """
    return np.asarray(_mean(np.asarray(colour, dtype=np.float64), weights)[..., 0], dtype=np.float32)


def with_lightness(
    colour: npt.NDArray[np.floating], new: npt.NDArray[np.floating], weights: Sequence[float] = LUMA
) -> Array:
    """Give colours another lightness and leave their chroma as it is.

    The same amount is added to red, green and blue, so that every difference between them stays: Cb, Cr and the hue
    are exactly kept. Where that leaves the gamut the three differences shrink together by as little as will do: the
    lightness is still the one asked for and the hue the same, only paler.

    Parameters
    ----------
    colour : (..., 3), any range.
    new : (...), the lightness to have; what lies outside [0, 1] is clipped.
    weights : which lightness.

    Examples
    --------
    >>> with_lightness(np.array([0.6, 0.3, 0.3]), np.array(0.5), THIRDS)
    array([0.7, 0.4, 0.4], dtype=float32)
    """
    values = np.asarray(colour, dtype=np.float64)
    wanted = np.clip(np.asarray(new, dtype=np.float64), 0.0, 1.0)[..., None]
    chroma = values - _mean(values, weights)
    room = np.where(chroma > 0, 1.0 - wanted, wanted)
    size = np.abs(chroma)
    share = np.where(size > room, room / np.where(size > 0, size, 1.0), 1.0).min(axis=-1, keepdims=True)
    return np.asarray(np.clip(wanted + share * chroma, 0.0, 1.0), dtype=np.float32)


def _mean(values: npt.NDArray[np.float64], weights: Sequence[float]) -> npt.NDArray[np.float64]:
    red, green, blue = weights
    return red * values[..., :1] + green * values[..., 1:2] + blue * values[..., 2:]
