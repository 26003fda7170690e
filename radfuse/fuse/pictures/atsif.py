"""Adaptive two-scale fusion of a grey and a coloured picture."""

from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from radfuse.data.colour import THIRDS, lightness, with_lightness
from radfuse.fuse import Array
from radfuse.fuse.pictures import PictureFuser, PictureFusion


class AtsIF(PictureFusion):
    """Fuse base and detail, split by Otsu's threshold in the coloured picture [Du et al., CMPB 196:105603, 2020].

    The coloured picture's intensity is split at Otsu's threshold: up to it is base, what stands out above is detail.
    The grey picture's base is its mean over a large patch, its detail the difference from it. The grey base wins where
    it outshines the coloured picture, the detail with more local energy wins, and an edge-preserving filter smooths
    both maps of who won. The sum of what won becomes the new intensity, under the old hue.

    Differs from the paper, of which we know the abstract: the edge-preserving filter is the guided filter [He, Sun &
    Tang, TPAMI 35:1397, 2013], the threshold is taken over what is not black, so that the margin around a head does not
    move it, and the sizes are our own.
    """

    method: Literal["atsif"] = "atsif"
    patch: PositiveInt = Field(15, description="Radius of the patch whose mean is the grey picture's base, pixels.")
    window: PositiveInt = Field(3, description="Radius of the window of the local energy, pixels.")
    radius: PositiveInt = Field(7, description="Radius of the edge-preserving filter, pixels.")
    epsilon: PositiveFloat = Field(1e-3, description="Variance below which that filter takes a window for flat.")

    def build(self) -> PictureFuser:
        """Make the fuser."""
        return PictureFuser(self._substitute)

    def _substitute(self, grey: Array, colour: Array) -> Array:
        import torch

        from radfuse.fuse.guided_filter import guided_filter
        from radfuse.fuse.local_means import box_mean, shared_argmax

        anatomy, uptake = (torch.from_numpy(x).double()[None] for x in (grey, lightness(colour, THIRDS)))
        base = box_mean(anatomy, _flat(self.patch))
        hot_base = uptake.clamp(max=otsu(uptake.numpy()))
        details = torch.stack([anatomy - base, uptake - hot_base])
        energy = torch.stack([box_mean(detail * detail, _flat(self.window)) for detail in details])
        # Rounding would decide where both energies are nothing but noise of the sums.
        won = shared_argmax(torch.where(energy > 1e-12, energy, 0.0))[0]
        shares = [
            guided_filter(anatomy, map_.double(), _flat(self.radius), self.epsilon).clamp(0, 1)
            for map_ in (base > uptake, won)
        ]
        fused = hot_base + shares[0] * (base - hot_base) + details[1] + shares[1] * (details[0] - details[1])
        return with_lightness(colour, fused[0].numpy(), THIRDS)


def otsu(values: np.ndarray) -> float:
    """Give the threshold that parts values best: the largest of the lower class [Otsu, IEEE SMC 9:62, 1979].

    Zeros are left out. Exact: between every two distinct values is a candidate, and there are no bins. Of a single
    value it is that value.

    Parameters
    ----------
    values : of any shape, not negative.

    Examples
    --------
    >>> otsu(np.array([0.0, 0.1, 0.2, 0.7, 0.8]))
    0.2
    """
    levels, counts = np.unique(values[values > 0], return_counts=True)
    if len(levels) < 2:
        return float(levels[0]) if len(levels) else 0.0
    below = np.cumsum(counts)[:-1].astype(np.float64)
    total, weighted = float(counts.sum()), np.cumsum(levels.astype(np.float64) * counts)
    apart = weighted[:-1] / below - (weighted[-1] - weighted[:-1]) / (total - below)
    return float(levels[int(np.argmax(below * (total - below) * apart**2))])


def _flat(radius: int) -> tuple[int, int, int]:
    return 0, radius, radius
