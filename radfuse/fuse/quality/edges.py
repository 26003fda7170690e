"""How much of the sources' edges, in strength and orientation, is in the fused image: Qabf."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from radfuse.fuse.quality.unmeasurable import Unmeasurable

Image = npt.NDArray[np.float64]

# Gamma, slope and centre of the two sigmoids, for strength and orientation [Xydeas & Petrovic 2000, section 3].
STRENGTH = (0.9994, 15.0, 0.5)
ORIENTATION = (0.9879, 22.0, 0.8)


def edge_transfer(fused: Image, sources: Sequence[Image]) -> float:
    """Give Qabf, 0 to 0.975 [Xydeas & Petrovic, Electron Lett 36:308, 2000].

    Of the two parameter sets that circulate this is the paper's. Weights are the sources' own edge strengths. The
    image is continued at its borders by repeating the last voxel, so that no border is an edge. A volume's is the mean
    over axial slices.
    """
    strength, orientation = _edges(fused)
    above, below = 0.0, 0.0
    for source in sources:
        own_strength, own_orientation = _edges(source)
        kept = _kept(strength, orientation, own_strength, own_orientation)
        above = above + (kept * own_strength).sum(axis=(-2, -1))
        below = below + own_strength.sum(axis=(-2, -1))
    with_edges = np.asarray(below) > 0
    if not with_edges.any():
        raise Unmeasurable("no source has an edge")
    return float((np.asarray(above)[with_edges] / np.asarray(below)[with_edges]).mean())


def _edges(image: Image) -> tuple[Image, Image]:
    """Give strength and orientation, -pi/2 to pi/2, of the Sobel gradient within axial slices."""
    across, along = _sobel(image, -1), _sobel(image, -2)
    upright = across == 0
    orientation = np.where(upright, np.pi / 2, np.arctan(along / np.where(upright, 1.0, across)))
    return np.hypot(across, along), orientation


def _sobel(image: Image, axis: int) -> Image:
    from scipy.ndimage import correlate1d

    slope = correlate1d(image, [-1.0, 0.0, 1.0], axis=axis, mode="nearest")
    smooth: Image = correlate1d(slope, [1.0, 2.0, 1.0], axis=-3 - axis, mode="nearest")
    return smooth


def _kept(strength: Image, orientation: Image, own_strength: Image, own_orientation: Image) -> Image:
    high = np.maximum(strength, own_strength)
    ratio = np.where(high > 0, np.minimum(strength, own_strength) / np.where(high > 0, high, 1.0), 1.0)
    aligned = 1 - np.abs(own_orientation - orientation) / (np.pi / 2)
    return _sigmoid(ratio, *STRENGTH) * _sigmoid(aligned, *ORIENTATION)


def _sigmoid(value: Image, gamma: float, slope: float, centre: float) -> Image:
    return gamma / (1 + np.exp(-slope * (value - centre)))
