"""A ring around the lesion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from radfuse.data.box import touches_border
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError
from radfuse.extract.regions import Derive, Derived, Region
from radfuse.extract.regions.distance import ROUNDING_MM, box_around, distance_mm
from radfuse.extract.regions.outlines import large_enough, mask_of, per_mask


class Ring(Region):
    """The tissue between two distances from the region: the peritumoural ring. It never holds the region itself."""

    method: Literal["ring"] = "ring"
    inner_mm: NonNegativeFloat = Field(0.0, description="Where it begins: distance from the region, outwards.")
    outer_mm: PositiveFloat = Field(10.0, description="Where it ends.")
    avoid: tuple[str, ...] = Field((), description="Other regions that it must not overlap either, such as a node.")
    above_hu: float | None = Field(
        None,
        description="Leave out voxels of the CT at or below this, such as -300 for the air around the patient (lungs "
        "are air too); none given: keep them.",
    )
    ct: str = Field("CT", description="The volume that above_hu is about.")

    @model_validator(mode="after")
    def _outwards(self) -> Self:
        if self.inner_mm >= self.outer_mm:
            raise ValueError(f"inner_mm ({self.inner_mm:g}) must be less than outer_mm ({self.outer_mm:g})")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """Give the region it surrounds and those it avoids."""
        return (*(() if self.of is None else (self.of,)), *self.avoid)

    @property
    def images(self) -> tuple[str, ...]:
        """Give the CT, where air is left out."""
        return () if self.above_hu is None else (self.ct,)

    @property
    def reach_mm(self) -> float:
        """Give the outer distance."""
        return self.outer_mm

    def outline(self, mask: Mask) -> Mask:
        """Give the ring without a look at the CT or at other regions."""
        spacing = mask.geometry.spacing_mm
        cut = box_around(mask.inside, spacing, self.outer_mm)
        inside = mask.inside[cut]
        found = np.zeros_like(mask.inside)
        if not inside.any():
            return mask_of(found, mask)
        distance = distance_mm(inside, spacing)
        # Half open, so that rings of 0 to 5 and of 5 to 10 mm share no voxel; and none the region.
        beyond = distance > self.inner_mm + ROUNDING_MM
        found[cut] = beyond & (distance <= self.outer_mm + ROUNDING_MM)
        return mask_of(found, mask)

    def build(self) -> Derive:
        """Give the function that draws it for every volume."""

        def derive(subject: Subject, masks: Mapping[str, Mask]) -> tuple[Derived, ...]:
            unknown = [name for name in self.avoid if name not in {*subject.regions, *subject.absent}]
            if unknown:
                return (Derived(why=f"it is to avoid {unknown[0]}, which is no region of the study"),)
            others = [mask for name in self.avoid for mask in subject.regions.get(name, {}).values()]
            try:
                found = per_mask(masks, lambda mask: self._kept(mask, others, subject))
            except DataError as error:
                return (Derived(why=error.message),)
            cut = [name for name, mask in found.items() if touches_border(mask.inside)]
            return (large_enough(found, self.min_voxels, "it touches the border of the grid" if cut else ""),)

        return derive

    def _kept(self, mask: Mask, others: list[Mask], subject: Subject) -> Mask:
        ring = self.outline(mask)
        inside = ring.inside.copy()
        for other in others:
            if not other.geometry.matches(mask.geometry):
                raise DataError("the regions to avoid are on other grids; run `radfuse align` first")
            inside &= ~other.inside
        if self.above_hu is not None:
            inside &= self._ct_of(subject, mask).array > self.above_hu
        return mask_of(inside, mask)

    def _ct_of(self, subject: Subject, mask: Mask) -> Volume:
        ct = subject.volumes.get(self.ct)
        if ct is None:
            raise DataError(f"above_hu asks for {self.ct}, which the subject does not have")
        if not ct.geometry.matches(mask.geometry):
            raise DataError(f"above_hu asks for {self.ct} on the grid of the region; run `radfuse align` first")
        return ct
