"""Fusion band by band of a 3-D dual-tree complex wavelet transform."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod, weights_for

if TYPE_CHECKING:
    from torch import Tensor


class DualTree(FusionMethod):
    """Fuse complex wavelet bands, keeping the larger modulus with its phase [Hill et al., BMVC 2002].

    28 complex bands per level look into as many directions (`dual_tree`), and their moduli hardly depend on where the
    grid begins: the choice between sources follows the anatomy, where that of the plain wavelet transform flickers. The
    low band is the weighted mean.

    Differs from the paper: 3-D; an axis with voxels more than 1.5 times the shortest is not split until the others have
    caught up. Flips are exact only for lengths that 2 to the number of levels divides.
    """

    flip_equivariant: ClassVar[bool] = False
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = False
    context_voxels: ClassVar[int | None] = None

    method: Literal["dtcwt"] = "dtcwt"
    levels: PositiveInt = Field(3, description="How often the low band is split again.")
    weights: dict[str, NonNegativeFloat] = Field(
        {}, description="Weight by modality, in every band, scaled to add up to 1; empty: all the same."
    )
    detail: Literal["max_abs", "energy", "weight"] = Field(
        "max_abs", description="Detail bands: larger weighted modulus, larger weighted local energy, or mean."
    )

    def build(self, device: str) -> Fuser:
        """Make the fuser."""

        def combine(volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
            import numpy as np
            import torch

            from radfuse.fuse.bands import that_count
            from radfuse.fuse.pyramid import axes_by_level

            volumes, weights = that_count(volumes, weights_for(names, self.weights))
            plan = axes_by_level(grid, self.levels)
            splits = [sum(axis in axes for axes in plan) for axis in range(3)]
            # Both trees of every level need whole samples.
            edges = [(0, -length % 2**count) for length, count in zip(grid.shape, splits, strict=True)]
            sources = [torch.from_numpy(np.pad(volume, edges, mode="symmetric")).to(device) for volume in volumes]
            fused = self._fuse([x.double() for x in sources], weights, plan, (False,) * 3)
            result: Array = fused.float().cpu().numpy()[tuple(slice(0, length) for length in grid.shape)]
            return result

        return Fuser(combine)

    def _fuse(
        self,
        sources: Sequence[Tensor],
        weights: Sequence[float],
        plan: Sequence[tuple[int, ...]],
        done: Sequence[bool],
    ) -> Tensor:
        from radfuse.fuse.bands import chosen, mean_tensor
        from radfuse.fuse.dual_tree import merge, split, to_complex, to_real

        if not plan:
            return mean_tensor(sources, weights)
        axes = plan[0]
        split_up: list[dict[tuple[int, ...], Tensor]] = [{(): source} for source in sources]
        for axis in axes:
            for k, unsplit in enumerate(split_up):
                halves = {name: split(band, axis, not done[axis]) for name, band in unsplit.items()}
                split_up[k] = {(*name, high): pair[high] for name, pair in halves.items() for high in (0, 1)}
        low, *details = product((0, 1), repeat=len(axes))
        fused = {}
        for name in details:
            bands = [to_complex(source.pop(name), axes) for source in split_up]
            fused[name] = to_real(chosen(bands, weights, self.detail), axes)
        deeper = [before or axis in axes for axis, before in enumerate(done)]
        fused[low] = self._fuse([source.pop(low) for source in split_up], weights, plan[1:], deeper)
        for axis in reversed(axes):
            names = {name[:-1] for name in fused}
            fused = {name: merge(fused[*name, 0], fused[*name, 1], axis, not done[axis]) for name in sorted(names)}
        return fused[()]
