"""Multi-level latent low-rank fusion: details by a projection learned beforehand, weighted by their nuclear norms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from radfuse.component import KnownFile
from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod
from radfuse.fuse.learned_matrix import read_matrix, require_known_weights

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED = Path(__file__).parent / "weights" / "mdlatlrr_projection.safetensors"
SHIPPED_SHA256 = "9379a8e9c6562ab9a2467f88eab864b5238abb5b77dd8dc639303056175d85c3"


class MultiLevelLatentLowRank(FusionMethod):
    """Fuse details of patches by their nuclear norms, and the rest by the mean [Li, Wu & Kittler, TIP 29:4733, 2020].

    A projection L, of X = X Z + L X + E over many patches, takes the details out of each 8 x 8 patch; overlapping
    details are averaged, and what they leave of the slice goes through the same again at the next level. Each detail
    patch is weighted by its nuclear norm against the other sources'. Ours is learned on made-up phantoms (see the card
    beside it), from patches without their means: with means in it, L takes half of the brightness for detail.
    It commutes with turning and mirroring patches.
    """

    flip_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = False
    context_voxels: ClassVar[int | None] = 14

    method: Literal["mdlatlrr"] = "mdlatlrr"
    levels: PositiveInt = Field(2, description="How often details are taken out; each reaches 7 voxels further.")
    stride: PositiveInt = Field(
        1, description="Voxels from one patch to the next; 2 is four times as fast and depends on where slices begin."
    )
    planes: Literal["axial", "three"] = Field(
        "axial", description="Slices to fuse: axial, or the mean of axial, coronal and sagittal."
    )
    weights: KnownFile = Field("shipped", description="`shipped`, or a file of pipelines/learn_fusion_dictionary.py.")
    sha256: str = Field(
        SHIPPED_SHA256,
        description="SHA-256 that the projection must have, from its card; results are remembered under it.",
        pattern="^[0-9a-f]{64}$",
    )

    @model_validator(mode="after")
    def _weights_are_certain(self) -> MultiLevelLatentLowRank:
        require_known_weights(self.weights, self.sha256, SHIPPED_SHA256, self.model_fields_set)
        return self

    @property
    def trained_weights(self) -> Path | None:
        """The user's own weights."""
        return None if self.weights == "shipped" else Path(self.weights)

    def build(self, device: str) -> Fuser:
        """Make the fuser; reads the projection."""
        path = SHIPPED if self.weights == "shipped" else Path(self.weights)
        projection = read_matrix(path, self.sha256, "projection").to(device)

        def combine(volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
            from radfuse.fuse.patches import fuse_planes

            return fuse_planes(volumes, self.planes, lambda slices: self._fuse(slices, projection), device)

        return Fuser(combine)

    def _fuse(self, slices: Sequence[Tensor], projection: Tensor) -> Tensor:
        import torch

        from radfuse.fuse.patches import cut, overlay

        side, shape = round(projection.shape[1] ** 0.5), slices[0].shape[1:]
        bases, fused = list(slices), torch.zeros_like(slices[0])
        for _ in range(self.levels):
            details = [cut(base, side, self.stride) @ projection.T for base in bases]
            fused = fused + overlay(weighted_by_nuclear_norm(details, side), shape, side, self.stride)
            bases = [
                base - overlay(detail, shape, side, self.stride) for base, detail in zip(bases, details, strict=True)
            ]
        return fused + torch.stack(bases).mean(dim=0)


def weighted_by_nuclear_norm(details: Sequence[Tensor], side: int) -> Tensor:
    """Take the mean of patches (slice, place, voxel), weighted by the sum of singular values of each as a square."""
    import torch

    norms = []
    for detail in details:
        squares = detail.reshape(*detail.shape[:-1], side, side)
        values = torch.linalg.eigvalsh(squares.mT @ squares)
        norms.append(values.clamp(min=0).sqrt().sum(dim=-1))
    # Where no source has any detail, the weights do not matter.
    weights = torch.stack(norms).clamp(min=torch.finfo(details[0].dtype).tiny)
    weights = (weights / weights.sum(dim=0)).unsqueeze(-1)
    return (weights * torch.stack(list(details))).sum(dim=0)
