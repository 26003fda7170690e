"""White stripe: normal-appearing white matter is the ruler of a brain image."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from radfuse.align.intensity import NOTHING_DRAWN, Intensity, Regions, Rescale
from radfuse.align.intensity.tissue import (
    BODY,
    LEGAL,
    OVER,
    THRESHOLD,
    Values,
    finite_values,
    require_spread,
    voxels_over,
)
from radfuse.data.volume import Volume

BINS = 2000
TAIL_PERCENTILE = 96.0  # vessels, fat and enhancement beyond it are no tissue class
LEAST_MODE = 0.1  # of the highest: lower bumps of the histogram are noise


class WhiteStripe(Intensity):
    """Subtract the mean of the white matter's stripe and divide by its standard deviation [Shinohara et al. 2014].

    The stripe is what lies within `width` quantiles on either side of the white matter's mode in the smoothed
    histogram of the brain: its last mode on T1, its largest on T2 and FLAIR (NeuroImage: Clinical 6:9, 2014).
    Needs a brain: give the region's name as `over`, or an image with zeros around the brain. One gain and one offset,
    so it is strictly increasing; the unit is z.
    """

    linear: ClassVar[bool] = True

    method: Literal["white_stripe"] = "white_stripe"
    contrast: Literal["T1", "T2", "FLAIR"] = Field("T1", description="Which mode is the white matter's.")
    width: float = Field(0.05, gt=0.0, lt=0.5, description="Half the stripe, as a share of the voxels looked at.")
    over: str = Field(BODY, description=OVER, pattern=LEGAL)
    threshold: float = Field(0.1, ge=0.0, lt=1.0, description=THRESHOLD)

    def build(self) -> Rescale:
        """Give the function."""

        def rescale(volume: Volume, regions: Regions = NOTHING_DRAWN) -> Volume:
            values = finite_values(volume)
            brain = values[voxels_over(volume, values, regions, self.over, self.threshold)]
            require_spread(volume, values, brain.size, float(brain.std()) if brain.size else 0.0, self.over)
            mode = white_matter_mode(brain, last=self.contrast == "T1")
            place = float(np.mean(brain < mode))
            low, high = np.quantile(brain, [max(place - self.width, 0.0), min(place + self.width, 1.0)])
            stripe = brain[(brain >= low) & (brain <= high)]
            require_spread(volume, values, stripe.size, float(stripe.std()), "white stripe")
            scaled = (values - float(stripe.mean())) / float(stripe.std())
            return volume.with_array(scaled.astype(np.float32), "z")

        return rescale


def white_matter_mode(brain: Values, *, last: bool) -> float:
    """Give the last, or else the largest, mode of the smoothed histogram.

    The kernel is a Gaussian of Scott's width, ``std n^(-1/5)``.
    """
    from scipy.ndimage import gaussian_filter1d

    kept = brain[brain <= np.percentile(brain, TAIL_PERCENTILE)] if last else brain
    counts, edges = np.histogram(kept, BINS)
    width = float(kept.std()) * kept.size ** (-1 / 5) / float(edges[1] - edges[0])
    smooth = gaussian_filter1d(counts.astype(np.float64), max(width, 1.0), mode="constant")
    inside = np.flatnonzero((smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:])) + 1
    modes = [k for k in inside if smooth[k] >= LEAST_MODE * smooth.max()] if last else []
    best = int(modes[-1]) if modes else int(np.argmax(smooth))
    return float((edges[best] + edges[best + 1]) / 2)
