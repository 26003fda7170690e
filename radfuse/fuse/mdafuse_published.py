"""MdAFuse as its authors published it: two-dimensional and large."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from radfuse.component import KnownFile
from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod
from radfuse.fuse.learned_matrix import require_known_weights

SHIPPED = Path(__file__).parent / "weights" / "mdafuse_published.safetensors"
SHIPPED_SHA256 = "af0b3f533125845332596aadf969b1ed75e87a5f975d743c9ad780928e28349e"


class MdAFusePublished(FusionMethod):
    """Fuse slices with the network of Wen et al., TIP 33:3550 (2024), layer by layer as published.

    Kept for comparison; `mdafuse` is what we recommend. Ours are the weights (learned from phantoms, since the authors'
    come without a licence), a scale per channel instead of per image column (`affine`), frozen batch statistics, values
    in [0, 1] by volume instead of by slice, and zero background put back to zero: the network itself makes a constant
    of it. More than two modalities: sums over the two become twice the mean, and the maximum goes over all.
    Zero padding makes the border of a slice differ from its middle, so constants are not kept.
    """

    flip_equivariant: ClassVar[bool] = False
    voxelwise_identity: ClassVar[bool] = False
    keeps_equal_sources: ClassVar[bool] = False
    keeps_constants: ClassVar[bool] = False
    context_voxels: ClassVar[int | None] = None

    method: Literal["mdafuse_published"] = "mdafuse_published"
    affine: Literal["column", "channel"] = Field(
        "channel", description="The affine map: `column` as published (slices 256 wide only), or `channel`."
    )
    combine: Literal["code", "paper"] = Field(
        "code",
        description="`code`: sum over modalities, then the larger of fine and coarse; `paper`: the other way round.",
    )
    planes: Literal["axial", "three"] = Field(
        "axial", description="Slices to fuse: axial, or the mean of axial, coronal and sagittal."
    )
    zero_background: bool = Field(True, description="Voxels where every source is 0, to within `background`, are 0.")
    background: NonNegativeFloat = Field(
        0.0,
        description="How far from 0 normalised sources may be in background. 0: exactly 0, as padding is; the noise of "
        "air is not, and becomes a constant. 0.02 is 40 HU and 0.4 SUV by the default windows, with a step wherever "
        "tissue that is dark in every source begins.",
    )
    weights: KnownFile = Field("shipped", description="`shipped`, or a safetensors file of `radfuse fusion train`.")
    sha256: str = Field(
        SHIPPED_SHA256,
        description="SHA-256 that the weights must have, from their card; results are remembered under it.",
        pattern="^[0-9a-f]{64}$",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Of the convolutions; bfloat16 is for looking: what it does to features was measured of `mdafuse` "
        "alone, where half of them then disagreed.",
    )
    at_once: PositiveInt = Field(16, description="Slices in a batch on a GPU: bounds the memory, not the answer.")

    @model_validator(mode="after")
    def _weights_are_certain(self) -> "MdAFusePublished":
        require_known_weights(self.weights, self.sha256, SHIPPED_SHA256, self.model_fields_set)
        if self.weights == "shipped" and (self.affine, self.combine) != ("channel", "code"):
            raise ValueError(
                f"the shipped weights learned `affine: channel` and `combine: code`, not {self.affine} and "
                f"{self.combine}; train others with `radfuse fusion train` and name them in `weights`"
            )
        return self

    @property
    def trained_weights(self) -> Path | None:
        """The user's own weights."""
        return None if self.weights == "shipped" else Path(self.weights)

    def build(self, device: str) -> Fuser:
        """Make the fuser; reads the weights."""
        import torch

        from radfuse.fuse.networks.published import PublishedNet, ready
        from radfuse.fuse.networks.room import Room
        from radfuse.fuse.networks.slices import AXIAL, CORONAL, SAGITTAL, fuse_sliced
        from radfuse.fuse.networks.weights import load_weights, read_weights

        path = SHIPPED if self.weights == "shipped" else Path(self.weights)
        # Without storage until the weights arrive, so that no random numbers are drawn.
        with torch.device("meta"):
            network = PublishedNet(self.affine, self.combine)
        load_weights(network, read_weights(path, self.sha256), str(path))
        network = ready(network, self.precision)
        room = Room(device, self.at_once, 1, "batches of {} slices")
        axes = (AXIAL,) if self.planes == "axial" else (AXIAL, CORONAL, SAGITTAL)

        def combine(volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
            fused = np.zeros(grid.shape, dtype=np.float32)
            for axis in axes:
                fused += room.run(
                    lambda place, count, axis=axis: fuse_sliced(  # type: ignore[misc]
                        network.to(place), volumes, axis=axis, at_once=count, device=place,
                        skip_empty=self.zero_background,
                    )
                )  # fmt: skip
            fused /= len(axes)
            if self.zero_background:
                fused[np.all([np.abs(volume) <= self.background for volume in volumes], axis=0)] = 0
            return fused

        return Fuser(combine)
