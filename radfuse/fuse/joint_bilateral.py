"""Joint bilateral decomposition: smooth energy by its strength, structure by its local gradient energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod

if TYPE_CHECKING:
    import torch


# The fourth power of 3e-4 of the normalised scale, half a HU: less is rounding, on which no vote may hang.
LEAST_ENERGY = 1e-14


class JointBilateral(FusionMethod):
    """Fuse energy and structure layers [Li X. et al., Inf Sci 569:305, 2021].

    The energy layer of a source is its joint bilateral filter under the guidance of its own Gaussian blur: textures go,
    edges that survive the blur stay. The rest is structure. The larger energy wins each voxel; the structure comes from
    the source with the larger local gradient energy, after a majority vote of the neighbourhood.

    Differs from the paper: three-dimensional, with radii in mm; the filter works on a bilateral grid [Chen, Paris &
    Durand, TOG 26:103, 2007]; the width in intensity is fixed on the normalised scale, so that it does not depend on
    the brightest voxel in the field of view; sources that tie share the structure, and do not vote.
    """

    flip_equivariant: ClassVar[bool] = True
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = False
    context_voxels: ClassVar[int | None] = None

    method: Literal["joint_bilateral"] = "joint_bilateral"
    sigma_mm: PositiveFloat = Field(3.0, description="Width of the filter in space, and of the guide's blur, mm.")
    sigma_intensity: PositiveFloat = Field(
        0.05, description="Width in intensity on the normalised scale; 0.05 is 100 HU, SUV 1, a quarter SD of MR."
    )
    window_mm: PositiveFloat = Field(4.0, description="Radius of the window for the local gradient energy, mm.")
    vote_mm: PositiveFloat = Field(10.0, description="Radius of the neighbourhood that votes on the structure, mm.")

    def build(self, device: str) -> Fuser:
        """Make the fuser."""

        def combine(volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
            import torch

            fused: Array = self._combine([torch.tensor(x, device=device) for x in volumes], grid).cpu().numpy()
            return fused

        return Fuser(combine)

    def _combine(self, sources: Sequence[torch.Tensor], grid: Geometry) -> torch.Tensor:
        import torch

        from radfuse.fuse.bilateral_grid import joint_bilateral
        from radfuse.fuse.local_means import box_sum, gaussian_mean, shared_argmax, spacing_zyx, to_voxels

        spacing = spacing_zyx(grid)
        sigma = [self.sigma_mm / h for h in spacing]
        energies = [joint_bilateral(x, gaussian_mean(x, sigma), sigma, self.sigma_intensity) for x in sources]
        structures = [x - energy for x, energy in zip(sources, energies, strict=True)]
        window = to_voxels(self.window_mm, grid)
        won = shared_argmax(torch.stack([local_gradient_energy(s, spacing, window) for s in structures]))
        # Whole votes add up exactly, so that equal counts are equal to the last bit.
        reach = to_voxels(self.vote_mm, grid)
        votes = torch.stack([box_sum((share == 1).double(), reach) for share in won])
        weights = shared_argmax(votes)
        fused = torch.stack(energies).amax(dim=0) + structures[0]
        for structure, weight in zip(structures[1:], weights[1:], strict=True):
            fused += weight * (structure - structures[0])
        return fused


def local_gradient_energy(volume: torch.Tensor, spacing: Sequence[float], window: Sequence[int]) -> torch.Tensor:
    """Strength of the structure tensor times local energy [Li X. et al. 2021], in 3-D.

    The strength is sqrt((sum of eigenvalues)^2 + half the sum of (e_i - e_j)^2 over the pairs), which needs no
    eigenvalues: with trace t and squared Frobenius norm n the latter sum is 3 n - t^2.

    Parameters
    ----------
    volume : (z, y, x).
    spacing : mm along z, y, x.
    window : radius of the box means along z, y, x, voxels.
    """
    import torch

    from radfuse.fuse.local_means import box_mean, central_gradient

    slopes = central_gradient(volume.double(), spacing)
    trace, norm = torch.zeros_like(slopes[0]), torch.zeros_like(slopes[0])
    for i in range(3):
        for j in range(i + 1):
            moment = box_mean(slopes[i] * slopes[j], window)
            norm += (1 if i == j else 2) * moment**2
            if i == j:
                trace += moment
    strength = (trace**2 + 0.5 * (3 * norm - trace**2)).clamp(min=0).sqrt()
    energy = strength * box_mean(volume.double() ** 2, window)
    return torch.where(energy > LEAST_ENERGY, energy, 0.0)
