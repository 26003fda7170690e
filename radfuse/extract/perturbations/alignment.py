"""Alignment: the modalities came together a little differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeFloat

from radfuse.data.geometry import Geometry
from radfuse.data.names import fused_modalities, is_fused
from radfuse.extract.perturbations import Perturb, Perturbation, own_stream
from radfuse.extract.perturbations.moving import Matrix, Motion, slide


class Alignment(Perturbation):
    """Move a modality under its region by the error that its registration has; the reference stays.

    Where align kept its own registration, it measured how far registering there and back leads astray. Two errors add
    up in that distance, over three axes each: one axis of one of them has a root mean square of distance / sqrt(6).
    Where the headers were kept there is no such number, and ``otherwise_mm`` stands in. A fused volume that is not
    fused anew moves like the least certain of its parts: a bound, since fusing would keep the other part in place.
    """

    method: Literal["alignment"] = "alignment"
    sigma_mm: dict[str, NonNegativeFloat] = Field(
        {}, description="Error along each axis (standard deviation, mm) by modality; not given: what align measured."
    )
    otherwise_mm: NonNegativeFloat = Field(
        1.0, description="Error along each axis where neither is known: scans of one session, headers trusted."
    )

    def informed(self, aligned: Mapping[str, Any]) -> Self:
        """Fill in the errors that align's findings tell for this subject's modalities."""
        found = {str(aligned["reference"]): 0.0} if "reference" in aligned else {}
        for modality, registered in aligned.get("registration", {}).items():
            apart = registered.get("inverse_consistency_mm") if registered.get("accepted") else None
            found[modality] = self.otherwise_mm if apart is None else float(apart) / 6.0**0.5
        return self.model_copy(update={"sigma_mm": {**found, **self.sigma_mm}})

    def error_mm(self, modality: str) -> float:
        """Give the standard deviation along each axis of a measured or fused volume."""
        if is_fused(modality) and modality not in self.sigma_mm:
            parts = fused_modalities(modality, list(self.sigma_mm))
            return max((self.sigma_mm[part] for part in parts), default=self.otherwise_mm)
        return self.sigma_mm.get(modality, self.otherwise_mm)

    def shift_mm(self, modality: str, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Draw how far a volume moves, x, y, z in LPS millimetres."""
        return np.asarray(self.error_mm(modality) * own_stream(rng, modality).standard_normal(3))

    def build(self) -> Perturb:
        """Give the function."""

        def misplaced(grid: Geometry, modality: str, rng: np.random.Generator) -> Matrix:
            return slide(self.shift_mm(modality, rng))

        return Motion(misplaced, region=False)
