"""What training needs to know of each network: how to make it, what it sees of a crop, and how it is judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from radfuse.fuse import Array
from radfuse.fuse.networks.inference import fuse_tiled
from radfuse.fuse.networks.mdafuse import HALO, MdAFuseNet, inner
from radfuse.fuse.networks.published import COLUMNS, PublishedNet
from radfuse.fuse.networks.slices import fuse_sliced


class Learner(Protocol):
    """A network that can be trained."""

    @property
    def halo(self) -> int:
        """How far the network reaches; what it sees of a crop beyond what is judged."""

    def make(self) -> nn.Module:
        """Make the network with random weights, in the memory layout that is fastest to train."""

    def shape(self, side: int) -> tuple[int, int, int]:
        """What is judged of a crop, voxels (z, y, x)."""

    def fuse(self, network: nn.Module, given: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Fuse crops (batch, 1, z, y, x); gives the result, and the part of the sources that it stands for."""

    def shown(self, volume: Array) -> Array:
        """The part of a volume that the network is judged by."""

    def judged(self, network: nn.Module, shown: Sequence[Array], device: str) -> Array:
        """Fuse what is shown, as `radfuse fuse` would."""

    def batch(self, array: Array) -> Tensor:
        """Lay an array out for the loss: what belongs together along z, y and x."""


@dataclass(frozen=True)
class Volumetric:
    """The default network, which sees blocks."""

    halo: int = HALO

    def make(self) -> nn.Module:
        """Make the network."""
        return MdAFuseNet()

    def shape(self, side: int) -> tuple[int, int, int]:
        """Take a cube."""
        return side, side, side

    def fuse(self, network: nn.Module, given: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Fuse; the halo is cut off."""
        return network(given), [inner(source, HALO) for source in given]

    def shown(self, volume: Array) -> Array:
        """All of it."""
        return volume

    def judged(self, network: nn.Module, shown: Sequence[Array], device: str) -> Array:
        """Fuse in tiles."""
        return fuse_tiled(network, shown, HALO, 48, device, "float32")

    def batch(self, array: Array) -> Tensor:
        """One volume."""
        return torch.from_numpy(array)[None, None]


@dataclass(frozen=True)
class Sliced:
    """The published network, which sees slices.

    Parameters
    ----------
    affine, combine : as in `PublishedNet`.
    """

    affine: Literal["column", "channel"] = "channel"
    combine: Literal["code", "paper"] = "code"
    halo: int = 0

    def make(self) -> nn.Module:
        """Make the network."""
        return PublishedNet(self.affine, self.combine).to(memory_format=torch.channels_last)

    def shape(self, side: int) -> tuple[int, int, int]:
        """Take a square, or a band as wide as the map by columns."""
        return 1, side, COLUMNS if self.affine == "column" else side

    def fuse(self, network: nn.Module, given: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Fuse as pictures."""
        return network([source[:, :, 0] for source in given])[:, :, None], list(given)

    def shown(self, volume: Array) -> Array:
        """Every eighth slice: neighbours are alike, and the network is slow."""
        return volume[len(volume) % 8 // 2 :: 8]

    def judged(self, network: nn.Module, shown: Sequence[Array], device: str) -> Array:
        """Fuse slice by slice."""
        return fuse_sliced(network, shown, at_once=16, device=device)

    def batch(self, array: Array) -> Tensor:
        """One picture after the other: slices that are eight apart share no window."""
        return torch.from_numpy(array)[:, None, None]


def learner_for(method: str, affine: Literal["column", "channel"], combine: Literal["code", "paper"]) -> Learner:
    """Choose by the method's name."""
    return Volumetric() if method == "mdafuse" else Sliced(affine, combine)
