"""Fuse pictures for the eye: a grey picture of anatomy with a coloured one of function, into a coloured one."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from radfuse.component import Component
from radfuse.errors import DataError
from radfuse.fuse import Array

Substitute = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class PictureFuser:
    """What a method builds: checks its two pictures once, then fuses them.

    Parameters
    ----------
    substitute : the method's own work on checked pictures.
    """

    substitute: Substitute

    def __call__(self, grey: Array, colour: Array) -> Array:
        """Fuse a grey and a coloured picture.

        Parameters
        ----------
        grey : (y, x) in [0, 1]: CT or MR.
        colour : (y, x, 3) in [0, 1], red, green, blue: PET or SPECT in pseudo-colour. The result is like it.
        """
        if grey.ndim != 2 or colour.ndim != 3 or colour.shape[2] != 3:
            raise DataError(
                "intensity substitution takes a grey picture (y, x) and one in colour (y, x, 3), "
                f"found {grey.shape} and {colour.shape}"
            )
        if grey.shape != colour.shape[:2]:
            raise DataError(
                f"the pictures differ in size: grey {grey.shape}, colour {colour.shape[:2]} rows and columns",
                hint="Bring both onto one grid first; fusing never resamples.",
            )
        for name, picture in (("grey", grey), ("colour", colour)):
            if not np.isfinite(picture).all() or picture.min() < 0 or picture.max() > 1:
                raise DataError(f"the {name} picture holds values outside [0, 1]")
        fused = self.substitute(np.ascontiguousarray(grey, np.float32), np.ascontiguousarray(colour, np.float32))
        return np.ascontiguousarray(fused, dtype=np.float32)


class PictureFusion(Component):
    """A way to lay the anatomy of a grey picture under the colours of another.

    All of them keep the colours' hue: what they differ in is which lightness they replace, and by what. The result is
    to be looked at; nothing measures it.
    """

    @abstractmethod
    def build(self) -> PictureFuser:
        """Make the fuser."""
