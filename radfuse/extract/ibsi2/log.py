"""The Laplacian of a Gaussian."""

import math
from typing import ClassVar, Literal

import numpy as np
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


class LaplacianOfGaussian(Filter):
    """Convolve with the sampled Laplacian of a Gaussian [IBSI 2 manual, code L6PA].

    The second derivatives are per squared voxel, as in the reference maps; where voxels are not cubes, per squared
    geometric mean of their edges. Unlike PyRadiomics' LoG there is no factor sigma^2.
    """

    code: ClassVar[str] = "L6PA"
    method: Literal["log"] = "log"
    sigma_mm: PositiveFloat = Field(1.5, description="Width of the Gaussian.")
    truncate: PositiveFloat = Field(4.0, description="Cut the kernel off at this many sigma.")
    dimensions: Dimensions = Field(3, description=DIMENSIONS)
    boundary: Boundary = Field("mirror", description=BOUNDARY)

    @property
    def name(self) -> str:
        """All settings in words; the truncation keeps it apart from PyRadiomics' ``log-sigma-1-5-mm-3D``."""
        width, cut = number(self.sigma_mm), number(self.truncate)
        return f"log-sigma-{width}-mm-truncate-{cut}-{self.dimensions}D-{self.boundary}"

    def reach_mm(self, spacing_mm: Spacing) -> Spacing:
        """The truncated kernel."""
        return reach([self.radius(step) for step in spacing_mm], spacing_mm, self.dimensions, self.boundary)

    def radius(self, step_mm: float) -> int:
        """Voxels on each side of the middle."""
        return math.floor(self.truncate * self.sigma_mm / step_mm + 0.5)

    def build(self) -> Respond:
        """Give the function that convolves; the kernel is a sum of separable ones."""
        from scipy.ndimage import convolve1d

        mode = SCIPY_MODE[self.boundary]

        def respond(array: Array, spacing_mm: Spacing) -> Array:
            axes = range(3 - self.dimensions, 3)
            steps = [spacing_mm[2 - axis] for axis in axes]
            edge = math.prod(steps) ** (1 / len(steps))
            kernels = [self._kernels(step, edge) for step in steps]
            response = np.zeros(array.shape)
            for derived in axes:
                part = array
                for axis, (smooth, second) in zip(axes, kernels, strict=True):
                    part = convolve1d(part, second if axis == derived else smooth, axis, mode=mode)
                response += part
            return response

        return respond

    def _kernels(self, step_mm: float, edge_mm: float) -> tuple[Array, Array]:
        """Give the Gaussian and its second derivative along one axis, sampled at the voxels."""
        radius, sigma = self.radius(step_mm), self.sigma_mm / step_mm
        place = np.arange(-radius, radius + 1) / sigma
        smooth = np.exp(-(place**2) / 2) / (math.sqrt(2 * math.pi) * sigma)
        return smooth, smooth * (place**2 - 1) * (edge_mm / self.sigma_mm) ** 2
