"""Whether the fused image took the anatomical image's detail without a reference to compare with: QNR."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from radfuse.fuse.quality.unmeasurable import Unmeasurable
from radfuse.fuse.quality.windows import gaussian, local_moments
from radfuse.fuse.roles import FUNCTIONAL

Image = npt.NDArray[np.float64]

SMALLEST = 11
BLUR = 7
"""Width of the uniform window that brings the anatomical image to the functional one's resolution."""


def no_reference_quality(fused: Image, sources: Mapping[str, Image], coarser: int) -> float:
    """Give QNR = (1 - D_lambda)(1 - D_s) [Alparone et al., Photogramm Eng Remote Sens 74:193, 2008].

    The functional image is the coarse one and the anatomical the fine one ("panchromatic"). One band has no spectral
    distortion, so D_lambda = 0; D_s = |Q(fused, fine) - Q(coarse, fine blurred)|. The mean over anatomical sources;
    Q is the mean over all axial slices.

    Parameters
    ----------
    sources : by modality; one of them is functional (PET, PT, SPECT, NM by name).
    coarser : how many times wider the functional image's own pixels are than the grid's.
    """
    functional = [name for name in sources if name.upper().split("_")[0] in FUNCTIONAL]
    if len(functional) != 1:
        raise Unmeasurable(
            f"QNR wants one functional image (PET, SPECT, NM) and anatomical ones; the sources are {', '.join(sources)}"
        )
    height, width = (length // coarser for length in fused.shape[-2:])
    if min(height, width) < SMALLEST:
        raise Unmeasurable(f"slices of {height}x{width} functional pixels are smaller than {SMALLEST}x{SMALLEST}")
    coarse = _coarse(sources[functional[0]], coarser)
    anatomical = [image for name, image in sources.items() if name not in functional]
    return float(np.mean([1 - _spatial_distortion(fused, coarse, fine, coarser) for fine in anatomical]))


def _spatial_distortion(fused: Image, coarse: Image, fine: Image, coarser: int) -> float:
    from scipy.ndimage import uniform_filter1d

    blurred = uniform_filter1d(uniform_filter1d(fine, BLUR, axis=-1), BLUR, axis=-2)
    return abs(universal_quality(fused, fine) - universal_quality(coarse, _coarse(blurred, coarser)))


def universal_quality(one: Image, other: Image) -> float:
    """Give Q [Wang & Bovik, IEEE SPL 9:81, 2002]: SSIM without its constants; 0 where both images are flat.

    Gaussian windows of 11 pixels, sigma 1.5, that lie inside, as torchmetrics has it.
    """
    ux, uy, vx, vy, vxy = local_moments(one, other, gaussian(11, 1.5))
    found = 4 * ux * uy * vxy / ((ux**2 + uy**2) * (vx + vy) + np.finfo(np.float64).eps)
    return float(found.mean())


def _coarse(image: Image, coarser: int) -> Image:
    """Average blocks of pixels; what does not fill a block at the far end is dropped."""
    *outer, height, width = (*image.shape[:-2], *(length // coarser for length in image.shape[-2:]))
    blocks = image[..., : height * coarser, : width * coarser].reshape(*outer, height, coarser, width, coarser)
    return np.asarray(blocks.mean(axis=(-3, -1)))
