"""The rim of the lesion, inside its surface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat

from radfuse.data.subject import Subject
from radfuse.data.volume import Mask
from radfuse.extract.regions import Derive, Derived, Region
from radfuse.extract.regions.distance import ROUNDING_MM, box_around, depth_mm
from radfuse.extract.regions.outlines import large_enough, mask_of, per_mask


class Shell(Region):
    """What lies no deeper in the region than a distance; with the core of the same depth it makes up the region."""

    method: Literal["shell"] = "shell"
    depth_mm: PositiveFloat = Field(5.0, description="Distance from the surface of the region inwards.")

    def outline(self, mask: Mask) -> Mask:
        """Give the shell of a mask."""
        cut = box_around(mask.inside, mask.geometry.spacing_mm, 0.0)
        depth = depth_mm(mask.inside[cut], mask.geometry.spacing_mm)
        found = np.zeros_like(mask.inside)
        found[cut] = mask.inside[cut] & (depth <= self.depth_mm + ROUNDING_MM)
        return mask_of(found, mask)

    def build(self) -> Derive:
        """Give the function that draws it for every volume."""

        def derive(subject: Subject, masks: Mapping[str, Mask]) -> tuple[Derived, ...]:
            return (large_enough(per_mask(masks, self.outline), self.min_voxels),)

        return derive
