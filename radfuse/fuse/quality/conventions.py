"""Two ways to measure: the textbook's, on one stated scale; and the one behind MdAFuse's published table.

Each gives, by metric, a call that measures it; nothing is computed before it is asked for. Sums and means run over
the sources: MI, NMI, VIF, SSIM, MS-SSIM and SCD are sums, CC, MSE, FMI, EPI and QNR means; Qabf weighs by edges.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from radfuse.fuse.quality import edges, features, fidelity, information, resolution, sharpness, structure

Image = npt.NDArray[np.float64]
Measures = Mapping[str, Callable[[], float]]

PUBLISHED = ("EN", "MI", "SD", "VIF", "SSIM", "SCD", "CC", "MSE", "rSFe")
"""The nine metrics of Wen et al., IEEE TIP 33:3550, 2024."""

METRICS = (*PUBLISHED, "NMI", "Qabf", "PSNR", "MS-SSIM", "EPI", "AG", "SF", "QNR", "FMI")
SLOW = ("FMI",)
"""Left out unless asked for by name."""

CONVENTIONS = ("standard", "mdafuse")


def standard(fused: Image, sources: Mapping[str, Image], coarser: int = 1) -> Measures:
    """Measure on [0, 1]: everything clipped to it, VIF on 0-255, MI in bits.

    Parameters
    ----------
    fused, sources : one shape, normalised; a volume is measured as a whole, but for VIF, MS-SSIM, Qabf, FMI and QNR,
        which are means over axial slices.
    coarser : as in `no_reference_quality`.
    """
    f = fused.clip(0, 1)
    named = {name: source.clip(0, 1) for name, source in sources.items()}
    s = list(named.values())
    return {
        "EN": lambda: information.entropy(f),
        "MI": lambda: information.total_information(f, s),
        "SD": lambda: sharpness.contrast(f),
        "VIF": lambda: structure.visual_fidelity(255 * f, [255 * each for each in s]),
        "SSIM": lambda: structure.structural_similarity(f, s, data_range=1.0),
        "SCD": lambda: fidelity.correlated_differences(f, s),
        "CC": lambda: fidelity.mean_correlation(f, s),
        "MSE": lambda: fidelity.mean_squared_error(f, s),
        "rSFe": lambda: sharpness.spatial_frequency_error(f, s),
        "NMI": lambda: information.normalised_information(f, s),
        "Qabf": lambda: edges.edge_transfer(f, s),
        "PSNR": lambda: fidelity.peak_signal_to_noise(f, s),
        "MS-SSIM": lambda: structure.multiscale_similarity(f, s),
        "EPI": lambda: sharpness.edge_preservation(f, s),
        "AG": lambda: sharpness.average_gradient(f),
        "SF": lambda: sharpness.spatial_frequency(f),
        "QNR": lambda: resolution.no_reference_quality(f, named, coarser),
        "FMI": lambda: features.feature_information(f, s),
    }


def mdafuse(fused: Image, sources: Mapping[str, Image]) -> Measures:
    """Measure one slice as the published table does; only for comparing with that table.

    Sources are stretched to [0, 1]. VIF, SSIM, CC and MSE see the fused values as they are: SSIM believes in a range of
    2, and VIF in noise of variance 2 although the values end at 1. The others see the fused picture stretched to 8
    bits; SD is the root of a sum of squares, so it grows with the picture (256 standard deviations at 256 x 256), and
    the bins of MI span each image's own range.

    Parameters
    ----------
    fused, sources : (y, x), none of them constant.
    """
    s = [stretched(source) for source in sources.values()]
    shown = np.rint(255 * stretched(fused)) / 255
    return {
        "EN": lambda: information.entropy(shown),
        "MI": lambda: information.total_information(shown, s, ends=None),
        "SD": lambda: math.sqrt(shown.size) * float(shown.std()),
        "VIF": lambda: structure.visual_fidelity(fused, s),
        "SSIM": lambda: structure.structural_similarity(fused, s, data_range=2.0),
        "SCD": lambda: fidelity.correlated_differences(shown, s),
        "CC": lambda: fidelity.mean_correlation(fused, s),
        "MSE": lambda: fidelity.mean_squared_error(fused, s),
        "rSFe": lambda: sharpness.spatial_frequency_error(shown, s),
    }


def stretched(image: Image) -> Image:
    """Shift and scale to [0, 1].

    Examples
    --------
    >>> stretched(np.array([2.0, 3.0, 6.0]))
    array([0.  , 0.25, 1.  ])
    """
    return np.asarray((image - image.min()) / (image.max() - image.min()))
