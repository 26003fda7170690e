"""The mean of a neighbourhood."""

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat

from radfuse.extract.ibsi2.boundary import SCIPY_MODE
from radfuse.extract.ibsi2.filter import (
    BOUNDARY,
    DIMENSIONS,
    Array,
    Boundary,
    Dimensions,
    Filter,
    Respond,
    Spacing,
    number,
    reach,
)


class Mean(Filter):
    """Average the cube (or square) of voxels around each voxel [IBSI 2 manual, code S60F]."""

    code: ClassVar[str] = "S60F"
    method: Literal["mean"] = "mean"
    size_mm: PositiveFloat = Field(5.0, description="Edge of the cube; the nearest odd number of voxels is taken.")
    dimensions: Dimensions = Field(3, description=DIMENSIONS)
    boundary: Boundary = Field("mirror", description=BOUNDARY)

    @property
    def name(self) -> str:
        """All settings in words."""
        return f"mean-size-{number(self.size_mm)}-mm-{self.dimensions}D-{self.boundary}"

    def radius(self, spacing_mm: Spacing) -> tuple[int, int, int]:
        """Voxels on each side along x, y, z."""
        x, y, z = (int(self.size_mm / (2 * step)) for step in spacing_mm)
        return x, y, z if self.dimensions == 3 else 0

    def reach_mm(self, spacing_mm: Spacing) -> Spacing:
        """Half of the cube."""
        return reach(self.radius(spacing_mm), spacing_mm, self.dimensions, self.boundary)

    def build(self) -> Respond:
        """Give the function that averages."""
        from scipy.ndimage import uniform_filter

        def respond(array: Array, spacing_mm: Spacing) -> Array:
            size = [2 * r + 1 for r in reversed(self.radius(spacing_mm))]
            averaged: Array = uniform_filter(array, size, mode=SCIPY_MODE[self.boundary])
            return averaged

        return respond
