"""Select the source with more local energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod, weights_for

if TYPE_CHECKING:
    import torch


class LocalEnergy(FusionMethod):
    """Take each voxel from the source that has more energy around it [Burt & Kolczynski, ICCV 1993, salience].

    Energy is the Gaussian mean of the squared values, or their variance, which favours texture and drops diffuse
    uptake. The map of winners is cleaned by a majority vote, as in the consistency check of Li, Manjunath & Mitra
    (Graph Models Image Process 57:235, 1995); or, with ``soft`` selection, the sources are averaged under powers of
    their energies, which leaves no seams.

    Differs from the papers: voxels rather than bands of a transform; 3-D, with lengths in mm; sources that tie share.
    """

    flip_equivariant: ClassVar[bool] = True
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = True
    # Finite, but its voxels depend on the lengths chosen and on the spacing.
    context_voxels: ClassVar[int | None] = None

    method: Literal["local_energy"] = "local_energy"
    measure: Literal["energy", "variance"] = Field("energy", description="Mean of squares, or variance.")
    sigma_mm: PositiveFloat = Field(3.0, description="Gaussian under which it is measured, mm.")
    selection: Literal["hard", "soft"] = Field("hard", description="One source wins each voxel, or all share it.")
    vote_mm: NonNegativeFloat = Field(
        2.0, description="Radius of the neighbourhood that votes on hard selection, mm; 5 x 5 x 5 voxels of 1 mm."
    )
    power: PositiveFloat = Field(2.0, description="Soft selection weighs by energy to this power.")
    weights: dict[str, NonNegativeFloat] = Field(
        {}, description="Weight by modality: values count times it when energies are compared; empty: all the same."
    )

    def build(self, device: str) -> Fuser:
        """Make the fuser."""

        def combine(volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
            import torch

            from radfuse.fuse.bands import that_count

            volumes, weights = that_count(volumes, weights_for(names, self.weights))
            sources = [torch.from_numpy(volume).to(device).double() for volume in volumes]
            shares = self._shares(sources, weights, grid)
            fused = sources[0].clone()
            for source, share in zip(sources[1:], shares[1:], strict=True):
                fused += share * (source - sources[0])
            result: Array = fused.float().cpu().numpy()
            return result

        return Fuser(combine)

    def _shares(self, sources: Sequence[torch.Tensor], weights: Sequence[float], grid: Geometry) -> torch.Tensor:
        import torch

        from radfuse.fuse.local_means import box_sum, shared_argmax, to_voxels

        energy = torch.stack([w * w * self._energy(x, grid) for x, w in zip(sources, weights, strict=True)])
        if self.selection == "soft":
            # Relative to the largest, for powers of small numbers vanish.
            largest = energy.amax(dim=0)
            relative = torch.where(largest > 0, energy / torch.where(largest > 0, largest, 1.0), 1.0) ** self.power
            return relative / relative.sum(dim=0)
        won = shared_argmax(energy)
        reach = to_voxels(self.vote_mm, grid)
        # A tie has no vote. Whole votes add up exactly, so that equal counts are equal to the last bit.
        return shared_argmax(torch.stack([box_sum((share == 1).double(), reach) for share in won])).double()

    def _energy(self, volume: torch.Tensor, grid: Geometry) -> torch.Tensor:
        from radfuse.fuse.local_means import gaussian_mean, spacing_zyx

        sigma = [self.sigma_mm / h for h in spacing_zyx(grid)]
        squares = gaussian_mean(volume**2, sigma)
        if self.measure == "energy":
            return squares
        variance = squares - gaussian_mean(volume, sigma) ** 2
        # The difference of equal squares leaves rounding behind, and on rounding no vote may hang.
        return variance.where(variance > 1e-12 * squares, 0.0)
