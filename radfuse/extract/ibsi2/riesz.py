"""The Riesz transform of another filter."""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, NonNegativeInt, model_validator

from radfuse.extract.ibsi2.boundary import pad, unpad
from radfuse.extract.ibsi2.filter import Array, Filter, Respond, Spacing
from radfuse.extract.ibsi2.log import LaplacianOfGaussian
from radfuse.extract.ibsi2.simoncelli import Simoncelli
from radfuse.extract.ibsi2.spectral import filtered, regular

# The transform decays as a power of the distance. On the sphere phantom (9.b.1) a margin of 64 changes the response
# by 1e-5 of its range against one of 16.
MARGIN_VOXELS = 16


class Riesz(Filter):
    """Differentiate a filter's response without favouring high frequencies [IBSI 2 manual, code AYRS].

    Order (1, 0, 0) is the all-pass gradient along x, (0, 2, 0) the second derivative along y. Directions are those
    in millimetres where voxels are not cubes. Boundary and dimensions are those of the filter inside.
    """

    code: ClassVar[str] = "AYRS"
    method: Literal["riesz"] = "riesz"
    order: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = Field(
        (1, 0, 0), description="How often to differentiate along x, y, z."
    )
    of: Annotated[LaplacianOfGaussian | Simoncelli, BeforeValidator(Filter.choose)] = Field(
        Simoncelli(), description="The filter to differentiate: log or simoncelli."
    )

    @model_validator(mode="after")
    def _some_order(self) -> "Riesz":
        if not any(self.order):
            raise ValueError("order (0, 0, 0) differentiates nothing; name the filter itself instead")
        if self.order[2] and self.of.dimensions == 2:
            raise ValueError(f"order {self.order} differentiates across slices, which `dimensions: 2` keeps apart")
        return self

    @property
    def name(self) -> str:
        """All settings in words."""
        return f"riesz-{'-'.join(map(str, self.order))}-{self.of.name}"

    def reach_mm(self, spacing_mm: Spacing) -> Spacing:
        """The whole image: the transform has no end."""
        return math.inf, math.inf, math.inf if self.of.dimensions == 3 else 0.0

    def build(self) -> Respond:
        """Give the function that filters; the boundary is put around once, and everything after is periodic."""
        inner = self.of.model_copy(update={"boundary": "periodic"}).build()

        def respond(array: Array, spacing_mm: Spacing) -> Array:
            axes = range(3 - self.of.dimensions, 3)
            margin = [self._margin(spacing_mm[2 - axis]) if axis in axes else 0 for axis in range(3)]
            response = inner(pad(array, margin, self.of.boundary), spacing_mm)
            steps = [spacing_mm[2 - axis] for axis in axes]
            order = [self.order[2 - axis] for axis in axes]

            def transfer(frequencies: Sequence[Array]) -> npt.NDArray[np.complex128]:
                return _transfer([f / step for f, step in zip(frequencies, steps, strict=True)], order)

            return unpad(filtered(response, transfer, axes, regular), margin)

        return respond

    def _margin(self, step_mm: float) -> int:
        if self.of.boundary == "periodic":
            return 0
        if isinstance(self.of, Simoncelli):
            return MARGIN_VOXELS + self.of.margin_voxels
        return MARGIN_VOXELS + self.of.radius(step_mm)


def _transfer(frequencies: Sequence[Array], order: Sequence[int]) -> npt.NDArray[np.complex128]:
    """Give (-i)^L sqrt(L! / (l1! l2! l3!)) times the product of (w / |w|)^l."""
    total = sum(order)
    scale = math.sqrt(math.factorial(total) / math.prod(math.factorial(times) for times in order))
    length = np.sqrt(sum(frequency**2 for frequency in frequencies))
    product = math.prod(frequency**times for frequency, times in zip(frequencies, order, strict=True))
    return (-1j) ** total * scale * np.where(length > 0, product / np.where(length > 0, length, 1) ** total, 0)
