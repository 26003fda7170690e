"""What a fused volume is judged by in training: likeness to each of its sources."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

# Wen et al., TIP 33:3550 (2024): structure 0.3, intensity 0.7.
STRUCTURE, INTENSITY = 0.3, 0.7
SSIM_SIDE = 7
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2


def fusion_loss(fused: Tensor, sources: Sequence[Tensor], gradient_weight: float) -> Tensor:
    """``0.3 sum(1 - SSIM(F, A)) + 0.7 sum MSE(F, A)``, and optionally the distance of F's edges from the larger ones.

    The paper's weights with another SSIM: the published program takes pytorch-msssim's, of a Gaussian window of
    11 x 11 pixels in slices; here it is a uniform window of 7 voxels along each axis, with a population's variances.

    Parameters
    ----------
    fused : (batch, 1, z, y, x), normalised.
    sources : tensors of the same shape.
    gradient_weight : 0 for the paper's loss.
    """
    structure = sum((1 - ssim(fused, source) for source in sources), fused.new_zeros(()))
    intensity = sum((functional.mse_loss(fused, source) for source in sources), fused.new_zeros(()))
    loss = STRUCTURE * structure + INTENSITY * intensity
    if gradient_weight:
        loss = loss + gradient_weight * _edges_lost(fused, sources)
    return loss


def ssim(one: Tensor, other: Tensor, data_range: float = 1.0) -> Tensor:
    """Mean structural similarity of volumes [Wang et al., TIP 13:600, 2004], 7 x 7 x 7 uniform window.

    The window is cut along axes that are shorter; variances are those of the population.
    """
    side = [min(SSIM_SIDE, length) for length in one.shape[2:]]
    stack = torch.cat([one, other, one * one, other * other, one * other], dim=1)
    mean_one, mean_other, square_one, square_other, product = functional.avg_pool3d(stack, side, stride=1).split(1, 1)
    # Rounding can push a variance of nearly constant patches below zero.
    variance_one = (square_one - mean_one**2).clamp_min(0)
    variance_other = (square_other - mean_other**2).clamp_min(0)
    covariance = product - mean_one * mean_other
    c1, c2 = SSIM_C1 * data_range**2, SSIM_C2 * data_range**2
    luminance = (2 * mean_one * mean_other + c1) / (mean_one**2 + mean_other**2 + c1)
    contrast = (2 * covariance + c2) / (variance_one + variance_other + c2)
    return (luminance * contrast).mean()


def _edges_lost(fused: Tensor, sources: Sequence[Tensor]) -> Tensor:
    lost = fused.new_zeros(())
    for axis in (2, 3, 4):
        steps = torch.stack([source.diff(dim=axis) for source in sources])
        larger = steps.gather(0, steps.abs().argmax(dim=0, keepdim=True))[0]
        if larger.numel():
            lost = lost + functional.l1_loss(fused.diff(dim=axis), larger)
    return lost
