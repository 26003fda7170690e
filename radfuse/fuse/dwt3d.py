"""Fusion band by band of a 3-D discrete wavelet transform, with a weight for each modality."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod, weights_for
from radfuse.fuse.bands import RULES, Band, DetailRule, mean, that_count


class WaveletDiscrete(FusionMethod):
    """Fuse band by band of a 3-D wavelet transform [Vallieres et al., Phys Med Biol 60:5471, 2015].

    The low band is the weighted mean. A detail band is the weighted mean as well (Vallieres; with equal weights on
    every band that is the plain average), or takes the coefficient that is larger after weighting: itself, its local
    energy, or its gradient along the band's high-pass axes (PET/CT of head and neck). With all the weight on one
    modality the result is that modality, under every rule.
    """

    flip_equivariant: ClassVar[bool] = False
    permutation_equivariant: ClassVar[bool] = True
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
    detail: DetailRule = Field(
        "max_abs",
        description="Detail bands: larger weighted magnitude, local energy or gradient along the high-pass axes; or "
        "mean.",
    )

    @field_validator("wavelet")
    @classmethod
    def _wavelet_exists(cls, wavelet: str) -> str:
        return known_wavelet(wavelet)

    def build(self, device: str) -> Fuser:
        """Make the fuser."""
        return Fuser(self._combine)

    def _combine(self, volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
        volumes, weights = that_count(volumes, weights_for(names, self.weights))
        # An axis of one voxel has nothing to split.
        axes = tuple(axis for axis, length in enumerate(grid.shape) if length > 1)
        fused = self._fuse([volume.astype(np.float64) for volume in volumes], weights, axes, self.levels)
        return fused.astype(np.float32)

    def _fuse(self, sources: Sequence[Band], weights: Sequence[float], axes: tuple[int, ...], levels: int) -> Band:
        if levels == 0 or not axes:
            return mean(sources, weights)
        import pywt

        split: list[dict[str, Any]] = [pywt.dwtn(s, self.wavelet, mode=self.mode, axes=axes) for s in sources]
        low = "a" * len(axes)
        bands = {
            name: RULES[self.detail]([s[name] for s in split], weights, high_axes(name, axes))
            for name in split[0]
            if name != low
        }
        bands[low] = self._fuse([s[low] for s in split], weights, axes, levels - 1)
        fused: Band = pywt.idwtn(bands, self.wavelet, mode=self.mode, axes=axes)
        return fused[tuple(slice(0, length) for length in sources[0].shape)]


def high_axes(name: str, axes: Sequence[int]) -> tuple[int, ...]:
    """Tell along which axes a band holds differences.

    Examples
    --------
    >>> high_axes("dad", (0, 1, 2))
    (0, 2)
    """
    return tuple(axis for letter, axis in zip(name, axes, strict=True) if letter == "d")


def known_wavelet(wavelet: str) -> str:
    """Refuse a wavelet that PyWavelets does not know."""
    # The defaults are known without the library, so that reading a config stays fast.
    if wavelet in ("sym8", "db2"):
        return wavelet
    import pywt

    if wavelet not in pywt.wavelist(kind="discrete"):
        raise ValueError(f"unknown wavelet {wavelet!r}; known: {', '.join(pywt.wavelist(kind='discrete'))}")
    return wavelet
