"""Fusion of ratio-of-low-pass pyramids: the stronger contrast at every scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod, weights_for

if TYPE_CHECKING:
    import torch


class RatioLowPass(FusionMethod):
    """Fuse scale by scale, keeping the stronger contrast [Toet, Pattern Recognit Lett 9:245, 1989].

    Contrast is the ratio R of a voxel to what a smoothed, halved copy shows there: the same step counts for more where
    it is dark. The ratio that is further from 1 is kept, the last copy is the weighted mean, and the ratios are
    multiplied back. As they multiply, a hot spot on cold tissue becomes brighter on bright tissue of the other source.

    Differs from the paper: both parts of the ratio are raised by ``floor`` (else the noise of air would have the
    strongest contrast of all) and negative values of the copy count as 0; three-dimensional, with the levels of
    `laplacian`.
    """

    flip_equivariant: ClassVar[bool] = True
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = False
    context_voxels: ClassVar[int | None] = None

    method: Literal["ratio_low_pass"] = "ratio_low_pass"
    levels: PositiveInt = Field(4, description="Scales of contrast; each halves the volume.")
    floor: PositiveFloat = Field(
        0.1, description="Added to both parts of a ratio, on the normalised scale; 0.1 is 200 HU, SUV 2."
    )
    weights: dict[str, NonNegativeFloat] = Field(
        {}, description="Weight by modality, at every scale, scaled to add up to 1; empty: all the same."
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
        from radfuse.fuse.bands import mean_tensor, strongest
        from radfuse.fuse.pyramid import expand, reduce

        if not plan:
            return mean_tensor(sources, weights)
        axes, shape = plan[0], sources[0].shape
        smaller = [reduce(source, axes) for source in sources]
        ratios = [
            (source + self.floor) / self._raised(expand(small, axes, shape))
            for source, small in zip(sources, smaller, strict=True)
        ]
        contrast = [weight * (ratio - 1).abs() for ratio, weight in zip(ratios, weights, strict=True)]
        low = self._raised(expand(self._fuse(smaller, weights, plan[1:]), axes, shape))
        return strongest(ratios, contrast) * low - self.floor

    def _raised(self, copy: torch.Tensor) -> torch.Tensor:
        return copy.clamp(min=0) + self.floor
