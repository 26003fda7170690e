"""Texture features by slice, by slices taken together, and in space."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radfuse.data.box import box_of
from radfuse.errors import DataError
from radfuse.extract.ibsi1.families import cooccurrence, sized, tones
from radfuse.extract.ibsi1.families.lattice import Lattice
from radfuse.extract.ibsi1.families.matrix import Matrix, merged
from radfuse.extract.ibsi1.families.zone_kernels import border_distances

Features = dict[str, npt.NDArray[np.float64]]
Inside = npt.NDArray[np.bool_]
Levels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Family:
    """A kind of texture matrix and its features.

    Parameters
    ----------
    matrix : makes the matrix of a slice or of the volume.
    features : of every direction of a matrix; the second argument is the region's greatest grey level.
    directed : whether matrices have directions, which are averaged (``avg``) or added up (``comb``).
    """

    matrix: Callable[[Lattice], Matrix]
    features: Callable[[Matrix, int], Features]
    directed: bool = False


FAMILIES = {
    "cm": Family(cooccurrence.matrix, cooccurrence.features, directed=True),
    "rlm": Family(sized.run_matrix, sized.run_features, directed=True),
    "szm": Family(sized.zone_matrix, sized.zone_features),
    "dzm": Family(sized.distance_matrix, sized.distance_features),
    "ngt": Family(tones.matrix, tones.features),
    "ngl": Family(sized.dependence_matrix, sized.dependence_features),
}
DIMENSIONS = ("2D", "2_5D", "3D")


def texture(
    levels: Levels,
    morphology: Inside,
    families: Collection[str] = (*FAMILIES,),
    dimensions: Collection[str] = DIMENSIONS,
) -> dict[str, float]:
    """Give texture features by IBSI's tags, such as ``cm_contrast_2_5D_comb``.

    2D is the mean over slices of what each slice gives; 2.5D takes the matrices of all slices together; 3D looks for
    neighbours in space. ``avg`` is the mean over directions, ``comb`` adds their matrices up (manual 3.6, 3.7).

    Parameters
    ----------
    levels : grey levels from 1, (z, y, x); 0 outside the region, some voxel is inside.
    morphology : the region before resegmentation; distances are to its border.
    families : of `FAMILIES`.
    dimensions : of `DIMENSIONS`.

    Returns
    -------
    values by tag; NaN where a feature needs two voxels that touch and there are none.
    """
    greatest = int(levels.max())
    if greatest > np.iinfo(np.int16).max - 1:
        raise DataError(
            f"the region has {greatest} grey levels, expected at most {np.iinfo(np.int16).max - 1}",
            hint="Take wider bins, or a fixed number of bins.",
        )
    box = box_of(morphology | (levels > 0))
    # Copies, so that the compiled loops meet one kind of array: they compile anew for read-only ones.
    levels, morphology = levels[box], morphology[box].copy()
    found: dict[str, float] = {}
    if {"2D", "2_5D"} & set(dimensions):
        distances = border_distances(morphology, True)
        filled = np.flatnonzero(levels.any((1, 2)))
        lattices = [Lattice(levels[z : z + 1], distances[z : z + 1], flat=True) for z in filled]
        for name in families:
            family = FAMILIES[name]
            parts = [family.matrix(lattice) for lattice in lattices]
            for tag, matrices in _by_slices(parts, family.directed):
                if tag.rpartition("_")[0] in dimensions or tag in dimensions:
                    found |= _means(name, tag, [family.features(matrix, greatest) for matrix in matrices])
    if "3D" in dimensions:
        lattice = Lattice(levels, border_distances(morphology, False), flat=False)
        for name in families:
            family = FAMILIES[name]
            whole = family.matrix(lattice)
            for tag, matrix in _in_space(whole, family.directed):
                found |= _means(name, tag, [family.features(matrix, greatest)])
    return found


def _by_slices(parts: Sequence[Matrix], directed: bool) -> Iterator[tuple[str, list[Matrix]]]:
    """Give the ways of taking slices, and the matrices whose features are averaged for each."""
    together = merged(parts)
    if directed:
        yield "2D_avg", [*parts]
        yield "2D_comb", [part.together() for part in parts]
        yield "2_5D_avg", [together]
        yield "2_5D_comb", [together.together()]
    else:
        yield "2D", [*parts]
        yield "2_5D", [together]


def _in_space(whole: Matrix, directed: bool) -> Iterator[tuple[str, Matrix]]:
    if directed:
        yield "3D_avg", whole
        yield "3D_comb", whole.together()
    else:
        yield "3D", whole


def _means(family: str, tag: str, found: Sequence[Features]) -> dict[str, float]:
    """Give the mean over all slices and directions in which the feature is defined."""
    values = {name: np.concatenate([features[name] for features in found]) for name in found[0]}
    return {f"{family}_{name}_{tag}": float(of.mean()) if of.size else np.nan for name, of in values.items()}
