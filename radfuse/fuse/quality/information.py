"""What the histograms say: entropy, mutual information, and its normalised form. In bits."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from radfuse.fuse.quality.unmeasurable import Unmeasurable

Image = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

BINS = 256
UNIT = (0.0, 1.0)


def codes(image: Image, ends: tuple[float, float] | None = UNIT) -> Codes:
    """Number the histogram bin of every voxel: 256 equal bins, the last one closed.

    Parameters
    ----------
    image : any shape.
    ends : where the bins begin and end; None: at the image's own smallest and largest value.
    """
    low, high = ends if ends is not None else (float(image.min()), float(image.max()))
    return np.clip((image.ravel() - low) / (high - low) * BINS, 0, BINS - 1).astype(np.int64)


def entropy(image: Image) -> float:
    """Give EN, the Shannon entropy of the histogram on [0, 1].

    Examples
    --------
    >>> entropy(np.array([0.0, 0.2, 0.5, 1.0]))
    2.0
    """
    return _entropy(np.bincount(codes(image), minlength=BINS))


def mutual_information(fused: Codes, source: Codes) -> float:
    """Give I(source; fused) = H(source) + H(fused) - H(source, fused) of two lists of bin numbers."""
    joint = np.bincount(source * BINS + fused, minlength=BINS * BINS).reshape(BINS, BINS)
    return _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint.ravel())


def total_information(fused: Image, sources: Sequence[Image], ends: tuple[float, float] | None = UNIT) -> float:
    """Give MI, the sum over sources of I(source; fused) [Qu, Zhang & Yan, Electron Lett 38:313, 2002]."""
    given = codes(fused, ends)
    return sum(mutual_information(given, codes(source, ends)) for source in sources)


def normalised_information(fused: Image, sources: Sequence[Image]) -> float:
    """Give NMI, the sum over sources of 2 I(source; fused) / (H(source) + H(fused)), 0 to the number of sources.

    This is Q_MI of Hossny, Nahavandi & Creighton, Electron Lett 44:1066, 2008; other quantities share the name.
    """
    given = codes(fused)
    own = _entropy(np.bincount(given))
    total = 0.0
    for source in sources:
        other = codes(source)
        entropies = own + _entropy(np.bincount(other))
        if entropies == 0:
            raise Unmeasurable("fused image and source each fall into one of the 256 grey levels")
        total += 2 * mutual_information(given, other) / entropies
    return total


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    found = counts[counts > 0]
    if found.size < 2:
        return 0.0
    share = found / found.sum()
    return float(-(share * np.log2(share)).sum())
