"""Richardson-Lucy: sharpen step by step, without believing that regions are flat."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from radfuse.align.partial_volume import Correct, PartialVolume
from radfuse.align.partial_volume.spill import NEAR, blurred, parted
from radfuse.align.resolution import Triple
from radfuse.data.volume import Mask, Volume


class RichardsonLucy(PartialVolume):
    """Repeat ``f <- f * blur(measured / blur(f))`` [Richardson, JOSA 62:55, 1972; Lucy, Astron J 79:745, 1974].

    Keeps the sum and never goes below 0, where stray negative values are put. Each step sharpens edges and noise
    alike: more steps recover more of the mean and leave more noise, so the outlines only say where the result is taken.
    """

    method: Literal["richardson_lucy"] = "richardson_lucy"
    iterations: PositiveInt = Field(
        10, description="Steps; ten bring the mean of a lesion of 2.7 point spreads from 67 to 84 % of the truth."
    )
    near_mm: PositiveFloat | None = Field(None, description=NEAR)

    def build(self) -> Correct:
        """Give the function."""
        return self._correct

    def _correct(self, volume: Volume, regions: Mapping[str, Mask], fwhm_mm: Triple) -> Volume:
        names, parts = parted(regions, fwhm_mm, self.near_mm)
        measured = np.maximum(volume.array.astype(np.float64), 0.0)
        tiny = 1e-6 * max(float(measured.max()), 1e-30)
        sharp = np.maximum(measured, tiny)
        for _ in range(self.iterations):
            ratio = measured / np.maximum(blurred(sharp, fwhm_mm, volume.geometry), tiny)
            sharp = sharp * blurred(ratio, fwhm_mm, volume.geometry)
        changed = np.logical_or.reduce([p for n, p in zip(names, parts, strict=True) if n != "the rest"])
        return volume.with_array(np.where(changed, sharp, volume.array).astype(np.float32))
