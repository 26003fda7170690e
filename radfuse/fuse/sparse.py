"""Sparse representation: of each patch, the source that needs the most of a dictionary's atoms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from radfuse.component import KnownFile
from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod
from radfuse.fuse.learned_matrix import read_matrix, require_known_weights

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED = Path(__file__).parent / "weights" / "sparse_dictionary.safetensors"
SHIPPED_SHA256 = "378f0c365794ef5cdea6fee1d43f6b16d0e7a7285fb69e37d45195b6e28e44be"
# Fits the processor's cache; a patch's code does not depend on the others.
PATCHES_AT_ONCE = 1024


class SparseRepresentation(FusionMethod):
    """Fuse 8 x 8 patches by their sparse codes: the larger sum of magnitudes wins [Yang & Li, IEEE TIM 59:884, 2010].

    Patches lose their mean and are coded by orthogonal matching pursuit; the winner's code and mean make the fused
    patch, and overlapping patches are averaged. Patches that are flat in every source take the mean of all.
    Where the winner changes, so does the level: on a phantom's CT and PET neighbouring voxels differ 2.7 times as much
    as in the sources, with `level: mean` 1.6 times. What an error of 0.01 (20 HU, 0.2 SUV) and 12 atoms leave of a
    patch is lost as noise.

    The dictionary was learned on made-up phantoms (see the card beside it) and holds every atom in all eight
    orientations. So with `stride: 1` fusing flipped slices is flipping the fused ones, and a part with 7 voxels around
    it is fused like the whole; only a patch that is its own mirror image can fit an atom and the mirrored atom alike,
    and then the first is taken.
    """

    flip_equivariant: ClassVar[bool] = False
    voxelwise_identity: ClassVar[bool] = False
    keeps_equal_sources: ClassVar[bool] = False
    context_voxels: ClassVar[int | None] = None

    method: Literal["sparse"] = "sparse"
    error: PositiveFloat = Field(
        0.01, description="Root mean square that a code may leave of its patch, on the normalised scale."
    )
    atoms: PositiveInt = Field(12, description="Atoms that make a patch, at most; more follow noise and take longer.")
    level: Literal["winner", "mean"] = Field(
        "winner", description="Mean of a fused patch: the winner's, as published, or that of all sources."
    )
    stride: PositiveInt = Field(
        2, description="Voxels from one patch to the next; 1 takes four times as long, and no voxel is special then."
    )
    planes: Literal["axial", "three"] = Field(
        "axial", description="Slices to fuse: axial, or the mean of axial, coronal and sagittal."
    )
    weights: KnownFile = Field("shipped", description="`shipped`, or a file of pipelines/learn_fusion_dictionary.py.")
    sha256: str = Field(
        SHIPPED_SHA256,
        description="SHA-256 that the dictionary must have, from its card; results are remembered under it.",
        pattern="^[0-9a-f]{64}$",
    )

    @model_validator(mode="after")
    def _weights_are_certain(self) -> SparseRepresentation:
        require_known_weights(self.weights, self.sha256, SHIPPED_SHA256, self.model_fields_set)
        return self

    @property
    def trained_weights(self) -> Path | None:
        """The user's own weights."""
        return None if self.weights == "shipped" else Path(self.weights)

    def build(self, device: str) -> Fuser:
        """Make the fuser; reads the dictionary."""
        path = SHIPPED if self.weights == "shipped" else Path(self.weights)
        dictionary = read_matrix(path, self.sha256, "dictionary").to(device)
        # In float32 the norms are 1 to 1e-7 only.
        dictionary = dictionary / dictionary.norm(dim=1, keepdim=True)

        def combine(volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
            from radfuse.fuse.patches import fuse_planes

            return fuse_planes(volumes, self.planes, lambda slices: self._fuse(slices, dictionary), device)

        return Fuser(combine)

    def _fuse(self, slices: Sequence[Tensor], dictionary: Tensor) -> Tensor:
        import torch

        from radfuse.fuse.patches import cut, overlay

        side = round(dictionary.shape[1] ** 0.5)
        cuts = [cut(source, side, self.stride) for source in slices]
        flat = [patches.reshape(-1, patches.shape[-1]) for patches in cuts]
        fused = torch.empty_like(flat[0])
        for start in range(0, len(fused), PATCHES_AT_ONCE):
            chosen = slice(start, start + PATCHES_AT_ONCE)
            fused[chosen] = self._choose([patches[chosen] for patches in flat], dictionary)
        return overlay(fused.reshape(cuts[0].shape), slices[0].shape[1:], side, self.stride)

    def _choose(self, patches: Sequence[Tensor], dictionary: Tensor) -> Tensor:
        """Fuse patches (patch, voxel) of several sources."""
        import torch

        from radfuse.fuse.sparse_coding import matching_pursuit

        error = self.error * dictionary.shape[1] ** 0.5
        levels, details, activity = [], [], []
        for source in patches:
            level = source.mean(dim=1, keepdim=True)
            codes = matching_pursuit(source - level, dictionary, self.atoms, error)
            levels.append(level)
            # A patch within the error of flat has no code, and all of its detail is residual.
            details.append(source - level - codes.residual)
            activity.append(codes.coefficients.abs().sum(dim=1))
        strongest = torch.stack(activity)
        wins = (strongest == strongest.amax(dim=0)).to(strongest.dtype)
        shares = (wins / wins.sum(dim=0)).unsqueeze(2)
        level_shares = shares if self.level == "winner" else torch.full_like(shares, 1 / len(patches))
        return (shares * torch.stack(details) + level_shares * torch.stack(levels)).sum(dim=0)
