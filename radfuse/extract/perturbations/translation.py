"""Translation: the voxel lattice fell elsewhere."""

from typing import Literal

import numpy as np
from pydantic import Field

from radfuse.data.geometry import Geometry
from radfuse.extract.perturbations import Perturb, Perturbation
from radfuse.extract.perturbations.moving import Matrix, Motion, slide


class Translation(Perturbation):
    """Move image and region by a part of a voxel along every axis [Zwanenburg et al. 2019]."""

    method: Literal["translation"] = "translation"
    max_voxels: float = Field(
        0.5, gt=0.0, le=1.0, description="The shift along each axis is drawn evenly between -max and max voxels."
    )

    def build(self) -> Perturb:
        """Give the function."""

        def shifted(grid: Geometry, modality: str, rng: np.random.Generator) -> Matrix:
            voxels = rng.uniform(-self.max_voxels, self.max_voxels, 3)
            return slide(grid.index_to_physical[:3, :3] @ voxels)

        return Motion(shifted)
