"""Noise: another scan would have had other noise."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat

from radfuse.data.volume import Mask, Volume
from radfuse.extract.perturbations import Perturb, Perturbation, own_stream

MEDIAN_OF_ABSOLUTE_NORMAL = 0.6744897501960817


class Noise(Perturbation):
    """Add white Gaussian noise as strong as the image's own in the region [Zwanenburg et al. 2019]."""

    method: Literal["noise"] = "noise"
    strength: PositiveFloat = Field(1.0, description="Standard deviation, in units of the noise found in the image.")

    def build(self) -> Perturb:
        """Give the function."""

        def disturb(volume: Volume, mask: Mask, rng: np.random.Generator) -> tuple[Volume, Mask]:
            sigma = self.strength * noise_level(volume, mask)
            field = own_stream(rng, volume.modality).standard_normal(volume.array.shape)
            return volume.with_array((volume.array + sigma * field).astype(np.float32)), mask

        return disturb


def noise_level(volume: Volume, mask: Mask) -> float:
    """Estimate the noise in a region, in the volume's unit, from its finest diagonal wavelet band.

    ``median(|HHH|) / 0.6745`` with the coiflet-1 high pass along every axis, not decimated [Chang, Yu & Vetterli,
    IEEE Trans Image Process 9:1522 (2000), doi:10.1109/83.862630, section II]. White noise passes an orthonormal
    filter with its variance; noise that interpolation has smoothed is found weaker, as it is there.

    Parameters
    ----------
    volume, mask : on one grid. An axis of one voxel is left out.
    """
    import pywt
    from scipy.ndimage import correlate1d

    high = np.asarray(pywt.Wavelet("coif1").dec_hi)
    where = np.argwhere(mask.inside)
    reach = len(high)
    box = tuple(
        slice(max(0, first - reach), last + reach + 1)
        for first, last in zip(where.min(axis=0), where.max(axis=0), strict=True)
    )
    band = volume.array[box].astype(np.float64)
    for axis in range(3):
        if band.shape[axis] > 1:
            band = correlate1d(band, high, axis=axis, mode="mirror")
    return float(np.median(np.abs(band[mask.inside[box]])) / MEDIAN_OF_ABSOLUTE_NORMAL)
