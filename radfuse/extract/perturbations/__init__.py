"""The family of perturbations: the same patient, imaged, placed or outlined a little differently.

After Zwanenburg et al. 2019, Sci Rep 9:614, doi:10.1038/s41598-018-36938-4: a feature that changes when an image is
turned by a few degrees or a contour redrawn will not hold up in another hospital either, and no second scan is needed
to find that out.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from radfuse.component import Component
from radfuse.data.volume import Mask, Volume

Perturb = Callable[[Volume, Mask, np.random.Generator], tuple[Volume, Mask]]
"""An image, its region and a generator in; image and region, on one grid, out. The volumes of a patient are given
generators in the same state, so that all of them are moved alike; what is to differ between them draws from
`own_stream`."""


class Perturbation(Component):
    """Change an image and its region as repeating the examination would."""

    region_only: ClassVar[bool] = False
    """Whether voxel values stay: then one new region serves every volume that shares it."""

    @abstractmethod
    def build(self) -> Perturb:
        """Give the function; the same generator, the same answer."""

    def informed(self, aligned: Mapping[str, Any]) -> Self:
        """Settle what depends on what align found for the subject; most members do not care."""
        return self


def own_stream(rng: np.random.Generator, name: str) -> np.random.Generator:
    """Give a generator that differs from volume to volume, by name and never by order.

    Examples
    --------
    >>> one, other = (own_stream(np.random.default_rng(0), name).random() for name in ("CT", "PET"))
    >>> one == other
    False
    """
    return np.random.default_rng([int(rng.integers(2**63)), *name.encode()])
