"""The weighted average: the plainest fusion, and the one that others must beat."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod, weights_for


class Average(FusionMethod):
    """Average the modalities voxel by voxel."""

    flip_equivariant: ClassVar[bool] = True
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = True
    context_voxels: ClassVar[int | None] = 0

    method: Literal["average"] = "average"
    weights: dict[str, NonNegativeFloat] = Field(
        {}, description="Weight by modality, scaled to add up to 1; empty: all modalities count the same."
    )

    def build(self, device: str) -> Fuser:
        """Make the fuser."""
        return Fuser(self._combine)

    def _combine(self, volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
        # In terms of differences from the first source, so that equal sources give exactly themselves.
        first = volumes[0]
        fused = first.copy()
        for volume, weight in zip(volumes[1:], weights_for(names, self.weights)[1:], strict=True):
            fused += weight * (volume - first)
        return fused
