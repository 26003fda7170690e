"""Laws' kernels."""

import math
import re
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from radfuse.extract.ibsi2.boundary import SCIPY_MODE
from radfuse.extract.ibsi2.filter import (
    BOUNDARY,
    DIMENSIONS,
    POOLING,
    Array,
    Boundary,
    Dimensions,
    Filter,
    Pooling,
    Respond,
    Spacing,
    number,
    reach,
)
from radfuse.extract.ibsi2.separable import respond as respond_separably

# IBSI 2 manual, table 2 [Laws 1980]; normalised to unit energy where used.
KERNELS = {
    "L3": (1, 2, 1),
    "L5": (1, 4, 6, 4, 1),
    "E3": (-1, 0, 1),
    "E5": (-1, -2, 0, 2, 1),
    "S3": (-1, 2, -1),
    "S5": (-1, 0, 2, 0, -1),
    "W5": (-1, 2, 0, -2, 1),
    "R5": (1, -4, 6, -4, 1),
}


class Laws(Filter):
    """Convolve each axis with one of Laws' kernels, and give the texture energy around if asked [IBSI 2, JTXT].

    L is for level, E for edge, S for spot, W for wave and R for ripple. Responses are pooled over rotations first,
    and the energy is the mean magnitude of the pooled response, as in the reference maps.
    """

    code: ClassVar[str] = "JTXT"
    method: Literal["laws"] = "laws"
    kernels: str = Field("L5E5E5", description="Kernels along x, y and, in three dimensions, z.")
    pooling: Pooling = Field("max", description=POOLING)
    energy_mm: PositiveFloat | None = Field(
        7.0, description="Average the magnitude over the cube that reaches this far; none gives the response itself."
    )
    dimensions: Dimensions = Field(3, description=DIMENSIONS)
    boundary: Boundary = Field("mirror", description=BOUNDARY)

    @model_validator(mode="after")
    def _a_kernel_for_each_axis(self) -> "Laws":
        if not re.fullmatch(f"({'|'.join(KERNELS)}){{{self.dimensions}}}", self.kernels):
            raise ValueError(
                f"kernels {self.kernels!r} should be {self.dimensions} of {', '.join(KERNELS)}, one for each axis"
            )
        return self

    @property
    def name(self) -> str:
        """All settings in words."""
        energy = "" if self.energy_mm is None else f"-energy-{number(self.energy_mm)}-mm"
        return f"laws-{self.kernels}-{self.pooling}{energy}-{self.dimensions}D-{self.boundary}"

    def reach_mm(self, spacing_mm: Spacing) -> Spacing:
        """Half of the longest kernel, and the energy's cube."""
        kernel = max(len(chosen) // 2 for chosen in self._chosen())
        radius = [kernel + r for r in self._energy_radius(spacing_mm)]
        return reach(radius, spacing_mm, self.dimensions, self.boundary)

    def build(self) -> Respond:
        """Give the function that convolves."""
        from scipy.ndimage import uniform_filter

        chains = [(kernel,) for kernel in self._chosen()]

        def respond(array: Array, spacing_mm: Spacing) -> Array:
            response = respond_separably(array, chains, self.boundary, self.pooling)
            if self.energy_mm is None:
                return response
            size = [2 * r + 1 for r in reversed(self._energy_radius(spacing_mm))]
            energy: Array = uniform_filter(np.abs(response), size, mode=SCIPY_MODE[self.boundary])
            return energy

        return respond

    def _chosen(self) -> list[Array]:
        named = (KERNELS[name] for name in re.findall("..", self.kernels))
        return [np.array(kernel, float) / math.hypot(*kernel) for kernel in named]

    def _energy_radius(self, spacing_mm: Spacing) -> tuple[int, int, int]:
        x, y, z = (round((self.energy_mm or 0) / step) for step in spacing_mm)
        return x, y, z if self.dimensions == 3 else 0
