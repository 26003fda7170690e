"""The family of IBSI 2 filters: an image in, its response map out."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from radfuse.component import Component

Array = npt.NDArray[np.float64]
Spacing = tuple[float, float, float]
Respond = Callable[[Array, Spacing], Array]

Boundary = Literal["zero", "nearest", "periodic", "mirror"]
Dimensions = Literal[2, 3]
Pooling = Literal["none", "average", "max"]

BOUNDARY = "What lies beyond the image: zeros, the edge voxel, the image again, or its reflection (edge doubled)."
DIMENSIONS = "3 filters the volume, 2 each axial slice by itself."
POOLING = "Combine the responses to the image in all right-angle rotations (24, or 4 in a slice); none keeps one."


class Filter(Component):
    """Answer an image with a response map, as the IBSI 2 manual [arXiv:2006.05470] defines it.

    ``code`` is the manual's permanent identifier of the filter.
    """

    code: ClassVar[str]

    @property
    @abstractmethod
    def name(self) -> str:
        """The image type in a column's name; it says every setting, so two filters never share a column."""

    @abstractmethod
    def reach_mm(self, spacing_mm: Spacing) -> Spacing:
        """How far along x, y and z a voxel sees; an image cropped to this margin answers as the whole one does.

        Infinite along an axis that has to stay whole, as all do where the image repeats; 0 across separate slices.

        Parameters
        ----------
        spacing_mm : distance between voxel centres along x, y, z.
        """

    @abstractmethod
    def build(self) -> Respond:
        """Give the function ``(array, spacing_mm) -> response``.

        The array is float64 (z, y, x), the spacing is along x, y, z in millimetres as in `Geometry`; the response
        has the array's shape.
        """


def reach(radius: Sequence[float], spacing_mm: Spacing, dimensions: Dimensions, boundary: Boundary) -> Spacing:
    """Turn a kernel's radius in voxels along x, y, z into how far it sees."""
    x, y, z = (math.inf if boundary == "periodic" else r * step for r, step in zip(radius, spacing_mm, strict=True))
    return x, y, z if dimensions == 3 else 0.0


def number(value: float) -> str:
    """Write a number as PyRadiomics writes it in image types.

    Examples
    --------
    >>> number(1.5)
    '1-5'
    """
    return repr(float(value)).replace(".", "-")
