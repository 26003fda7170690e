"""Simoncelli's non-separable wavelet."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from radfuse.extract.ibsi2.boundary import pad, unpad
from radfuse.extract.ibsi2.filter import BOUNDARY, DIMENSIONS, Array, Boundary, Dimensions, Filter, Respond, Spacing
from radfuse.extract.ibsi2.spectral import closed, filtered


class Simoncelli(Filter):
    """Give one isotropic band of frequencies [IBSI 2 manual, code PRT7; Portilla & Simoncelli 2000].

    Level j passes pi / 2^(j+1) to pi / 2^(j-1) per voxel; bands count voxels, not millimetres.
    """

    code: ClassVar[str] = "PRT7"
    method: Literal["simoncelli"] = "simoncelli"
    level: PositiveInt = Field(1, description="Which band; each level halves its frequencies.")
    dimensions: Dimensions = Field(3, description=DIMENSIONS)
    boundary: Boundary = Field("mirror", description=BOUNDARY)

    @property
    def name(self) -> str:
        """All settings in words."""
        return f"simoncelli-level-{self.level}-{self.dimensions}D-{self.boundary}"

    def reach_mm(self, spacing_mm: Spacing) -> Spacing:
        """The whole image: the kernel has no end."""
        return math.inf, math.inf, math.inf if self.dimensions == 3 else 0.0

    def build(self) -> Respond:
        """Give the function that filters, in the Fourier domain."""

        def respond(array: Array, spacing_mm: Spacing) -> Array:
            axes = range(3 - self.dimensions, 3)
            margin = [self.margin_voxels if axis in axes else 0 for axis in range(3)]
            around = pad(array, margin, self.boundary)
            return unpad(filtered(around, self._transfer, axes, closed), margin)

        return respond

    @property
    def margin_voxels(self) -> int:
        """How much of the boundary is put around the image before it is transformed."""
        # Beyond it lies less than 1e-4 of the kernel's energy.
        return 0 if self.boundary == "periodic" else 16 * 2 ** (self.level - 1)

    def _transfer(self, frequencies: Sequence[Array]) -> Array:
        """Give cos(pi/2 log2(2 r)) in the band 1/4 to 1, r in units of its upper end [IBSI 2 manual]."""
        radius = np.sqrt(sum(frequency**2 for frequency in frequencies)) * 2.0 ** (self.level - 1)
        inside = (radius >= 0.25) & (radius <= 1)
        return np.where(inside, np.cos(np.pi / 2 * np.log2(2 * np.where(inside, radius, 1))), 0)
