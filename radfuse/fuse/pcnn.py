"""Fusion by pulse-coupled neural networks: the detail that makes more neurons fire."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod, weights_for

if TYPE_CHECKING:
    import torch


class PulseCoupled(FusionMethod):
    """Fuse the Laplacian pyramid's details by how often they fire [Qu et al., Acta Autom Sin 34:1508, 2008].

    Every coefficient feeds a neuron with its magnitude. A neuron fires when its input, raised by the neighbours that
    fired before, exceeds a threshold that leaps at each pulse and decays between them: strong details fire more often,
    and weak ones that belong to a strong structure fire with it. The source that fired more gives the coefficient; of
    equal counts the larger magnitude decides. The last, smoothed copy is the weighted mean.

    Differs from the paper: magnitudes rather than spatial frequencies feed the neurons; the bands are those of
    `laplacian` rather than of the contourlet transform; 3-D, linked to 26 neighbours; one scale for the magnitudes of
    all sources, so that a source of nothing but faint noise does not fire like one with edges.
    """

    flip_equivariant: ClassVar[bool] = True
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = False
    context_voxels: ClassVar[int | None] = None

    method: Literal["pcnn"] = "pcnn"
    levels: PositiveInt = Field(4, description="Scales of detail; each halves the volume.")
    iterations: PositiveInt = Field(200, description="Steps that the network runs.")
    linking: NonNegativeFloat = Field(3.0, description="How much neighbours raise a neuron's input (beta).")
    linking_decay: PositiveFloat = Field(1.0, description="Decay of what neighbours sent, per step (alpha L).")
    linking_gain: PositiveFloat = Field(1.0, description="What a neighbour's pulse sends (V L).")
    threshold_decay: PositiveFloat = Field(0.2, description="Decay of the threshold, per step (alpha theta).")
    threshold_gain: PositiveFloat = Field(20.0, description="Leap of the threshold at a pulse (V theta).")
    weights: dict[str, NonNegativeFloat] = Field(
        {}, description="Weight by modality, at every scale, scaled to add up to 1; empty: all the same."
    )

    def build(self, device: str) -> Fuser:
        """Make the fuser."""

        def combine(volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
            import torch

            from radfuse.fuse.bands import that_count
            from radfuse.fuse.local_means import spacing_zyx
            from radfuse.fuse.pyramid import axes_by_level

            volumes, weights = that_count(volumes, weights_for(names, self.weights))
            sources = [torch.from_numpy(volume).to(device).double() for volume in volumes]
            plan = axes_by_level(grid, self.levels)
            fused = self._fuse(sources, weights, plan, spacing_zyx(grid))
            result: Array = fused.float().cpu().numpy()
            return result

        return Fuser(combine)

    def _fuse(
        self,
        sources: Sequence[torch.Tensor],
        weights: Sequence[float],
        plan: Sequence[tuple[int, ...]],
        spacing: Sequence[float],
    ) -> torch.Tensor:
        from radfuse.fuse.bands import mean_tensor
        from radfuse.fuse.pyramid import expand, reduce

        if not plan:
            return mean_tensor(sources, weights)
        axes, shape = plan[0], sources[0].shape
        smaller = [reduce(source, axes) for source in sources]
        details = [source - expand(small, axes, shape) for source, small in zip(sources, smaller, strict=True)]
        coarser = [h * 2 if axis in axes else h for axis, h in enumerate(spacing)]
        low = self._fuse(smaller, weights, plan[1:], coarser)
        return self._more_pulses(details, weights, spacing) + expand(low, axes, shape)

    def _more_pulses(
        self, details: Sequence[torch.Tensor], weights: Sequence[float], spacing: Sequence[float]
    ) -> torch.Tensor:
        from radfuse.fuse.bands import strongest

        stimuli = [(detail.abs() * weight).float() for detail, weight in zip(details, weights, strict=True)]
        largest = max(float(stimulus.max()) for stimulus in stimuli)
        if largest == 0:
            return details[0]
        stimuli = [stimulus / largest for stimulus in stimuli]
        # Counts are whole, and magnitudes are at most 1: a third of one settles equal counts and nothing else.
        scores = [self.pulses(stimulus, spacing).double() + stimulus / 3 for stimulus in stimuli]
        return strongest(details, scores)

    def pulses(self, stimulus: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
        """Count how often each neuron fires.

        Parameters
        ----------
        stimulus : (z, y, x), from 0 to 1.
        spacing : mm along z, y, x; across long voxels neighbours are linked more loosely.
        """
        import torch

        keep_link, keep_threshold = exp(-self.linking_decay), exp(-self.threshold_decay)
        link, threshold = torch.zeros_like(stimulus), torch.zeros_like(stimulus)
        fired, count = torch.zeros_like(stimulus), torch.zeros_like(stimulus)
        # Written over in every step: fresh memory for each of them would take longer than the sums.
        room = [torch.empty_like(stimulus) for _ in range(3)]
        for _ in range(self.iterations):
            link.mul_(keep_link).add_(_from_neighbours(fired, spacing, room), alpha=self.linking_gain)
            activity = torch.addcmul(stimulus, stimulus, link, value=self.linking, out=room[0])
            torch.gt(activity, threshold, out=fired)
            threshold.mul_(keep_threshold).add_(fired, alpha=self.threshold_gain)
            count += fired
        return count


def _from_neighbours(fired: torch.Tensor, spacing: Sequence[float], room: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum the 26 neighbours' pulses; nothing comes from outside.

    Cubic voxels count 1 across a face, 1 / sqrt 2 across an edge and 1 / 2 across a corner: in a plane that is the
    published inverse distance, and as the kernel is a product of three short ones it takes three passes. Neighbours on
    opposite sides are added first, so that a flipped volume gives the same to the last bit.

    Parameters
    ----------
    fired : 1 where a neuron fired, (z, y, x).
    spacing : mm along z, y, x.
    room : three tensors to write to; the result is one of them.
    """
    import torch

    total, shortest = fired, min(spacing)
    for axis, h in enumerate(spacing):
        inner, both = total.shape[axis] - 1, room[2]
        if inner == 0:
            continue
        both.narrow(axis, 0, 1).copy_(total.narrow(axis, 1, 1))
        both.narrow(axis, inner, 1).copy_(total.narrow(axis, inner - 1, 1))
        if inner > 1:
            middle = both.narrow(axis, 1, inner - 1)
            torch.add(total.narrow(axis, 0, inner - 1), total.narrow(axis, 2, inner - 1), out=middle)
        total = torch.add(total, both, alpha=shortest / h / 2**0.5, out=room[axis % 2])
    return torch.sub(total, fired, out=room[2]).mul_(2**0.5)
