"""MdAFuse as published: two-dimensional, with 1.6 million parameters.

Wen et al., "A medical image fusion network with multi-dimensional adaptive affine mapping", IEEE Trans. Image
Process. 33:3550-3563 (2024). Written from the layers' sizes; no code and no weights of the authors are used. Names
follow the paper: the coarse (CFM), fine (FFM) and multi-scale (MFM) feature modules and the adaptive affine map.

Two things are made general without changing what comes out at 256 x 256: the sizes 256 and 128 written into the
published network are taken from the slice, and sums over the two modalities become twice the mean over any number.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

# Slices smaller than this leave nothing for the pyramid to pool.
LEAST_SIDE = 16
COLUMNS = 256
FEATURES, MAPS = 16, 3


def block(given: int, made: int, size: int, *, stride: int = 1, padding: int | None = None, bias: bool = True,
          groups: int = 1, relu: bool = True) -> nn.Sequential:  # fmt: skip
    """Make a convolution with batch-norm and ReLU; zero padding keeps the size unless told otherwise."""
    pad = size // 2 if padding is None else padding
    layers = [nn.Conv2d(given, made, size, stride, pad, groups=groups, bias=bias), nn.BatchNorm2d(made)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def depthwise(channels: int, stride: int = 1, *, relu: bool = True) -> nn.Sequential:
    """Make a 3 x 3 convolution of each channel by itself, without bias."""
    return block(channels, channels, 3, stride=stride, bias=False, groups=channels, relu=relu)


def pointwise(given: int, made: int, *, relu: bool = True) -> nn.Sequential:
    """Make a 1 x 1 convolution without bias."""
    return block(given, made, 1, bias=False, relu=relu)


def upsample(features: Tensor, size: Sequence[int]) -> Tensor:
    """Enlarge bilinearly, corners on corners, as the published network does everywhere."""
    return functional.interpolate(features, size=list(size), mode="bilinear", align_corners=True)


class Coarse(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """CFM: large kernels, few channels."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = block(1, 32, 7)
        self.deep = nn.Sequential(*(block(given, 2 * given, 7) for given in (1, 2, 4, 8, 16)))
        self.merge = nn.Sequential(block(64, 32, 5), block(32, FEATURES, 5))

    def forward(self, slices: Tensor) -> Tensor:
        """Give 16 features of a slice (batch, 1, y, x)."""
        found: Tensor = self.merge(torch.cat([self.wide(slices), self.deep(slices)], dim=1))
        return found


class Fine(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """FFM: small kernels, many channels, at full and half resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.straight = nn.Sequential(block(1, 32, 3), block(32, 64, 3), block(64, 128, 3))
        self.first = block(1, 32, 3)
        self.shared = block(32, 64, 3)  # at both resolutions
        self.low, self.low_up = block(64, 128, 3), block(128, 64, 3)
        self.both = block(128, 128, 3)
        self.merge = nn.Sequential(*(block(2 * made, made, 5) for made in (128, 64, 32, FEATURES)))

    def forward(self, slices: Tensor) -> Tensor:
        """Give 16 features of a slice (batch, 1, y, x)."""
        first = self.first(slices)
        low = self.low(self.shared(functional.max_pool2d(first, 2)))
        low = self.low_up(upsample(low, slices.shape[2:]))
        scales = self.both(torch.cat([self.shared(first), low], dim=1))
        found: Tensor = self.merge(torch.cat([self.straight(slices), scales], dim=1))
        return found


class Head(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """Three maps of 32 features; one head serves three scales of the pyramid."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(depthwise(32), pointwise(32, 32), nn.Dropout(0.1), nn.Conv2d(32, MAPS, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Give the maps at the features' resolution."""
        maps: Tensor = self.layers(features)
        return maps


class Multi(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """MFM: a pyramid with a pooled context, after Fast-SCNN; the sum of the maps of its scales."""

    def __init__(self) -> None:
        super().__init__()
        self.to_half = block(1, 16, 3, stride=2, padding=0)
        self.to_quarter = nn.Sequential(depthwise(16, 2), pointwise(16, 32))
        self.context = nn.Sequential(pointwise(32, 64), depthwise(64), pointwise(64, 32, relu=False))
        self.pooled = pointwise(32, 16)
        self.gathered = pointwise(32, 32)
        self.skip = depthwise(32)
        self.merge = block(32, 32, 3)
        self.head = Head()
        self.from_slice = nn.Sequential(
            block(1, 32, 3, bias=False), block(32, 16, 3, bias=False), nn.Dropout(0.1), nn.Conv2d(16, MAPS, 1)
        )
        self.from_half = block(16, 32, 3, bias=False)
        self.from_quarter = block(32, 32, 3, bias=False)

    def forward(self, slices: Tensor) -> Tensor:
        """Give 3 maps of a slice (batch, 1, y, x)."""
        whole = slices.shape[2:]
        half = self.to_half(slices)
        quarter = self.to_quarter(half)
        context = self.context(quarter)
        small = functional.adaptive_avg_pool2d(context, [max(1, side // 2) for side in context.shape[2:]])
        small = upsample(self.pooled(small), context.shape[2:])
        gathered = self.gathered(torch.cat([self.pooled(context), small], dim=1))
        merged = self.merge(gathered + self.skip(quarter))
        maps: Tensor = upsample(self.head(upsample(merged, [(side + 1) // 2 for side in whole])), whole)
        maps = maps + self.from_slice(slices) + self.head(upsample(self.from_half(half), whole))
        return maps + self.head(upsample(self.from_quarter(quarter), whole))


class ColumnAffine(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """The published map: a scale and a shift for each of 256 image columns, the same for all features."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 1, COLUMNS))
        self.shift = nn.Parameter(torch.zeros(1, 1, COLUMNS))

    def forward(self, features: Tensor, kind: str) -> Tensor:
        """Scale and shift; slices of another width are an error of the caller."""
        return features * self.scale + self.shift


class FeatureAffine(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """A scale and a shift for each channel of each kind of features: any width, left and right alike."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"coarse": FEATURES, "fine": FEATURES, "structure": MAPS, "multi": MAPS}
        self.scale = nn.ParameterDict({kind: nn.Parameter(torch.ones(n, 1, 1)) for kind, n in sizes.items()})
        self.shift = nn.ParameterDict({kind: nn.Parameter(torch.zeros(n, 1, 1)) for kind, n in sizes.items()})

    def forward(self, features: Tensor, kind: str) -> Tensor:
        """Scale and shift."""
        mapped: Tensor = features * self.scale[kind] + self.shift[kind]
        return mapped


class PublishedNet(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """Fuse slices of two or more modalities.

    Parameters
    ----------
    affine : ``column`` as published, or ``channel``.
    combine : ``code`` adds up the modalities, then takes the larger of fine and coarse, as the published program does;
        ``paper`` adds fine and coarse, then takes the largest over the modalities, as the paper's text says.
    """

    def __init__(self, affine: Literal["column", "channel"] = "channel", combine: Literal["code", "paper"] = "code"):
        super().__init__()
        self.combine = combine
        self.coarse, self.fine, self.multi = Coarse(), Fine(), Multi()
        self.affine = ColumnAffine() if affine == "column" else FeatureAffine()
        self.structure = nn.Conv2d(FEATURES, MAPS, 5, padding=2)
        self.last = nn.Conv2d(MAPS, 1, 3, padding=1)

    def forward(self, slices: Sequence[Tensor]) -> Tensor:
        """Fuse.

        Parameters
        ----------
        slices : one (batch, 1, y, x) of each modality, sides of `LEAST_SIDE` or more; the result has the same shape.
        """
        together = torch.cat(list(slices)).to(self.coarse.wide[0].weight.dtype, memory_format=torch.channels_last)
        # One extractor sees all modalities. What follows it is float32, whatever the convolutions were.
        coarse, fine, multi = (part(together).float() for part in (self.coarse, self.fine, self.multi))
        with torch.autocast(together.device.type, torch.bfloat16, enabled=False):
            own, wide = self.affine(coarse, "coarse"), self.affine(fine, "fine")
            if self.combine == "code":
                joined = torch.maximum(_twice_mean(wide, len(slices)), _twice_mean(own, len(slices)))
            else:
                joined = torch.stack((own + wide).chunk(len(slices))).amax(dim=0)
            structure = self.affine(self.structure(joined), "structure")
            scales = self.affine(0.5 * _twice_mean(multi, len(slices)), "multi")
            fused: Tensor = self.last(torch.tanh(0.5 * (structure + scales)))
        return fused


def folded(network: PublishedNet) -> PublishedNet:
    """Give a copy whose batch-norms, frozen, are part of the convolutions before them: the same function, faster."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    copy: PublishedNet = deepcopy(network).eval()
    for parent in [module for module in copy.modules() if isinstance(module, nn.Sequential)]:
        for place in range(len(parent) - 1):
            if isinstance(parent[place], nn.Conv2d) and isinstance(parent[place + 1], nn.BatchNorm2d):
                parent[place] = fuse_conv_bn_eval(parent[place], parent[place + 1])
                parent[place + 1] = nn.Identity()
    return copy


def ready(network: PublishedNet, precision: str) -> PublishedNet:
    """Give a copy prepared for fusing: folded, channels last, and its extractor in ``float32`` or ``bfloat16``."""
    copy: PublishedNet = folded(network).to(memory_format=torch.channels_last)
    if precision == "bfloat16":
        for part in (copy.coarse, copy.fine, copy.multi):
            part.to(torch.bfloat16)
    return copy


def _twice_mean(features: Tensor, count: int) -> Tensor:
    # For two modalities this is their sum.
    return torch.stack(features.chunk(count)).mean(dim=0) * 2
