"""Who computes the features of every neighbourhood: compiled loops on the CPU, or tensors on a GPU."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from radfuse.extract.voxelwise import cooccurrence, intensities, matrices

Floats = npt.NDArray[np.float64]


class Kernels(Protocol):
    """One kernel for each feature class, which fills the last arrays it is given.

    The arguments are those of the functions of the same name in `intensities`, `cooccurrence` and `matrices`.
    """

    def intensity_maps(self, *given: Any) -> None:
        """First order."""

    def cooccurrence_maps(self, *given: Any) -> None:
        """GLCM."""

    def dependence_maps(self, *given: Any) -> None:
        """GLDM."""

    def zone_maps(self, *given: Any) -> None:
        """GLSZM."""

    def run_maps(self, *given: Any) -> None:
        """GLRLM."""

    def tone_maps(self, *given: Any) -> None:
        """NGTDM."""


class Compiled:
    """The loops that numba compiles, one core for each thread that calls them."""

    intensity_maps = staticmethod(intensities.intensity_maps)
    cooccurrence_maps = staticmethod(cooccurrence.cooccurrence_maps)
    dependence_maps = staticmethod(matrices.dependence_maps)
    zone_maps = staticmethod(matrices.zone_maps)
    run_maps = staticmethod(matrices.run_maps)
    tone_maps = staticmethod(matrices.tone_maps)


COMPILED = Compiled()


def kernels_on(device: str) -> Kernels:
    """Give the kernels of a device, ``cpu`` or ``cuda``."""
    if device == "cpu":
        return COMPILED
    from radfuse.extract.tensors.maps import Tensors
    from radfuse.extract.tensors.room import Room

    return Tensors(Room(device))
