"""What lies beyond the border of an image (IBSI 2 manual, boundary conditions)."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from radfuse.extract.ibsi2.filter import Array, Boundary

# scipy calls "reflect" (d c b a | a b c d | d c b a) what IBSI and this package call "mirror".
SCIPY_MODE: dict[Boundary, str] = {"zero": "constant", "nearest": "nearest", "periodic": "wrap", "mirror": "reflect"}
NUMPY_MODE: dict[Boundary, Literal["constant", "edge", "wrap", "symmetric"]] = {
    "zero": "constant",
    "nearest": "edge",
    "periodic": "wrap",
    "mirror": "symmetric",
}


def pad(array: Array, margin: Sequence[int], boundary: Boundary) -> Array:
    """Put a margin around an array, as many voxels on both sides of each axis as ``margin`` says."""
    return np.pad(array, [(width, width) for width in margin], mode=NUMPY_MODE[boundary])


def unpad(array: Array, margin: Sequence[int]) -> Array:
    """Take the margin away again."""
    return array[tuple(slice(width, size - width) for width, size in zip(margin, array.shape, strict=True))]
