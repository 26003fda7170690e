"""Rotation: the patient lay a little turned."""

from typing import Literal

import numpy as np
from pydantic import Field

from radfuse.data.geometry import Geometry
from radfuse.extract.perturbations import Perturb, Perturbation
from radfuse.extract.perturbations.moving import Matrix, Motion, centre_mm


class Rotation(Perturbation):
    """Turn image and region about the middle of the grid, in its axial plane [Zwanenburg et al. 2019]."""

    method: Literal["rotation"] = "rotation"
    max_deg: float = Field(10.0, gt=0.0, le=180.0, description="The angle is drawn evenly between -max and max.")

    def build(self) -> Perturb:
        """Give the function."""

        def turned(grid: Geometry, modality: str, rng: np.random.Generator) -> Matrix:
            angle = np.deg2rad(rng.uniform(-self.max_deg, self.max_deg))
            axes = np.asarray(grid.direction).reshape(3, 3)
            cosine, sine = np.cos(angle), np.sin(angle)
            plane = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
            centre, back = centre_mm(grid), np.eye(4)
            back[:3, :3] = axes @ plane @ np.linalg.inv(axes)
            back[:3, 3] = centre - back[:3, :3] @ centre
            return back

        return Motion(turned)
