"""Growth: somebody drew the region a little larger or smaller."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from radfuse.data.volume import Mask, Volume
from radfuse.extract.perturbations import Perturb, Perturbation
from radfuse.extract.perturbations.moving import with_region


class Growth(Perturbation):
    """Grow or shrink the region to a share of its volume, evenly along its surface [Zwanenburg et al. 2019]."""

    method: Literal["growth"] = "growth"
    region_only: ClassVar[bool] = True
    max_change: float = Field(
        0.15, gt=0.0, lt=1.0, description="The change of volume is drawn evenly between -max and max, as a share."
    )

    def build(self) -> Perturb:
        """Give the function."""

        def grow(volume: Volume, mask: Mask, rng: np.random.Generator) -> tuple[Volume, Mask]:
            change = rng.uniform(-self.max_change, self.max_change)
            wanted = max(1, round(mask.voxels * (1.0 + change)))
            return volume, with_region(mask, resized(mask, wanted, rng))

        return grow


def resized(mask: Mask, voxels: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Give the region of so many voxels that lie deepest inside, or else nearest to, the region.

    Distances are in millimetres; of voxels equally far, chance takes some. A grid that is too small is filled.
    """
    from scipy.ndimage import distance_transform_edt

    inside, spacing = mask.inside, mask.geometry.spacing_mm[::-1]
    candidates = ~inside if voxels > mask.voxels else inside
    places = np.flatnonzero(candidates)
    distance = distance_transform_edt(candidates, spacing).ravel()[places]
    order = np.lexsort((rng.random(len(places)), np.round(distance, 6)))
    changed = np.zeros(inside.size, bool)
    changed[places[order[: abs(voxels - mask.voxels)]]] = True
    return np.asarray(inside ^ changed.reshape(inside.shape))
