"""Fusion band by band of a 3-D stationary (undecimated) wavelet transform, with a weight for each modality."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod, weights_for
from radfuse.fuse.bands import RULES, Band, DetailRule, mean, that_count
from radfuse.fuse.dwt3d import high_axes, known_wavelet
from radfuse.fuse.pyramid import axes_by_level


class WaveletStationary(FusionMethod):
    """Fuse band by band of an undecimated 3-D wavelet transform [Rockinger, ICIP 1997; rules as in `dwt3d`].

    No band is thinned out, so the choice between sources does not depend on where the grid begins: shifting the volumes
    by any number of voxels shifts the fused volume, away from the edges. Seven detail bands per level, each of the
    volume's size.

    Differs from the paper: 3-D; the volume goes on mirrored beyond its edges; an axis with voxels more than 1.5 times
    the shortest waits for the others. Not exact under flips, for the default wavelet is not symmetric.
    """

    flip_equivariant: ClassVar[bool] = False
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = False
    # Finite away from the edges, but it depends on the wavelet and the levels chosen.
    context_voxels: ClassVar[int | None] = None

    method: Literal["swt3d"] = "swt3d"
    wavelet: str = Field("db2", description="Wavelet of PyWavelets.")
    levels: PositiveInt = Field(3, description="Scales of detail.")
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
        import pywt

        volumes, weights = that_count(volumes, weights_for(names, self.weights))
        plan = axes_by_level(grid, self.levels)
        reach = pywt.Wavelet(self.wavelet).dec_len - 1
        edges = []
        for axis, length in enumerate(grid.shape):
            size = 2 ** sum(axis in axes for axes in plan)
            # The transform is periodic: half of its reach on either side keeps one end from seeing the other.
            before = (reach * (size - 1) + 1) // 2
            edges.append((before, before + -(length + 2 * before) % size))
        padded = [np.pad(volume.astype(np.float64), edges, mode="symmetric") for volume in volumes]
        fused = self._fuse(padded, weights, plan, (0, 0, 0))
        inner = tuple(slice(before, before + n) for (before, _), n in zip(edges, grid.shape, strict=True))
        return fused[inner].astype(np.float32)

    def _fuse(
        self, sources: Sequence[Band], weights: Sequence[float], plan: Sequence[tuple[int, ...]], done: tuple[int, ...]
    ) -> Band:
        if not plan:
            return mean(sources, weights)
        axes = plan[0]
        split = [stationary_split(source, self.wavelet, axes, done) for source in sources]
        low, rule = "a" * len(axes), RULES[self.detail]
        apart = [2.0**count for count in done]
        lows = [bands.pop(low) for bands in split]
        bands = {
            name: rule([source.pop(name) for source in split], weights, high_axes(name, axes), apart)
            for name in list(split[0])
        }
        deeper = (done[0] + (0 in axes), done[1] + (1 in axes), done[2] + (2 in axes))
        bands[low] = self._fuse(lows, weights, plan[1:], deeper)
        return stationary_merge(bands, self.wavelet, axes, done)


def stationary_split(volume: Band, wavelet: str, axes: Sequence[int], done: Sequence[int]) -> dict[str, Band]:
    """Split a volume into bands of its own size, one level of the stationary transform.

    Filters grow by holes: at a level's turn an axis that has been split k times holds 2^k interleaved signals, each of
    which is split by itself. Unlike the library's own levels, axes need not be at the same k.

    Parameters
    ----------
    volume : (z, y, x); along each of ``axes`` a multiple of 2^(k + 1) long.
    wavelet : of PyWavelets.
    axes : which to split.
    done : how often each of the three axes has been split before.

    Returns
    -------
    By name ("a" low, "d" high along each of ``axes``); scaled so that the transform keeps energy.
    """
    import pywt

    (found,) = pywt.swtn(_phases(volume, done), wavelet, level=1, axes=[2 * axis for axis in axes], norm=True)
    bands: Mapping[str, Any] = found
    return {name: band.reshape(volume.shape) for name, band in bands.items()}


def stationary_merge(bands: Mapping[str, Band], wavelet: str, axes: Sequence[int], done: Sequence[int]) -> Band:
    """Undo `stationary_split`."""
    import pywt

    shape = next(iter(bands.values())).shape
    phases = {name: _phases(band, done) for name, band in bands.items()}
    merged: Band = pywt.iswtn([phases], wavelet, axes=[2 * axis for axis in axes], norm=True).reshape(shape)
    return merged


def _phases(volume: Band, done: Sequence[int]) -> Band:
    """Give every axis its interleaved signals as an axis of their own, after it."""
    shape: list[int] = []
    for length, count in zip(volume.shape, done, strict=True):
        shape += [length // 2**count, 2**count]
    return volume.reshape(shape)
