"""How much of the sources' local structure is in the fused image: SSIM, MS-SSIM, VIF. Each is a sum over sources."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from radfuse.fuse.quality.unmeasurable import Unmeasurable
from radfuse.fuse.quality.windows import gaussian, local_mean, local_moments

Image = npt.NDArray[np.float64]

K1, K2 = 0.01, 0.03
WINDOW = 7

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales of MS-SSIM [Wang, Simoncelli & Bovik, Asilomar 2003, section 3.2]."""

MS_SSIM_SMALLEST = 176
"""11 x 2^4: with fewer pixels the coarsest of five scales has no room for a window of 11."""

VIF_SMALLEST = 41
"""Four scales of windows 17, 9, 5 and 3, nothing padded."""

NOISE = 2.0
"""Variance of the visual noise [Sheikh & Bovik 2006]; in grey levels squared."""

SLICES = 16
"""Slices at once, so that memory does not grow with the volume."""


def structural_similarity(fused: Image, sources: Sequence[Image], data_range: float) -> float:
    """Give SSIM, summed over sources [Wang et al., IEEE TIP 13:600, 2004].

    Uniform windows 7 voxels wide along every axis, unbiased variances, K1 = 0.01, K2 = 0.03, the mean over windows
    that lie inside: what scikit-image does unless told otherwise.

    Parameters
    ----------
    fused, sources : pictures, or volumes, for which the window is a cube.
    data_range : L of the constants (K L)².
    """
    if min(fused.shape) < WINDOW:
        raise Unmeasurable(f"{_size(fused.shape)} has no room for a window {WINDOW} wide along every axis")
    return sum(_similarity(fused, source, data_range) for source in sources)


def multiscale_similarity(fused: Image, sources: Sequence[Image]) -> float:
    """Give MS-SSIM [Wang, Simoncelli & Bovik, Asilomar 2003], summed over sources; axial, for images on [0, 1].

    Gaussian windows of 11 pixels, sigma 1.5, that lie inside; a scale whose mean is below 0 counts as 0.
    """
    if min(fused.shape[-2:]) < MS_SSIM_SMALLEST:
        raise Unmeasurable(f"slices of {_slice(fused)} are too small for five scales, which need {MS_SSIM_SMALLEST}")
    return sum(float(_by_slice(_multiscale, fused, source).mean()) for source in sources)


def visual_fidelity(fused: Image, sources: Sequence[Image]) -> float:
    """Give VIF in the pixel domain [Sheikh & Bovik, IEEE TIP 15:430, 2006], summed over sources.

    The mean over axial slices; those in which a source is flat hold no information to be kept, and are left out.

    Parameters
    ----------
    fused, sources : the visual noise has variance 2, so the scale matters: grey levels 0 to 255 are meant.
    """
    if min(fused.shape[-2:]) < VIF_SMALLEST:
        raise Unmeasurable(f"slices of {_slice(fused)} are too small for four scales, which need {VIF_SMALLEST}")
    total = 0.0
    for source in sources:
        found = _by_slice(_visual, fused, source)
        if np.isnan(found).all():
            raise Unmeasurable("every slice of a source is flat")
        total += float(np.nanmean(found))
    return total


def _similarity(one: Image, other: Image, data_range: float) -> float:
    from scipy.ndimage import uniform_filter

    def mean(image: Image) -> Image:
        inner = tuple(slice(WINDOW // 2, length - WINDOW // 2) for length in image.shape)
        smooth: Image = uniform_filter(image, WINDOW)[inner]
        return smooth

    voxels = WINDOW**one.ndim
    unbiased = voxels / (voxels - 1)
    ux, uy = mean(one), mean(other)
    vx = unbiased * (mean(one * one) - ux * ux)
    vy = unbiased * (mean(other * other) - uy * uy)
    vxy = unbiased * (mean(one * other) - ux * uy)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    found = (2 * ux * uy + c1) * (2 * vxy + c2) / ((ux**2 + uy**2 + c1) * (vx + vy + c2))
    return float(found.mean())


def _multiscale(one: Image, other: Image) -> Image:
    """Give MS-SSIM per slice: contrast and structure at every scale, luminance at the coarsest."""
    product = np.ones(len(one))
    weights = gaussian(11, 1.5)
    for scale, exponent in enumerate(SCALES):
        if scale:
            one, other = _halved(one), _halved(other)
        ux, uy, vx, vy, vxy = local_moments(one, other, weights)
        found = (2 * vxy + K2**2) / (vx + vy + K2**2)
        if scale == len(SCALES) - 1:
            found *= (2 * ux * uy + K1**2) / (ux**2 + uy**2 + K1**2)
        product *= np.maximum(found.mean(axis=(-2, -1)), 0.0) ** exponent
    return product


def _halved(image: Image) -> Image:
    """Average blocks of 2 x 2; an odd last row or column is dropped."""
    height, width = (length // 2 for length in image.shape[-2:])
    blocks = image[..., : 2 * height, : 2 * width].reshape(len(image), height, 2, width, 2)
    return np.asarray(blocks.mean(axis=(-3, -1)))


def _visual(fused: Image, source: Image) -> Image:
    """Give VIF per slice; NaN where the source is flat."""
    kept, there = np.zeros(len(fused)), np.zeros(len(fused))
    for scale in range(4):
        width = 2 ** (4 - scale) + 1
        weights = gaussian(width, width / 5)
        if scale:
            fused, source = (local_mean(image, weights)[..., ::2, ::2] for image in (fused, source))
        _, _, vf, vs, vfs = local_moments(fused, source, weights)
        # A gain below 0 keeps nothing of the source; what the gain does not explain is noise of the fused image.
        gain = np.where(vs > 1e-10, np.maximum(vfs, 0.0) / np.maximum(vs, 1e-10), 0.0)
        noise = np.maximum(vf - gain * vfs, 0.0)
        kept += np.log10(1 + gain**2 * vs / (noise + NOISE)).sum(axis=(-2, -1))
        there += np.log10(1 + vs / NOISE).sum(axis=(-2, -1))
    flat = there <= 1e-9
    return np.where(flat, np.nan, kept / np.where(flat, 1.0, there))


def _by_slice(measure: Callable[[Image, Image], Image], fused: Image, source: Image) -> Image:
    f, s = (image.reshape(-1, *image.shape[-2:]) for image in (fused, source))
    return np.concatenate([measure(f[k : k + SLICES], s[k : k + SLICES]) for k in range(0, len(f), SLICES)])


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _slice(image: Image) -> str:
    return _size(image.shape[-2:])
