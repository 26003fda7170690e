"""B-spline: a smooth free-form bend on top of a linear alignment, by mutual information."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from radfuse.align.registration import Register, Registration, settings
from radfuse.align.registration.gate import BendGate
from radfuse.align.registration.rigid import Rigid


class BSpline(Registration):
    """Move the control points of a cubic B-spline to raise Mattes' mutual information.

    Free-form deformation [Rueckert et al. 1999, doi:10.1109/42.796284] with the metric of Mattes et al. [2003,
    doi:10.1109/TMI.2003.809072], climbed by L-BFGS-B at two resolutions in SimpleITK.
    """

    method: Literal["bspline"] = "bspline"
    linear: settings.Linear = Rigid()
    gate: BendGate = Field(BendGate(), description="When the bend replaces the linear alignment.")
    control_mm: PositiveFloat = Field(40.0, description="Distance between control points; smaller bends more finely.")
    iterations: PositiveInt = Field(30, description="Steps of the optimiser at each of two resolutions.")
    sampling: float = Field(0.3, gt=0.0, le=1.0, description="Share of the 3 mm voxels that the metric looks at.")
    region_margin_mm: PositiveFloat | None = Field(
        None, description="Look only this far around the region; none given: everywhere."
    )
    seed: PositiveInt = Field(1, description="Decides the sample; never 0, which means the clock to SimpleITK.")

    def build(self) -> Register:
        """Give the function; it runs on one thread and repeats exactly."""
        from functools import partial

        from radfuse.align.registration.bending import bending
        from radfuse.align.registration.free_form import spline

        bend = partial(
            spline, control_mm=self.control_mm, iterations=self.iterations, sampling=self.sampling, seed=self.seed
        )
        return bending(self.linear.build(), bend, self.gate, self.region_margin_mm)

    @property
    def needs_shared_space(self) -> bool:
        """Whether scans that share no part of space by their headers are beyond it."""
        return self.linear.needs_shared_space
