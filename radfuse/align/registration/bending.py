"""What free-form members share: a linear alignment first, then the bend, judged apart from it."""

from __future__ import annotations

from collections.abc import Callable

from radfuse.align.grid import lattice_mm
from radfuse.align.registration import Register, Registered
from radfuse.align.registration.gate import POINTS, BendGate
from radfuse.align.registration.region import around, carried
from radfuse.align.registration.similarity import Judge, prepared
from radfuse.data.deformation import Deformation
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume

Bend = Callable[[Volume, Volume, Transform, Mask | None], Deformation]
"""From prepared images, the linear map between them and where to look, to the linear map bent."""


def bending(first: Register, bend: Bend, gate: BendGate, margin_mm: float | None) -> Register:
    """Give the function that aligns linearly, bends, and lets the gate decide.

    Its findings are the linear alignment's with the final similarity, and the bend's own under ``bend``.
    """

    def register(fixed: Volume, moving: Volume, region: Mask | None = None) -> Registered:
        start = first(fixed, moving, region)
        if not isinstance(start.transform, Transform):
            raise TypeError("a bend starts from a linear alignment")
        linear = start.transform
        one, other = prepared(fixed), prepared(moving)
        look = around(region, one.geometry, margin_mm)
        judge = Judge.over(one, other, POINTS, look)

        def back() -> Deformation:
            return bend(other, one, linear.inverse, carried(look, other.geometry, linear))

        motion, found = gate.judge(judge, linear, bend(one, other, linear, look), back)
        if not found["accepted"]:
            reason = f"{start.findings['reason']}; {found['reason']}"
            return Registered(linear, {**start.findings, "reason": reason, "bend": found})
        before, after, overlap = judge.compare(Transform.identity(), motion)
        told = {
            **start.findings,
            "accepted": True,
            "reason": f"{start.findings['reason']}; bent: {found['reason']}",
            "similarity_before": before,
            "similarity_after": after,
            "overlap": overlap,
            "displacement_mm": motion.displacement_mm(lattice_mm(one.geometry)),
            "inverse_consistency_mm": found["inverse_consistency_mm"],
            "linear": start.findings,
            "bend": found,
        }
        return Registered(motion, told)

    return register
