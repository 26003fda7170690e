"""Fuse: make one volume out of several modalities on one grid. Each file named in `radfuse list` is one method."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from radfuse.component import Component
from radfuse.data.geometry import Geometry
from radfuse.errors import ConfigError, DataError, GeometryError

Array = npt.NDArray[np.float32]
Combine = Callable[[Sequence[Array], Sequence[str], Geometry], Array]


@dataclass(frozen=True)
class Fuser:
    """What a method builds: checks its inputs once, then combines them.

    Parameters
    ----------
    combine : the method's own work on checked inputs.
    """

    combine: Combine

    def __call__(self, volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
        """Fuse normalised volumes.

        Parameters
        ----------
        volumes : two or more arrays (z, y, x), float32, normalised so that background is 0 and tissue is of order 1.
        names : their modalities, in the same order. The order does not change the result.
        grid : the grid they share.
        """
        if len(volumes) < 2 or len(volumes) != len(names):
            raise DataError(
                f"fusing needs two or more volumes, each with its name; found {len(volumes)} and {list(names)}"
            )
        for name, volume in zip(names, volumes, strict=True):
            if volume.shape != grid.shape:
                raise GeometryError(
                    f"{name} has shape {volume.shape} (z, y, x) on a grid of shape {grid.shape}",
                    hint="Run `radfuse align` first.",
                )
            if not np.isfinite(volume).all():
                bad = int(volume.size - np.isfinite(volume).sum())
                raise DataError(
                    f"{name} holds {bad} voxels that are not finite numbers",
                    hint="Look at the image: a failed conversion or resampling leaves NaN.",
                )
        order = sorted(range(len(names)), key=lambda k: names[k])
        given = [np.ascontiguousarray(volumes[k], dtype=np.float32) for k in order]
        fused = self.combine(given, [names[k] for k in order], grid)
        return np.ascontiguousarray(fused, dtype=np.float32)


class FusionMethod(Component):
    """A way to make one volume of several that share a grid.

    The class attributes are claims, which the family's contract tests hold every member to.

    - ``flip_equivariant``: fusing flipped volumes gives the flipped fusion, along every axis.
    - ``permutation_equivariant``: where voxels are as long along all axes, exchanging axes before fusing is exchanging
      them after. Methods that work slice by slice do not.
    - ``voxelwise_identity``: a voxel where all sources agree keeps its value, whatever lies around it; so zero
      background stays exactly zero. Without it the identity holds only where whole volumes agree.
    - ``keeps_equal_sources``: fusing a volume with itself gives that volume. Methods that denoise, mask or derive an
      image of another kind do not.
    - ``on_source_scale``: fused values are on the sources' normalised scale, so that the inverse of a source's map
      gives them its unit, and halved sources give about half the values. A derived image has a scale of its own.
    - ``keeps_constants``: constant volumes give a constant. Zero padding makes borders differ.
    - ``context_voxels``: how far away a voxel can change the result at another one; None when there is no such
      distance (a decimated transform depends on where the grid begins).
    """

    flip_equivariant: ClassVar[bool]
    permutation_equivariant: ClassVar[bool] = False
    voxelwise_identity: ClassVar[bool]
    keeps_equal_sources: ClassVar[bool] = True
    on_source_scale: ClassVar[bool] = True
    keeps_constants: ClassVar[bool] = True
    context_voxels: ClassVar[int | None]

    label: str = Field(
        "", pattern="^[A-Za-z0-9]*$", description="Tells several settings of one method apart in the volumes' names."
    )

    @property
    def title(self) -> str:
        """What its volumes are named by: the method, and the label where there is one."""
        return f"{self.method}_{self.label}" if self.label else self.method

    @property
    def trained_weights(self) -> Path | None:
        """The file of weights that the user gave; None for methods without, and for the weights that radfuse ships."""
        return None

    @abstractmethod
    def build(self, device: str) -> Fuser:
        """Make the fuser; ``device`` is ``cpu`` or ``cuda`` and matters only to networks."""


def weights_for(names: Sequence[str], given: Mapping[str, float]) -> list[float]:
    """Give each modality its weight, summing to 1; equal where none are given.

    Parameters
    ----------
    names : modalities that are fused.
    given : weights by modality. All of the fused modalities have one, or none has.

    Examples
    --------
    >>> weights_for(["CT", "PET"], {"CT": 1, "PET": 3})
    [0.25, 0.75]
    """
    if not set(names) & set(given):
        return [1.0 / len(names)] * len(names)
    absent = sorted(set(names) - set(given))
    if absent:
        raise ConfigError(
            f"fusion weights are given for {', '.join(sorted(given))} and not for {', '.join(absent)}",
            hint="Give every modality that is fused a weight, or none.",
        )
    total = sum(given[name] for name in names)
    if total <= 0:
        raise ConfigError(f"the fusion weights of {', '.join(names)} add up to {total:g}; expected more than 0")
    return [given[name] / total for name in names]
