"""Feature-level fusion: a map of how steep the sources are, for texture rather than for uptake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod, weights_for

if TYPE_CHECKING:
    import torch


class EdgeMap(FusionMethod):
    """Combine the gradient magnitudes of the smoothed sources: edges that any, or all, of them show.

    Each source becomes |grad(G_sigma * x)| per mm (the edge strength of Canny, TPAMI 8:679, 1986), divided by the 99th
    percentile of its own gradients so that no modality outweighs another by its contrast. The result is a derived image
    in arbitrary units: 0 where nothing changes, about 1 at strong edges. It is not an intensity.
    """

    flip_equivariant: ClassVar[bool] = True
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = False
    keeps_equal_sources: ClassVar[bool] = False
    on_source_scale: ClassVar[bool] = False
    # The percentile is the whole volume's.
    context_voxels: ClassVar[int | None] = None

    method: Literal["edge_map"] = "edge_map"
    sigma_mm: PositiveFloat = Field(1.5, description="Gaussian before the gradient, mm.")
    rule: Literal["max", "sum", "product"] = Field(
        "max", description="Edges of any source, their weighted mean, or only those that all sources share."
    )
    weights: dict[str, NonNegativeFloat] = Field(
        {}, description="Weight by modality under the rule `sum`, scaled to add up to 1; empty: all the same."
    )

    def build(self, device: str) -> Fuser:
        """Make the fuser."""

        def combine(volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
            import torch

            edges = [self._edges(torch.tensor(volume, device=device), grid) for volume in volumes]
            fused: Array = self._joined(torch.stack(edges), weights_for(names, self.weights)).cpu().numpy()
            return fused

        return Fuser(combine)

    def _joined(self, edges: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
        if self.rule == "max":
            return edges.amax(dim=0)
        if self.rule == "product":
            return edges.prod(dim=0)
        return (edges * edges.new_tensor(weights).view(-1, 1, 1, 1)).sum(dim=0)

    def _edges(self, volume: torch.Tensor, grid: Geometry) -> torch.Tensor:
        from radfuse.fuse.local_means import central_gradient, gaussian_mean, spacing_zyx

        spacing = spacing_zyx(grid)
        smooth = gaussian_mean(volume.double(), [self.sigma_mm / h for h in spacing])
        slopes = central_gradient(smooth, spacing)
        steepness = (slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2).sqrt().float()
        values = steepness.cpu().numpy()
        # Rounding leaves slopes of 1e-16 in a constant volume; they are no edges. Air is no place to count edges in.
        uneven = values[values > 1e-6 * max(float(values.max()), 1e-6)]
        scale = float(np.percentile(uneven, 99)) if uneven.size else 0.0
        return steepness / scale if scale > 0 else steepness * 0
