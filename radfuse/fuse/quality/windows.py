"""Weighted means over windows of axial slices, at the places where the whole window lies inside.

Separable and in float64: local variances are small differences of large means, and in float32 a smooth region's come
out as noise.
"""

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float64]


def gaussian(width: int, sigma: float) -> Image:
    """Give the weights of an odd window; they sum to 1.

    Examples
    --------
    >>> gaussian(3, 1.0).round(3)
    array([0.274, 0.452, 0.274])
    """
    place = np.arange(width) - width // 2
    weights = np.exp(-(place**2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum())


def local_mean(image: Image, weights: Image) -> Image:
    """Average (..., y, x) over windows; y and x become smaller by the window's width less one."""
    from scipy.ndimage import correlate1d

    margin = len(weights) // 2
    inner = correlate1d(image, weights, axis=-1)[..., margin : image.shape[-1] - margin]
    found: Image = correlate1d(inner, weights, axis=-2)[..., margin : image.shape[-2] - margin, :]
    return found


def local_moments(one: Image, other: Image, weights: Image) -> tuple[Image, Image, Image, Image, Image]:
    """Give two means, two variances and the covariance over windows; variances are not below 0."""
    a, b = local_mean(one, weights), local_mean(other, weights)
    variance_a = np.maximum(local_mean(one * one, weights) - a * a, 0.0)
    variance_b = np.maximum(local_mean(other * other, weights) - b * b, 0.0)
    return a, b, variance_a, variance_b, local_mean(one * other, weights) - a * b
