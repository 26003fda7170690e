"""Fusion of Laplacian pyramids: the stronger detail at every scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod, weights_for

if TYPE_CHECKING:
    import torch


class Laplacian(FusionMethod):
    """Fuse scale by scale, keeping the stronger detail [Burt & Adelson, IEEE Trans Commun 31:532, 1983].

    Each source is split into what a smoothed, halved copy cannot show (detail) and the copy, which is split again. At
    every scale the detail that is larger in magnitude, or in local energy, is kept; the last copy is the weighted mean.

    Differs from the paper: three-dimensional; an axis with voxels more than 1.5 times the shortest is not halved until
    the others have caught up; axes of even length are halved between pairs of voxels, so that flips do not matter.
    """

    flip_equivariant: ClassVar[bool] = True
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = False
    # Halving depends on where the grid begins.
    context_voxels: ClassVar[int | None] = None

    method: Literal["laplacian"] = "laplacian"
    levels: PositiveInt = Field(4, description="Scales of detail; each halves the volume.")
    weights: dict[str, NonNegativeFloat] = Field(
        {}, description="Weight by modality, at every scale, scaled to add up to 1; empty: all the same."
    )
    detail: Literal["max_abs", "energy"] = Field(
        "max_abs", description="Detail is kept by its weighted magnitude, or by its weighted local energy."
    )

    def build(self, device: str) -> Fuser:
        """Make the fuser."""

        def combine(volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
            import torch

            from radfuse.fuse.bands import that_count
            from radfuse.fuse.pyramid import axes_by_level

            volumes, weights = that_count(volumes, weights_for(names, self.weights))
            sources = [torch.from_numpy(volume).to(device).double() for volume in volumes]
            fused: Array = self._fuse(sources, weights, axes_by_level(grid, self.levels)).float().cpu().numpy()
            return fused

        return Fuser(combine)

    def _fuse(
        self, sources: Sequence[torch.Tensor], weights: Sequence[float], plan: Sequence[tuple[int, ...]]
    ) -> torch.Tensor:
        from radfuse.fuse.bands import chosen, mean_tensor
        from radfuse.fuse.pyramid import expand, reduce

        if not plan:
            return mean_tensor(sources, weights)
        axes, shape = plan[0], sources[0].shape
        smaller = [reduce(source, axes) for source in sources]
        details = [source - expand(small, axes, shape) for source, small in zip(sources, smaller, strict=True)]
        low = self._fuse(smaller, weights, plan[1:])
        return chosen(details, weights, self.detail) + expand(low, axes, shape)
