"""Demons: a dense diffeomorphic bend on top of a linear alignment, for scans that look alike."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from radfuse.align.registration import Register, Registration, settings
from radfuse.align.registration.gate import BendGate
from radfuse.align.registration.rigid import Rigid


class Demons(Registration):
    """Let every voxel push towards its like [Vercauteren et al. 2009, doi:10.1016/j.neuroimage.2008.10.040].

    The forces compare grey values, so the moving image is first given the fixed one's: each of its values becomes the
    mean of the fixed image where it occurs [after Guimond et al. 2001, doi:10.1109/42.906425]. That serves follow-ups,
    contrast phases and related sequences; where no function leads from one image to the other, as between PET and
    CT, take `bspline`. The metric that decides at the end is mutual information all the same.
    """

    method: Literal["demons"] = "demons"
    linear: settings.Linear = Rigid()
    gate: BendGate = Field(BendGate(), description="When the bend replaces the linear alignment.")
    smoothing_mm: PositiveFloat = Field(
        6.0, description="Blur of the field after each step; larger bends more stiffly."
    )
    iterations: PositiveInt = Field(40, description="Steps at each of two resolutions.")
    region_margin_mm: PositiveFloat | None = Field(
        None, description="Judge only this far around the region; none given: everywhere."
    )

    def build(self) -> Register:
        """Give the function; it runs on one thread and repeats exactly."""
        from functools import partial

        from radfuse.align.registration.bending import bending
        from radfuse.align.registration.free_form import demons

        bend = partial(demons, smoothing_mm=self.smoothing_mm, iterations=self.iterations)
        return bending(self.linear.build(), bend, self.gate, self.region_margin_mm)

    @property
    def needs_shared_space(self) -> bool:
        """Whether scans that share no part of space by their headers are beyond it."""
        return self.linear.needs_shared_space
