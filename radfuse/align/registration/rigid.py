"""Rigid: six degrees of freedom by mutual information, behind a gate."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from radfuse.align.registration import Register, Registered, Registration
from radfuse.align.registration.gate import POINTS, Gate
from radfuse.data.transform import Transform
from radfuse.data.volume import Volume


class Rigid(Registration):
    """Maximise Mattes' mutual information [Mattes et al. 2003, doi:10.1109/TMI.2003.809072], then ask the gate."""

    method: Literal["rigid"] = "rigid"
    gate: Gate = Field(Gate(), description="When the result replaces the alignment of the headers.")
    search_mm: PositiveFloat = Field(32.0, description="How far the coarse look over translations reaches.")
    sampling: float = Field(0.3, gt=0.0, le=1.0, description="Share of the 3 mm voxels that the metric looks at.")
    seed: PositiveInt = Field(1, description="Decides the sample; never 0, which means the clock to SimpleITK.")

    def build(self) -> Register:
        """Give the function; it runs on one thread and repeats exactly."""
        from radfuse.align.registration.search import COARSE_POINTS, refine, translations
        from radfuse.align.registration.similarity import Judge, prepared

        def find(fixed: Volume, moving: Volume) -> Transform:
            coarse = translations(Judge.over(fixed, moving, COARSE_POINTS), self.search_mm, self.gate.min_overlap)
            starts = [Transform.identity()] if coarse.is_identity else [Transform.identity(), coarse]
            ends = [refine(fixed, moving, start, self.seed, self.sampling) for start in starts]
            judge = Judge.over(fixed, moving, POINTS)

            def gain(end: Transform) -> float:
                before, after, overlap = judge.compare(Transform.identity(), end)
                return after - before if overlap >= self.gate.min_overlap else float("-inf")

            return max(ends, key=gain)

        def register(fixed: Volume, moving: Volume) -> Registered:
            one, other = prepared(fixed), prepared(moving)
            found = find(one, other)
            return self.gate.judge(Judge.over(one, other, POINTS), found, lambda: find(other, one))

        return register
