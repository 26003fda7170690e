"""The default learned fusion: MdAFuse, volumetric and small."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from radfuse.component import KnownFile
from radfuse.fuse import Fuser, FusionMethod
from radfuse.fuse.learned_matrix import require_known_weights

SHIPPED = Path(__file__).parent / "weights" / "mdafuse.safetensors"
LEAST_TILE = 16
SHIPPED_SHA256 = "baca0334c8cf37d7d1d22ed25f1f24e61cf8534253fe66015c63fc7d43d2ebd7"


class MdAFuse(FusionMethod):
    """Fuse with coarse, fine and multi-scale features and an adaptive affine map [Wen et al., TIP 33:3550, 2024].

    Ours is volumetric and has 14,222 parameters; `networks/mdafuse.py` says what it keeps of the published network and
    what it mends. The shipped weights were trained on made-up phantoms only (see the card beside them), so they
    have seen no patient.
    """

    flip_equivariant: ClassVar[bool] = True
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = True
    context_voxels: ClassVar[int | None] = 9

    method: Literal["mdafuse"] = "mdafuse"
    weights: KnownFile = Field("shipped", description="`shipped`, or a safetensors file of `radfuse fusion train`.")
    sha256: str = Field(
        SHIPPED_SHA256,
        description="SHA-256 that the weights must have, from their card; results are remembered under it.",
        pattern="^[0-9a-f]{64}$",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Of the convolutions; bfloat16 is for looking: it moves voxels by 0.01 of the range, and half the "
        "features then disagree.",
    )
    tile: PositiveInt = Field(48, description="Side of a tile in voxels: bounds the memory, not the answer.")

    @model_validator(mode="after")
    def _named_weights_are_certain(self) -> "MdAFuse":
        require_known_weights(self.weights, self.sha256, SHIPPED_SHA256, self.model_fields_set)
        return self

    @property
    def trained_weights(self) -> Path | None:
        """The user's own weights."""
        return None if self.weights == "shipped" else Path(self.weights)

    def build(self, device: str) -> Fuser:
        """Make the fuser; reads the weights."""
        import torch

        from radfuse.fuse.networks.inference import fuse_tiled
        from radfuse.fuse.networks.mdafuse import HALO, MdAFuseNet
        from radfuse.fuse.networks.room import Room
        from radfuse.fuse.networks.weights import load_weights, read_weights

        path = SHIPPED if self.weights == "shipped" else Path(self.weights)
        # Without storage until the weights arrive, so that no random numbers are drawn.
        with torch.device("meta"):
            network = MdAFuseNet()
        load_weights(network, read_weights(path, self.sha256), str(path))
        network.eval()
        room = Room(device, self.tile, min(LEAST_TILE, self.tile), "tiles of {} voxels")
        return Fuser(
            lambda volumes, names, grid: room.run(
                lambda place, tile: fuse_tiled(network.to(place), volumes, HALO, tile, place, self.precision)
            )
        )
