"""Fusion with guided filtering: weight maps that follow the edges of what they weigh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod

if TYPE_CHECKING:
    import torch


class GuidedFilter(FusionMethod):
    """Fuse a base and a detail layer under weight maps refined by a guided filter [Li, Kang & Hu, TIP 22:2864, 2013].

    Each source is split into a box mean (base) and the rest (detail). Where its Laplacian is strongest, averaged over a
    few millimetres, it wins the voxel; the map of the voxels won is smoothed under the guidance of the source itself
    [He, Sun & Tang, TPAMI 35:1397, 2013], broadly for the base and sharply for the detail. The maps sum to 1, so any
    number of sources will do.

    Differs from the paper: three-dimensional, with the published radii in pixels taken as millimetres, and sources that
    tie share the voxel.
    """

    flip_equivariant: ClassVar[bool] = True
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = False
    context_voxels: ClassVar[int | None] = None

    method: Literal["guided_filter"] = "guided_filter"
    base_mm: PositiveFloat = Field(15.0, description="Radius of the box whose mean is the base layer, mm.")
    saliency_mm: PositiveFloat = Field(5.0, description="Gaussian over the Laplacian's magnitude, sigma and reach, mm.")
    base_radius_mm: PositiveFloat = Field(45.0, description="Radius of the guided filter for the base weights, mm.")
    base_epsilon: PositiveFloat = Field(0.3, description="Variance below which the base weights are smoothed.")
    detail_radius_mm: PositiveFloat = Field(7.0, description="Radius of the guided filter for the detail weights, mm.")
    detail_epsilon: PositiveFloat = Field(1e-6, description="Variance below which the detail weights are smoothed.")

    def build(self, device: str) -> Fuser:
        """Make the fuser."""

        def combine(volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
            import torch

            sources = [torch.tensor(volume, device=device) for volume in volumes]
            fused: Array = self._combine(sources, grid).float().cpu().numpy()
            return fused

        return Fuser(combine)

    def _combine(self, sources: Sequence[torch.Tensor], grid: Geometry) -> torch.Tensor:
        import torch

        from radfuse.fuse.local_means import box_mean, gaussian_mean, laplacian, shared_argmax, spacing_zyx, to_voxels

        spacing = spacing_zyx(grid)
        sigma = [self.saliency_mm / h for h in spacing]
        saliency = [gaussian_mean(laplacian(x, spacing).abs(), sigma, truncate=1.0) for x in sources]
        won = shared_argmax(torch.stack(saliency))
        layers = (
            (to_voxels(self.base_radius_mm, grid), self.base_epsilon),
            (to_voxels(self.detail_radius_mm, grid), self.detail_epsilon),
        )
        bases = [box_mean(x, to_voxels(self.base_mm, grid)) for x in sources]
        details = [x - base for x, base in zip(sources, bases, strict=True)]
        fused = torch.zeros_like(bases[0])
        for parts, (radius, epsilon) in zip((bases, details), layers, strict=True):
            weights = [guided_filter(x, map_, radius, epsilon) for x, map_ in zip(sources, won, strict=True)]
            fused += _weighted_mean(parts, weights)
        return fused


def guided_filter(guide: torch.Tensor, values: torch.Tensor, radius: Sequence[int], epsilon: float) -> torch.Tensor:
    """Smooth ``values`` as a local linear function of the guide [He, Sun & Tang 2013, equations 5, 6 and 8].

    Parameters
    ----------
    guide : (z, y, x).
    values : what to smooth, of the guide's shape.
    radius : of the box windows along z, y, x, voxels; windows end where the volume ends.
    epsilon : variance of the guide below which a window counts as flat.
    """
    from radfuse.fuse.local_means import box_mean

    guide, values = guide.double(), values.double()
    mean_guide, mean_values = box_mean(guide, radius), box_mean(values, radius)
    variance = box_mean(guide * guide, radius) - mean_guide**2
    slope = (box_mean(guide * values, radius) - mean_guide * mean_values) / (variance.clamp(min=0) + epsilon)
    offset = mean_values - slope * mean_guide
    return box_mean(slope, radius) * guide + box_mean(offset, radius)


def _weighted_mean(parts: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean under weights that are made to lie in [0, 1] and to sum to 1; sources without any weight share it."""
    import torch

    kept = torch.stack([weight.clamp(0, 1) for weight in weights])
    total = kept.sum(dim=0)
    kept = torch.where(total > 1e-6, kept / total.clamp(min=1e-6), 1.0 / len(parts))
    # In terms of differences from the first part, so that equal sources give exactly themselves.
    mean = parts[0].clone()
    for part, weight in zip(parts[1:], kept[1:], strict=True):
        mean += weight * (part - parts[0])
    return mean
