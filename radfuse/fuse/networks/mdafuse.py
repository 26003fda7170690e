"""MdAFuse made volumetric and small: coarse, fine and multi-scale features, affine mapping, gate and residual.

After Wen et al., "A medical image fusion network with multi-dimensional adaptive affine mapping", IEEE Trans. Image
Process. 33:3550-3563 (2024). What is kept: three kinds of features from one extractor shared by all modalities
(few channels with large kernels, many channels with small ones, and a pyramid), a learned affine map of each feature
set, fine and coarse features combined by the maximum and pyramid features by the mean. What is mended: see
`MdAFuseNet`.
"""

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 8
FINE_WIDTH = 12
# How far a voxel reaches: the pyramid (blur 1, dilation 2, dilation 4) and the decoder (2).
HALO = 9


class Symmetric(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """A 3-D convolution without padding, whose kernel has all 48 symmetries of the cube.

    That makes the network equivariant under flips and permutations of the axes by construction: left and right
    lesions are fused alike, and so are axial and sagittal acquisitions.

    Parameters
    ----------
    given, made : channels in and out.
    size : kernel side, odd.
    dilation : voxels between kernel taps.
    """

    def __init__(self, given: int, made: int, size: int, dilation: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(made, given, size, size, size))
        self.bias = nn.Parameter(torch.zeros(made))
        self.dilation = dilation
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        with torch.no_grad():
            # Averaging 48 random kernels leaves a seventh of their spread; the signal would die out on its way.
            self.weight.mul_(self.weight.norm() / self.kernel().norm())

    def kernel(self) -> Tensor:
        """The weight averaged over all flips and permutations of the axes."""
        if self.weight.shape[2] == 1:
            return self.weight
        kernel: Tensor = torch.stack([self.weight.permute(0, 1, *axes) for axes in permutations((2, 3, 4))]).mean(0)
        for axis in (2, 3, 4):
            kernel = 0.5 * (kernel + kernel.flip(axis))
        return kernel

    def forward(self, features: Tensor) -> Tensor:
        """Convolve; the result is ``dilation * (size - 1)`` voxels smaller along each axis."""
        return functional.conv3d(features, self.kernel(), self.bias, dilation=self.dilation)


class ChannelAffine(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """The adaptive affine mapping: one scale and one shift per channel.

    The published map has one pair per image column, which fixes the image's width and treats left and right apart.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Scale and shift."""
        shape = (1, -1, 1, 1, 1)
        return features * self.scale.view(shape) + self.shift.view(shape)


class Extractor(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """Features of one modality, 7 voxels smaller on every side: coarse, fine and multi-scale."""

    def __init__(self) -> None:
        super().__init__()
        self.coarse = nn.Sequential(Symmetric(1, 4, 7), nn.ReLU(), Symmetric(4, WIDTH, 1), nn.ReLU())
        self.fine = nn.Sequential(
            Symmetric(1, WIDTH, 3),
            nn.ReLU(),
            Symmetric(WIDTH, FINE_WIDTH, 3),
            nn.ReLU(),
            Symmetric(FINE_WIDTH, WIDTH, 3),
            nn.ReLU(),
        )
        self.second = nn.Sequential(Symmetric(1, WIDTH, 3, dilation=2), nn.ReLU())
        self.third = nn.Sequential(Symmetric(WIDTH, WIDTH, 3, dilation=4), nn.ReLU())
        self.pyramid = nn.Sequential(Symmetric(2 * WIDTH, WIDTH, 1), nn.ReLU())
        self.coarse_affine = ChannelAffine(WIDTH)
        self.fine_affine = ChannelAffine(WIDTH)
        self.multi_affine = ChannelAffine(WIDTH)

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """Give coarse + fine, and multi-scale features."""
        detail = self.coarse_affine(inner(self.coarse(volume), 4)) + self.fine_affine(inner(self.fine(volume), 4))
        second = self.second(_blur(volume))
        multi = self.pyramid(torch.cat([inner(second, 4), self.third(second)], dim=1))
        return detail, self.multi_affine(multi)


class MdAFuseNet(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """Fuse two or more volumes, in any order, of any size.

    The output is a convex mixture of the sources plus half of their range times a number in (-1, 1), so it is bounded,
    equals the sources where they agree, and leaves zero background at zero. No layer uses statistics of its input
    and the pyramid is undecimated (dilated kernels instead of strides), so a voxel's result depends on the voxels
    within `HALO` of it and on nothing else: not on tile, crop or field of view.
    """

    def __init__(self) -> None:
        super().__init__()
        self.extract = Extractor()
        self.decode = nn.Sequential(Symmetric(2 * WIDTH, WIDTH, 3), nn.ReLU(), Symmetric(WIDTH, WIDTH, 3), nn.ReLU())
        self.score = Symmetric(3 * WIDTH, 1, 1)
        self.residual = Symmetric(WIDTH, 1, 1)

    def forward(self, volumes: Sequence[Tensor]) -> Tensor:
        """Fuse.

        Parameters
        ----------
        volumes : each (batch, 1, z, y, x), float32, already padded by `HALO` on every side; the result is smaller
            by as much.
        """
        features = [self.extract(volume) for volume in volumes]
        detail = torch.stack([found[0] for found in features]).amax(dim=0)
        multi = torch.stack([found[1] for found in features]).mean(dim=0)
        decoded = self.decode(torch.cat([detail, multi], dim=1))
        scores = [self.score(torch.cat([decoded, inner(own, 2), inner(wide, 2)], dim=1)) for own, wide in features]
        # Recombination is always float32: the sources' values pass through it.
        gate = torch.stack([score.float() for score in scores]).softmax(dim=0)
        sources = torch.stack([inner(volume, HALO) for volume in volumes])
        first = sources[0]
        mixture = first + (gate * (sources - first)).sum(dim=0)
        reach = sources.amax(dim=0) - sources.amin(dim=0)
        return mixture + 0.5 * torch.tanh(self.residual(decoded).float()) * reach


def inner(features: Tensor, margin: int) -> Tensor:
    """Cut ``margin`` voxels off every side."""
    return features[..., margin:-margin, margin:-margin, margin:-margin]


def parameters_of(network: nn.Module) -> int:
    """Count the learned numbers."""
    return sum(parameter.numel() for parameter in network.parameters())


def _blur(volume: Tensor) -> Tensor:
    # The binomial [1 2 1] / 4 along each axis before spacing the taps apart, against aliasing.
    kernel = torch.tensor([0.25, 0.5, 0.25], dtype=volume.dtype, device=volume.device)
    for axis in (2, 3, 4):
        shape = [1, 1, 1, 1, 1]
        shape[axis] = 3
        volume = functional.conv3d(volume, kernel.view(shape))
    return volume
