"""Gabor filters in planes."""

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat, field_validator

from radfuse.extract.ibsi2.boundary import pad
from radfuse.extract.ibsi2.filter import BOUNDARY, Array, Boundary, Dimensions, Filter, Respond, Spacing, number, reach

# Where the envelope has fallen to exp(-18); the reference maps (4.a.1) are not truncated at all.
WIDTHS = 6.0


class Gabor(Filter):
    """Give the modulus of the response to an oriented wave under a Gaussian, in planes [IBSI 2 manual, code Q88H]."""

    code: ClassVar[str] = "Q88H"
    method: Literal["gabor"] = "gabor"
    sigma_mm: PositiveFloat = Field(5.0, description="Width of the Gaussian along the wave.")
    wavelength_mm: PositiveFloat = Field(2.0, description="Wavelength (lambda).")
    gamma: PositiveFloat = Field(1.5, description="Width along the wave over width across it.")
    theta_deg: float = Field(0.0, description="Direction of the wave in the plane, from its first axis to its second.")
    theta_step_deg: PositiveFloat | None = Field(
        22.5, description="Pool over directions all around in these steps; none gives the one direction."
    )
    pooling: Literal["average", "max"] = Field("average", description="How to pool over the directions.")
    dimensions: Dimensions = Field(
        3, description="2 filters axial slices; 3 averages the axial, coronal and sagittal slices' responses."
    )
    boundary: Boundary = Field("mirror", description=BOUNDARY)

    @field_validator("theta_step_deg")
    @classmethod
    def _all_around(cls, step: float | None) -> float | None:
        if step is not None and not math.isclose(360 / step, round(360 / step), rel_tol=1e-9):
            raise ValueError(f"360 degrees should be a whole number of steps, found {step} degrees")
        return step

    @property
    def name(self) -> str:
        """All settings in words."""
        size = f"sigma-{number(self.sigma_mm)}-mm-lambda-{number(self.wavelength_mm)}-mm-gamma-{number(self.gamma)}"
        turn = f"theta-{number(self.theta_deg)}"
        if self.theta_step_deg is not None:
            turn += f"-step-{number(self.theta_step_deg)}-{self.pooling}"
        return f"gabor-{size}-{turn}-{self.dimensions}D-{self.boundary}"

    def reach_mm(self, spacing_mm: Spacing) -> Spacing:
        """The truncated envelope."""
        return reach([self._radius(step) for step in spacing_mm], spacing_mm, self.dimensions, self.boundary)

    def _radius(self, step_mm: float) -> int:
        return math.ceil(WIDTHS * self.sigma_mm * max(1, 1 / self.gamma) / step_mm)

    def build(self) -> Respond:
        """Give the function that filters, slice by slice in the Fourier domain."""

        def respond(array: Array, spacing_mm: Spacing) -> Array:
            response = np.zeros(array.shape)
            across = (0,) if self.dimensions == 2 else (0, 1, 2)
            for axis in across:
                # The later array axis is the earlier of x, y, z, and the wave runs along it at 0 degrees.
                second, first = (spacing_mm[2 - other] for other in range(3) if other != axis)
                planes = np.moveaxis(array, axis, 0)
                for place, plane in enumerate(self._planes(planes, second, first)):
                    np.moveaxis(response, axis, 0)[place] += plane
            return response / len(across)

        return respond

    def _planes(self, planes: Array, second_mm: float, first_mm: float) -> Iterator[Array]:
        """Give the pooled response of one plane after the other, shape (second axis, first axis)."""
        from scipy import fft

        margin = self._radius(second_mm), self._radius(first_mm)
        rows, columns = planes.shape[1:]
        size = [fft.next_fast_len(n + 2 * width) for n, width in zip((rows, columns), margin, strict=True)]
        kernels = [fft.fft2(self._kernel(theta, second_mm, first_mm), size) for theta in self._directions()]
        inside = slice(2 * margin[0], 2 * margin[0] + rows), slice(2 * margin[1], 2 * margin[1] + columns)
        for plane in planes:
            around = fft.fft2(pad(plane, margin, self.boundary), size)
            responses = [np.abs(fft.ifft2(around * kernel)[inside]) for kernel in kernels]
            yield np.max(responses, axis=0) if self.pooling == "max" else np.mean(responses, axis=0)

    def _directions(self) -> Sequence[float]:
        """Give the directions in radians; opposite ones have the same modulus, so only one of the two is taken."""
        if self.theta_step_deg is None:
            return [math.radians(self.theta_deg)]
        steps = round(360 / self.theta_step_deg)
        taken = steps // 2 if steps % 2 == 0 else steps
        return [math.radians(self.theta_deg + step * 360 / steps) for step in range(taken)]

    def _kernel(self, theta: float, second_mm: float, first_mm: float) -> npt.NDArray[np.complex128]:
        """Sample the Gabor function at voxels [IBSI 2 manual, Gabor filters]; it is not normalised."""
        rows, columns = self._radius(second_mm), self._radius(first_mm)
        y, x = np.mgrid[-rows : rows + 1, -columns : columns + 1] * np.array([second_mm, first_mm])[:, None, None]
        along = x * math.cos(theta) + y * math.sin(theta)
        aside = y * math.cos(theta) - x * math.sin(theta)
        envelope = np.exp(-(along**2 + (self.gamma * aside) ** 2) / (2 * self.sigma_mm**2))
        kernel: npt.NDArray[np.complex128] = envelope * np.exp(2j * np.pi * along / self.wavelength_mm)
        return kernel
