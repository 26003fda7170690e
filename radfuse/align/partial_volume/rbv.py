"""Region-based voxel-wise correction: each voxel gets back what its surroundings took from it or put into it."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat

from radfuse.align.partial_volume import Correct, PartialVolume
from radfuse.align.partial_volume.spill import NEAR, parted, true_means
from radfuse.align.resolution import Triple
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError


class RegionBased(PartialVolume):
    """Multiply by how much a picture of flat regions loses under the blur [Thomas et al., EJNMMI 38:1104, 2011].

    The flat picture holds each region's true mean, solved for by the geometric transfer matrix; the factor is that
    picture over itself blurred. Texture inside a region stays as measured, times a smooth factor.
    """

    method: Literal["rbv"] = "rbv"
    near_mm: PositiveFloat | None = Field(None, description=NEAR)

    def build(self) -> Correct:
        """Give the function."""
        return self._correct

    def _correct(self, volume: Volume, regions: Mapping[str, Mask], fwhm_mm: Triple) -> Volume:
        names, parts = parted(regions, fwhm_mm, self.near_mm)
        means, spread = true_means(volume, names, parts, fwhm_mm)
        for name, mean in zip(names, means, strict=True):
            if mean <= 0:
                raise DataError(
                    f"with a point spread of {max(fwhm_mm):.3g} mm {name} would have a mean of {mean:.3g} "
                    f"{volume.unit}, expected above 0",
                    hint="The point spread is too large for this image (align.fwhm_mm), or the outline too small.",
                )
        flat = sum(mean * part for mean, part in zip(means, parts, strict=True))
        seen = sum(mean * own for mean, own in zip(means, spread, strict=True))
        changed = np.logical_or.reduce([p for n, p in zip(names, parts, strict=True) if n != "the rest"])
        factor = np.where(changed, flat / seen, 1.0)
        return volume.with_array((volume.array * factor).astype(np.float32))
