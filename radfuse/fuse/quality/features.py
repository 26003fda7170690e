"""How much a feature map of each source tells about the fused one's, window by window: FMI."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from radfuse.fuse.quality.unmeasurable import Unmeasurable

Image = npt.NDArray[np.float64]

WINDOW = 3
CELLS = WINDOW * WINDOW
TOGETHER = 1024
"""Windows at once: the joint distributions of this many fit into a processor's cache."""


def feature_information(fused: Image, sources: Sequence[Image]) -> float:
    """Give FMI, the mean over sources of the mean over 3 x 3 windows, 0 to 1.

    Haghighat, Aghagolzadeh & Seyedarabi, Comput Electr Eng 37:744, 2011, in the windowed form of Haghighat & Razian,
    AICT 2014. The feature is the magnitude of the gradient within axial slices. A window is shifted and scaled to
    [0, 1] and taken as a probability over its nine places, down the columns first; the joint probability is a mixture
    of the product and the Frechet bound that reproduces the windows' correlation [Nelsen 1987]. Differs from the
    authors' program: the mixture's share is held within [0, 1], since beyond it probabilities would be negative.
    """
    if min(fused.shape[-2:]) < WINDOW:
        raise Unmeasurable(f"slices of {fused.shape[-2]}x{fused.shape[-1]} have no room for a {WINDOW}x{WINDOW} window")
    given = _windows(_gradient(fused))
    return float(np.mean([_shared(_windows(_gradient(source)), given) for source in sources]))


def _gradient(image: Image) -> Image:
    along, across = np.gradient(image, axis=(-2, -1))
    magnitude: Image = np.hypot(along, across)
    return magnitude


def _windows(image: Image) -> Image:
    """Give every window's values (window, cell), down the columns first."""
    views = np.lib.stride_tricks.sliding_window_view(image, (WINDOW, WINDOW), axis=(-2, -1))
    return np.swapaxes(views, -1, -2).reshape(-1, CELLS)


def _shared(source: Image, fused: Image) -> float:
    found = np.zeros(len(source))
    same = (source == fused).all(axis=1)
    found[same] = 1.0
    # A flat window is uniform, correlates with nothing, and shares nothing.
    rest = np.flatnonzero(~same & (np.ptp(source, axis=1) > 0) & (np.ptp(fused, axis=1) > 0))
    for first in range(0, len(rest), TOGETHER):
        part = rest[first : first + TOGETHER]
        found[part] = _normalised_information(_probability(source[part]), _probability(fused[part]))
    return float(found.mean())


def _probability(windows: Image) -> Image:
    low = windows - windows.min(axis=1, keepdims=True)
    return np.asarray(low / low.sum(axis=1, keepdims=True))


def _normalised_information(p: Image, q: Image) -> Image:
    """Give 2 I / (H_p + H_q) for rows of probabilities."""
    product = p[:, :, None] * q[:, None, :]
    cp, cq = p.cumsum(axis=1)[:, :, None], q.cumsum(axis=1)[:, None, :]
    rho = _correlation(p, q)
    bound = np.where((rho >= 0)[:, None, None], np.minimum(cp, cq), np.maximum(cp + cq - 1, 0))
    # Hoeffding: the covariance is the sum of joint minus product of the cumulative distributions.
    covariance = (bound - cp * cq).sum(axis=(1, 2))
    scale = _deviation(p) * _deviation(q)
    reachable = np.abs(covariance) > 1e-12
    share = np.where(reachable, rho * scale / np.where(reachable, covariance, 1.0), 0.0).clip(0.0, 1.0)
    extreme = np.diff(np.diff(np.pad(bound, ((0, 0), (1, 0), (1, 0))), axis=1), axis=2)
    joint = share[:, None, None] * extreme + (1 - share)[:, None, None] * product
    own = _entropy(p) + _entropy(q)
    mutual = own - _entropy(joint.reshape(len(p), -1))
    return np.asarray(2 * mutual / np.where(own > 0, own, 1.0))


def _correlation(p: Image, q: Image) -> Image:
    a, b = p - 1 / CELLS, q - 1 / CELLS
    return np.asarray((a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1)))


def _deviation(p: Image) -> Image:
    place = np.arange(1, CELLS + 1)
    mean = (p * place).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum((p * place**2).sum(axis=1) - mean**2, 0.0)))


def _entropy(p: Image) -> Image:
    positive = np.maximum(p, 1e-300)
    return np.asarray(-(p * np.log2(positive)).sum(axis=1))
