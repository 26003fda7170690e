"""The gate: a found transform is taken only when it is clearly better than the headers.

Mutual information rises while an optimiser drifts, and on nominally aligned scans every optimiser drifts; so the
gate asks for more than a rise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat

from radfuse.align.registration import Registered
from radfuse.align.registration.similarity import Judge
from radfuse.component import Frozen
from radfuse.data.transform import Transform

POINTS = 40_000


class Gate(Frozen):
    """What a transform must show to replace the headers' alignment."""

    min_gain: NonNegativeFloat = Field(
        0.25, description="Mutual information must rise by this share of what it is under the headers."
    )
    max_displacement_mm: PositiveFloat = Field(60.0, description="No corner of the fixed image may move further.")
    min_overlap: float = Field(
        0.5, ge=0.0, le=1.0, description="Share of the points inside the moving image that must stay inside."
    )
    max_inverse_mm: PositiveFloat = Field(
        4.0, description="Registering back must lead back to within this distance, over the fixed image's corners."
    )

    def judge(self, judge: Judge, found: Transform, back: Callable[[], Transform]) -> Registered:
        """Decide between the headers and what was found.

        Parameters
        ----------
        judge : measures both on the same points.
        found : from fixed to moving points.
        back : registers the other way round; asked only when everything else speaks for the transform.
        """
        header = Transform.identity()
        corners = judge.fixed.geometry.corners_mm
        before, after, overlap = judge.compare(header, found)
        displacement = found.displacement_mm(corners)
        measured: dict[str, Any] = {
            "similarity_before": before,
            "similarity_after": after,
            "displacement_mm": displacement,
            "overlap": overlap,
            "inverse_consistency_mm": None,
        }
        reason = self._objection(before, after, displacement, overlap)
        if not reason:
            apart = float(np.linalg.norm(back().apply(found.apply(corners)) - corners, axis=1).max())
            measured["inverse_consistency_mm"] = apart
            if apart > self.max_inverse_mm:
                reason = f"registering back ends {apart:.1f} mm off, more than {self.max_inverse_mm:g} mm"
        if reason:
            return Registered(header, {"accepted": False, "reason": f"headers kept: {reason}", **measured})
        return Registered(found, {"accepted": True, "reason": "clearly better than the headers", **measured})

    def _objection(self, before: float, after: float, displacement_mm: float, overlap: float) -> str:
        if after <= before * (1.0 + self.min_gain):
            gain = 100.0 * (after / before - 1.0) if before > 0 else 0.0
            return f"mutual information changes by {gain:.0f} %, less than the {100 * self.min_gain:.0f} % asked for"
        if displacement_mm > self.max_displacement_mm:
            return f"a corner moves {displacement_mm:.0f} mm, more than {self.max_displacement_mm:g} mm"
        if overlap < self.min_overlap:
            return f"{100 * overlap:.0f} % of the points stay inside, fewer than {100 * self.min_overlap:.0f} %"
        return ""
