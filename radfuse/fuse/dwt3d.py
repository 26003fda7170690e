"""Fusion band by band of a 3-D discrete wavelet transform, with a weight for each modality."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod, weights_for

Band = npt.NDArray[np.float64]
Rule = Callable[[Sequence[Band], Sequence[float]], Band]

# Local energy is averaged over a few coefficients on either side, as for a 3 x 3 window in 2-D.
ENERGY_SIGMA = 1.0


class WaveletDiscrete(FusionMethod):
    """Fuse band by band of a 3-D wavelet transform [Vallieres et al., Phys Med Biol 60:5471, 2015].

    The low band is the weighted mean. A detail band is the weighted mean as well (Vallieres; with equal weights on
    every band that is the plain average), or takes the coefficient that is larger after weighting. With all the
    weight on one modality the result is that modality, under every rule.
    """

    flip_equivariant: ClassVar[bool] = False
    voxelwise_identity: ClassVar[bool] = False
    context_voxels: ClassVar[int | None] = None

    method: Literal["dwt3d"] = "dwt3d"
    wavelet: str = Field("sym8", description="Wavelet of PyWavelets; sym8 in the sarcoma studies.")
    levels: PositiveInt = Field(1, description="How often the low band is split again.")
    mode: Literal["symmetric", "reflect", "periodization", "zero"] = Field(
        "symmetric", description="How the volume goes on beyond its edges."
    )
    weights: dict[str, NonNegativeFloat] = Field(
        {}, description="Weight by modality, in every band, scaled to add up to 1; empty: all the same."
    )
    detail: Literal["max_abs", "energy", "weight"] = Field(
        "max_abs", description="Detail bands: larger weighted magnitude, larger weighted local energy, or mean."
    )

    @field_validator("wavelet")
    @classmethod
    def _wavelet_exists(cls, wavelet: str) -> str:
        if wavelet == cls.model_fields["wavelet"].default:
            return wavelet
        import pywt

        if wavelet not in pywt.wavelist(kind="discrete"):
            raise ValueError(f"unknown wavelet {wavelet!r}; known: {', '.join(pywt.wavelist(kind='discrete'))}")
        return wavelet

    def build(self, device: str) -> Fuser:
        """Make the fuser."""
        return Fuser(self._combine)

    def _combine(self, volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
        weights = weights_for(names, self.weights)
        # An axis of one voxel has nothing to split.
        axes = tuple(axis for axis, length in enumerate(grid.shape) if length > 1)
        fused = self._fuse([volume.astype(np.float64) for volume in volumes], weights, axes, self.levels)
        return fused.astype(np.float32)

    def _fuse(self, sources: Sequence[Band], weights: Sequence[float], axes: tuple[int, ...], levels: int) -> Band:
        if levels == 0 or not axes:
            return _mean(sources, weights)
        import pywt

        split: list[dict[str, Any]] = [pywt.dwtn(s, self.wavelet, mode=self.mode, axes=axes) for s in sources]
        low = "a" * len(axes)
        bands = {name: RULES[self.detail]([s[name] for s in split], weights) for name in split[0] if name != low}
        bands[low] = self._fuse([s[low] for s in split], weights, axes, levels - 1)
        fused: Band = pywt.idwtn(bands, self.wavelet, mode=self.mode, axes=axes)
        return fused[tuple(slice(0, length) for length in sources[0].shape)]


def _mean(bands: Sequence[Band], weights: Sequence[float]) -> Band:
    first = bands[0]
    mean: Band = first + sum(
        (weight * (band - first) for band, weight in zip(bands[1:], weights[1:], strict=True)), np.zeros_like(first)
    )
    return mean


def _larger(bands: Sequence[Band], weights: Sequence[float]) -> Band:
    return _pick(bands, [weight * np.abs(band) for band, weight in zip(bands, weights, strict=True)])


def _more_energetic(bands: Sequence[Band], weights: Sequence[float]) -> Band:
    from scipy.ndimage import gaussian_filter

    energy = [weight**2 * gaussian_filter(band**2, ENERGY_SIGMA) for band, weight in zip(bands, weights, strict=True)]
    return _pick(bands, energy)


def _pick(bands: Sequence[Band], strength: Sequence[Band]) -> Band:
    winner = np.argmax(np.stack(strength), axis=0)
    picked: Band = np.take_along_axis(np.stack(bands), winner[np.newaxis], axis=0)[0]
    return picked


RULES: dict[str, Rule] = {"weight": _mean, "max_abs": _larger, "energy": _more_energetic}
