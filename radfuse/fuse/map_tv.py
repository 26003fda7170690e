"""Bayesian fusion: the most probable uptake, given its noise and the edges that anatomy shows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod
from radfuse.fuse.roles import functional_first

if TYPE_CHECKING:
    import torch

# The noise is measured in boxes of 5 x 5 x 5 voxels.
PATCH_RADIUS = 2
# Of the distances -2 ... 2 from the middle.
PATCH_MEAN_SQUARE = 2.0


class MapTotalVariation(FusionMethod):
    """Maximise likelihood x prior of the functional source: Poisson or Gaussian noise, total variation along edges.

    The prior is the total variation [Rudin, Osher & Fatemi, Physica D 60:259, 1992], or the directional one [Ehrhardt &
    Betcke, SIAM J Imaging Sci 9:1084, 2016], which lets the functional source jump where anatomy does, in the same
    direction: noise goes, shared edges stay. With several anatomical sources the steepest one counts at each place.
    The result keeps the functional source's scale.

    The noise is measured on the volume: what planes fitted to boxes of 5 voxels leave over, median over the boxes
    brighter than the volume's mean. The prior's weight is ``strength`` times its standard deviation. Works on images;
    no raw data are needed, and Poisson stands for a variance that grows with the uptake, not for counts.
    """

    flip_equivariant: ClassVar[bool] = True
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = False
    keeps_equal_sources: ClassVar[bool] = False
    context_voxels: ClassVar[int | None] = None

    method: Literal["map_tv"] = "map_tv"
    functional: str | None = Field(None, description="Modality to denoise; null: the first named PET, SPECT, PT or NM.")
    likelihood: Literal["poisson", "gaussian"] = Field(
        "poisson", description="Noise whose variance grows with the uptake (values below 0 count as 0), or does not."
    )
    prior: Literal["aligned", "tv"] = Field("aligned", description="Total variation aware of anatomy, or without it.")
    strength: PositiveFloat = Field(
        0.5, description="Weight of the prior, in standard deviations of the noise times the voxel's width."
    )
    edge_per_mm: PositiveFloat = Field(
        0.02, description="Change of a normalised anatomical source per mm that counts as an edge; CT: 40 HU."
    )
    sharing: NonNegativeFloat = Field(
        0.95, lt=1, description="How much of the prior's cost a shared edge is spared; 0 is plain total variation."
    )
    iterations: PositiveInt = Field(200, description="Steps of the solver at most.")
    tolerance: NonNegativeFloat = Field(
        1e-3, description="Stop when no voxel moves by more in a step, in standard deviations of the noise."
    )

    def build(self, device: str) -> Fuser:
        """Make the fuser."""

        def combine(volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
            return self._combine([volumes[k] for k in functional_first(names, self.functional)], grid, device)

        return Fuser(combine)

    def _combine(self, volumes: Sequence[Array], grid: Geometry, device: str) -> Array:
        import torch

        from radfuse.fuse.local_means import spacing_zyx
        from radfuse.fuse.total_variation import Gradient, along_edges, minimise, steepest

        measured, *anatomical = (torch.tensor(volume, device=device) for volume in volumes)
        if self.likelihood == "poisson":
            measured = measured.clamp(min=0)
        level, noise = level_and_noise(measured)
        if noise <= 0:
            return np.asarray(measured.cpu().numpy(), dtype=np.float32)
        gradient = Gradient(grid.shape, spacing_zyx(grid))
        directions = None
        if self.prior == "aligned":
            edges = steepest([gradient.at(volume) for volume in anatomical])
            directions = along_edges(edges, self.edge_per_mm, self.sharing)
        # In units of the noise's variance: the data's curvature is then 1 at the level where the noise was measured.
        width_mm = float(np.prod(grid.spacing_mm)) ** (1 / 3)
        best = minimise(
            measured,
            partial(poisson_proximal, level=level) if self.likelihood == "poisson" else gaussian_proximal,
            gradient,
            self.strength * noise * width_mm,
            noise,
            directions=directions,
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        fused: Array = best.cpu().numpy()
        return fused


def poisson_proximal(v: torch.Tensor, measured: torch.Tensor, step: float, level: float) -> torch.Tensor:
    """Proximal map of level * (u - y log u): the root u >= 0 of u^2 + (step level - v) u - step level y = 0.

    Parameters
    ----------
    v : where to start from.
    measured : y, not negative.
    step : of the proximal map.
    level : uptake at which the curvature is 1.
    """
    import torch

    pull = step * level
    b = v - pull
    root = (b * b + 4 * pull * measured).sqrt_()
    # For b < 0 the sum b + root cancels; the product of the roots is -step level y.
    return torch.where(b > 0, 0.5 * (b + root), 2 * pull * measured / (root - b).clamp_(min=1e-30))


def gaussian_proximal(v: torch.Tensor, measured: torch.Tensor, step: float) -> torch.Tensor:
    """Proximal map of |u - y|^2 / 2."""
    return (v + step * measured) / (1 + step)


def level_and_noise(measured: torch.Tensor) -> tuple[float, float]:
    """Measure the mean and the noise's standard deviation over the body: boxes brighter than the volume's mean.

    The noise is what a plane fitted to a box of 5 voxels leaves over, so that slopes do not count. Its variance is
    taken as a share of the box's mean, the median over the body; both are 0 where there is no noise to be found.
    """
    volume = measured.double()
    mean, square = _moment(volume), _moment(volume * volume)
    axes = [axis for axis, length in enumerate(volume.shape) if length > 1]
    left = square - mean**2
    for axis in axes:
        left -= _moment(volume, axis) ** 2 / PATCH_MEAN_SQUARE
    # Degrees of freedom: the plane has a level and a slope along each axis.
    voxels = (2 * PATCH_RADIUS + 1) ** len(axes)
    left *= voxels / max(voxels - 1 - len(axes), 1)
    means, variances = mean.cpu().numpy().ravel(), left.clamp(min=0).cpu().numpy().ravel()
    body = means > means.mean()
    if not body.any():
        return 0.0, 0.0
    level, ratio = float(means[body].mean()), float(np.median(variances[body] / means[body]))
    noise = float(np.sqrt(ratio * level)) if ratio > 0 and level > 0 else 0.0
    # What is left of a constant volume's variance is rounding.
    return level, noise if noise > 1e-6 * level else 0.0


def _moment(volume: torch.Tensor, weighted: int | None = None) -> torch.Tensor:
    """Mean over boxes; along one axis weighted by the distance from the middle, in voxels."""
    from radfuse.fuse.local_means import pad

    for axis, length in enumerate(volume.shape):
        padded = pad(volume, axis, PATCH_RADIUS)
        shifted = [padded.narrow(axis, PATCH_RADIUS + step, length) for step in range(-PATCH_RADIUS, PATCH_RADIUS + 1)]
        total = volume * (axis != weighted)
        for step in range(1, PATCH_RADIUS + 1):
            before, after = shifted[PATCH_RADIUS - step], shifted[PATCH_RADIUS + step]
            total = total + (step * (after - before) if axis == weighted else after + before)
        volume = total / (2 * PATCH_RADIUS + 1)
    return volume
