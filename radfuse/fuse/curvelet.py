"""Fusion band by band of a 3-D uniform discrete curvelet transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod, weights_for
from radfuse.fuse.bands import RULES, Band, mean, that_count

# Mirrored voxels on either side, for the transform is periodic: the finest curvelets reach about as far.
MARGIN = 8


class Curvelet(FusionMethod):
    """Fuse curvelet coefficients, keeping the larger modulus [Li & Yang, Pattern Recognit Lett 29:1295, 2008].

    Curvelets are long and thin, so that a smooth edge or surface needs few of them and is taken from one source as a
    whole. The transform is the uniform discrete one [Nguyen & Chauris, IEEE Trans Signal Process 58:3618, 2010] of the
    library `curvelets`: with the defaults 27 directions at the coarse and 108 at the fine scale. The low band is the
    weighted mean. It stands in for shearlets and contourlets, which do the same and have no kept library.

    Differs from the paper: 3-D; curvelets alone, not with wavelets inside. Directions are in voxels: at 1 x 1 x 3 mm
    they are not evenly spread over the sphere.
    """

    flip_equivariant: ClassVar[bool] = False
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = False
    context_voxels: ClassVar[int | None] = None

    method: Literal["curvelet"] = "curvelet"
    scales: int = Field(3, ge=2, le=5, description="Scales, with the low band; each doubles the directions per axis.")
    weights: dict[str, NonNegativeFloat] = Field(
        {}, description="Weight by modality, in every band, scaled to add up to 1; empty: all the same."
    )
    detail: Literal["max_abs", "energy", "weight"] = Field(
        "max_abs", description="Detail bands: larger weighted modulus, larger weighted local energy, or mean."
    )

    def build(self, device: str) -> Fuser:
        """Make the fuser; it runs on the CPU."""
        return Fuser(self._combine)

    def _combine(self, volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
        volumes, weights = that_count(volumes, weights_for(names, self.weights))
        sources = [np.squeeze(volume.astype(np.float64)) for volume in volumes]
        # On a line there are no directions to tell apart.
        fused = mean(sources, weights) if sources[0].ndim < 2 else self._fuse(sources, weights)
        return fused.reshape(grid.shape).astype(np.float32)

    def _fuse(self, sources: Sequence[Band], weights: Sequence[float]) -> Band:
        from curvelets.numpy import UDCT

        # The library gives wrong volumes back, without a word, for lengths that its bands do not divide; and for some
        # that they do where there are more than its three wedges per direction, which is why those are not offered.
        divisor = max(4, 2 ** (self.scales - 1))
        edges = [(MARGIN, MARGIN + -(length + 2 * MARGIN) % divisor) for length in sources[0].shape]
        padded = [np.pad(source, edges, mode="symmetric") for source in sources]
        transform = UDCT(padded[0].shape, num_scales=self.scales, wedges_per_direction=3)
        fused: Any = self._joined([transform.forward(source) for source in padded], weights)
        back = np.asarray(transform.backward(fused)).real
        return back[tuple(slice(MARGIN, MARGIN + length) for length in sources[0].shape)]

    def _joined(self, coefficients: Sequence[Any], weights: Sequence[float]) -> list[list[list[Band]]]:
        """Apply the rules to coefficients nested as scale, direction, wedge; the first scale is the low band."""
        joined = []
        for scale, directions in enumerate(zip(*coefficients, strict=True)):
            rule = RULES[self.detail] if scale else mean
            joined.append(
                [
                    [rule(bands, weights) for bands in zip(*wedges, strict=True)]
                    for wedges in zip(*directions, strict=True)
                ]
            )
        return joined
