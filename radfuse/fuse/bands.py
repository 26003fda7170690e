"""Rules that make one band of a transform out of the sources' bands.

Every rule takes the weight of each source into account, so that with all the weight on one source its bands are kept
as they are. The first part works on NumPy's arrays, real or complex (wavelets, curvelets), the second on torch's
(pyramids, dual tree).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Band = npt.NDArray[Any]
Source = TypeVar("Source")
DetailRule = Literal["max_abs", "energy", "gradient", "weight"]

# Local energy is averaged over a few coefficients on either side, as for a 3 x 3 window in 2-D.
ENERGY_SIGMA = 1.0


class Rule(Protocol):
    """Make one band of the sources' bands."""

    def __call__(
        self, bands: Sequence[Band], weights: Sequence[float], high: tuple[int, ...] = (), apart: Sequence[float] = ()
    ) -> Band:
        """Apply the rule.

        Parameters
        ----------
        bands : the sources' bands, real or complex.
        weights : of the sources.
        high : the axes along which the band holds differences rather than means.
        apart : how many places lie between coefficients that a smaller band would hold side by side, per axis; empty:
            one, for bands that are thinned out.
        """


def that_count(volumes: Sequence[Source], weights: Sequence[float]) -> tuple[list[Source], list[float]]:
    """Leave out sources without weight: where the others have no detail theirs would tie with it, and could win."""
    kept = [(volume, weight) for volume, weight in zip(volumes, weights, strict=True) if weight > 0]
    return [volume for volume, _ in kept], [weight for _, weight in kept]


def mean(
    bands: Sequence[Band], weights: Sequence[float], high: tuple[int, ...] = (), apart: Sequence[float] = ()
) -> Band:
    """Average under the weights, in terms of differences, so that equal bands give exactly themselves."""
    first = bands[0]
    fused: Band = first + sum(
        (weight * (band - first) for band, weight in zip(bands[1:], weights[1:], strict=True)), np.zeros_like(first)
    )
    return fused


def larger(
    bands: Sequence[Band], weights: Sequence[float], high: tuple[int, ...] = (), apart: Sequence[float] = ()
) -> Band:
    """Take the coefficient that is larger in magnitude after weighting."""
    return _pick(bands, [weight * np.abs(band) for band, weight in zip(bands, weights, strict=True)])


def more_energetic(
    bands: Sequence[Band], weights: Sequence[float], high: tuple[int, ...] = (), apart: Sequence[float] = ()
) -> Band:
    """Take the coefficient around which the weighted squares are larger on average."""
    from scipy.ndimage import gaussian_filter

    sigma = [ENERGY_SIGMA * step for step in apart] or ENERGY_SIGMA
    energy = [
        weight**2 * gaussian_filter(np.abs(band) ** 2, sigma) for band, weight in zip(bands, weights, strict=True)
    ]
    return _pick(bands, energy)


def steeper(
    bands: Sequence[Band], weights: Sequence[float], high: tuple[int, ...] = (), apart: Sequence[float] = ()
) -> Band:
    """Take the coefficient at which the band changes more along its high-pass axes."""
    slopes = [weight**2 * _squared_slope(band, high) for band, weight in zip(bands, weights, strict=True)]
    return _pick(bands, slopes)


RULES: dict[str, Rule] = {"weight": mean, "max_abs": larger, "energy": more_energetic, "gradient": steeper}


def _squared_slope(band: Band, axes: tuple[int, ...]) -> Band:
    """Squared central differences, summed over the axes; the edge's coefficient goes on beyond the edge."""
    total = np.zeros(band.shape)
    for axis in axes:
        edges = [(1, 1) if k == axis else (0, 0) for k in range(band.ndim)]
        padded = np.moveaxis(np.pad(band, edges, mode="edge"), axis, 0)
        total += np.abs(np.moveaxis(padded[2:] - padded[:-2], 0, axis) / 2) ** 2
    return total


def _pick(bands: Sequence[Band], strength: Sequence[Band]) -> Band:
    winner = np.argmax(np.stack(strength), axis=0)
    picked: Band = np.take_along_axis(np.stack(bands), winner[np.newaxis], axis=0)[0]
    return picked


def mean_tensor(bands: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Average under the weights, in terms of differences, so that equal bands give exactly themselves."""
    fused = bands[0].clone()
    for band, weight in zip(bands[1:], weights[1:], strict=True):
        fused += weight * (band - bands[0])
    return fused


def strongest(bands: Sequence[Tensor], strength: Sequence[Tensor]) -> Tensor:
    """Take each coefficient from the band that is strongest there; the first of those that tie."""
    import torch

    picked, best = bands[0], strength[0]
    for band, strong in zip(bands[1:], strength[1:], strict=True):
        better = strong > best
        picked, best = torch.where(better, band, picked), torch.where(better, strong, best)
    return picked


def chosen(bands: Sequence[Tensor], weights: Sequence[float], rule: str) -> Tensor:
    """Apply ``weight``, ``max_abs`` or ``energy`` to real or complex tensors whose last three axes are z, y, x."""
    if rule == "weight":
        return mean_tensor(bands, weights)
    strength = [weight * band.abs() for band, weight in zip(bands, weights, strict=True)]
    if rule == "energy":
        strength = [_smoothed(strong**2) for strong in strength]
    return strongest(bands, strength)


def _smoothed(energy: Tensor) -> Tensor:
    from radfuse.fuse.local_means import gaussian_mean

    # Axes before the last three are bands of their own.
    return gaussian_mean(energy, [0.0] * (energy.ndim - 3) + [ENERGY_SIGMA] * 3)
