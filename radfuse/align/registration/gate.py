"""The gate: a found transform is taken only when it is clearly better than the headers.

Mutual information rises while an optimiser drifts, and on nominally aligned scans every optimiser drifts; so the
gate asks for more than a rise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from radfuse.align.grid import lattice_mm
from radfuse.align.registration import Registered
from radfuse.align.registration.similarity import Judge, sample
from radfuse.component import Frozen
from radfuse.data.deformation import Deformation, Motion
from radfuse.data.transform import Transform

POINTS = 40_000
MIN_SHARED = 0.1  # fewer points that meet under the headers, and those say nothing about where the scans belong


class Gate(Frozen):
    """What a transform must show to replace the headers' alignment."""

    headers: Literal["judged", "ignored"] = Field(
        "judged",
        description="`judged`: what is found must beat the headers' alignment. `ignored`: the headers do not say where "
        "the two belong, so that min_gain and max_displacement_mm are not asked; what `align.template` takes.",
    )
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
    max_volume_change: float = Field(
        1.3, gt=1.0, description="An affine map may let nothing grow or shrink in volume by more than this factor."
    )

    @model_validator(mode="after")
    def _asks_what_it_hears(self) -> Gate:
        for name in ("min_gain", "max_displacement_mm"):
            if self.headers == "ignored" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is held against the headers, which are `ignored`; set `headers: judged` too")
        return self

    def judge(self, judge: Judge, found: Transform, back: Callable[[], Transform]) -> Registered:
        """Decide between the headers and what was found.

        Headers that are ignored, or under which fewer than a tenth of the points meet, are no alignment: then nothing
        has to be gained on them, and how far the scans move apart from them says nothing.

        Parameters
        ----------
        judge : measures both on the same points.
        found : from fixed to moving points.
        back : registers the other way round; asked only when everything else speaks for the transform.
        """
        header = Transform.identity()
        corners = judge.fixed.geometry.corners_mm
        shared = self.headers == "judged" and judge.shared(header) >= MIN_SHARED
        before, after, overlap = judge.compare(header, found) if shared else judge.alone(found)
        displacement = found.displacement_mm(corners)
        measured: dict[str, Any] = {
            "similarity_before": before,
            "similarity_after": after,
            "displacement_mm": displacement,
            "overlap": overlap,
            "inverse_consistency_mm": None,
        }
        reason = self._objection(before, after, displacement if shared else 0.0, overlap, found.volume_change)
        if not reason:
            apart = float(np.linalg.norm(back().apply(found.apply(corners)) - corners, axis=1).max())
            measured["inverse_consistency_mm"] = apart
            if apart > self.max_inverse_mm:
                reason = f"registering back ends {apart:.1f} mm off, more than {self.max_inverse_mm:g} mm"
        if reason:
            return Registered(header, {"accepted": False, "reason": f"headers kept: {reason}", **measured})
        unsaid = "under the headers the scans hardly meet" if self.headers == "judged" else "the headers are ignored"
        why = "clearly better than the headers" if shared else unsaid
        return Registered(found, {"accepted": True, "reason": why, **measured})

    def _objection(self, before: float, after: float, displacement_mm: float, overlap: float, volume: float) -> str:
        if after <= before * (1.0 + self.min_gain):
            gain = 100.0 * (after / before - 1.0) if before > 0 else 0.0
            return f"mutual information changes by {gain:.0f} %, less than the {100 * self.min_gain:.0f} % asked for"
        if displacement_mm > self.max_displacement_mm:
            return f"a corner moves {displacement_mm:.0f} mm, more than {self.max_displacement_mm:g} mm"
        if overlap < self.min_overlap:
            return f"{100 * overlap:.0f} % of the points stay inside, fewer than {100 * self.min_overlap:.0f} %"
        if not 1.0 / self.max_volume_change <= volume <= self.max_volume_change:
            return f"volumes change by a factor {volume:.2f}, more than {self.max_volume_change:g} either way"
        return ""


class BendGate(Frozen):
    """What a bend must show to replace the linear alignment that it started from."""

    min_gain: NonNegativeFloat = Field(
        0.1, description="Mutual information must rise by this share of what it is under the linear alignment."
    )
    max_bend_mm: PositiveFloat = Field(15.0, description="No point of the fixed image may bend further.")
    min_overlap: float = Field(
        0.9, ge=0.0, le=1.0, description="Share of the points inside the moving image that must stay inside."
    )
    max_inverse_mm: PositiveFloat = Field(
        3.0, description="Bending back must lead back to within this distance, for 95 of 100 points."
    )
    max_stretch: float = Field(
        3.0, gt=1.0, description="Nearly no voxel may grow or shrink by more than this factor (see max_stretched)."
    )
    max_stretched: float = Field(0.01, ge=0.0, le=1.0, description="Share of voxels allowed beyond max_stretch.")

    def judge(
        self, judge: Judge, linear: Transform, bent: Deformation, back: Callable[[], Deformation]
    ) -> tuple[Motion, dict[str, Any]]:
        """Decide between a linear map and its bend; say what was measured.

        A bend that folds space anywhere is never taken.

        Parameters
        ----------
        judge : measures both on the same points.
        back : bends the other way round; asked only when everything else speaks for the bend.
        """
        before, after, overlap = judge.compare(linear, bent)
        points = lattice_mm(judge.fixed.geometry)
        bend = float(np.linalg.norm(bent.bend_mm(points), axis=1).max())
        jacobian = bent.jacobian
        stretched = float(np.mean((jacobian > self.max_stretch) | (jacobian < 1.0 / self.max_stretch)))
        measured: dict[str, Any] = {
            "similarity_before": before,
            "similarity_after": after,
            "bend_mm": bend,
            "overlap": overlap,
            "jacobian_min": float(jacobian.min()),
            "jacobian_max": float(jacobian.max()),
            "stretched": stretched,
            "inverse_consistency_mm": None,
        }
        reason = self._objection(before, after, bend, overlap, float(jacobian.min()), stretched)
        if not reason:
            apart = _inverse_mm(judge, bent, back(), points)
            measured["inverse_consistency_mm"] = apart
            if apart > self.max_inverse_mm:
                reason = f"bending back ends {apart:.1f} mm off, more than {self.max_inverse_mm:g} mm"
        if reason:
            return linear, {"accepted": False, "reason": f"not bent: {reason}", **measured}
        return bent, {"accepted": True, "reason": "clearly better than the linear alignment", **measured}

    def _objection(
        self, before: float, after: float, bend_mm: float, overlap: float, least: float, stretched: float
    ) -> str:
        if least <= 0.0:
            return f"space folds: the Jacobian determinant falls to {least:.2f}"
        if after <= before * (1.0 + self.min_gain):
            gain = 100.0 * (after / before - 1.0) if before > 0 else 0.0
            return f"mutual information changes by {gain:.0f} %, less than the {100 * self.min_gain:.0f} % asked for"
        if bend_mm > self.max_bend_mm:
            return f"a point bends by {bend_mm:.0f} mm, more than {self.max_bend_mm:g} mm"
        if stretched > self.max_stretched:
            share, limit = 100 * stretched, 100 * self.max_stretched
            return f"{share:.1f} % of the voxels stretch beyond a factor {self.max_stretch:g}, more than {limit:g} %"
        if overlap < self.min_overlap:
            return f"{100 * overlap:.0f} % of the points stay inside, fewer than {100 * self.min_overlap:.0f} %"
        return ""


def _inverse_mm(judge: Judge, bent: Deformation, back: Deformation, points_mm: npt.NDArray[np.float64]) -> float:
    """Give how far there and back leads astray, for 95 of 100 points that the moving image holds."""
    there = bent.apply(points_mm)
    inside = sample(judge.moving, there).inside
    if not inside.any():
        return float("inf")
    apart = np.linalg.norm(back.apply(there[inside]) - points_mm[inside], axis=1)
    return float(np.percentile(apart, 95))
