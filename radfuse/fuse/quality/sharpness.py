"""How much detail there is: SF, AG, rSFe, EPI. Differences are between neighbouring voxels, whatever their size."""

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from radfuse.fuse.quality.fidelity import correlation
from radfuse.fuse.quality.unmeasurable import Unmeasurable

Image = npt.NDArray[np.float64]

GREY = 255.0
"""SD, SF and AG are told in grey levels of an 8-bit picture, as everywhere in the literature."""


def contrast(image: Image) -> float:
    """Give SD, the standard deviation, in grey levels."""
    return GREY * float(image.std())


def spatial_frequency(image: Image) -> float:
    """Give SF = sqrt(sum over axes of the mean squared difference) [Eskicioglu & Fisher, 1995], in grey levels."""
    return GREY * math.sqrt(sum(float((np.diff(image, axis=axis) ** 2).mean()) for axis in _axes(image)))


def average_gradient(image: Image) -> float:
    """Give AG, the mean over voxels of the root mean square over axes of forward differences, in grey levels."""
    axes = _axes(image)
    squares = sum(_forward(image, axis, axes) ** 2 for axis in axes)
    return GREY * float(np.sqrt(squares / len(axes)).mean())


def spatial_frequency_error(fused: Image, sources: Sequence[Image]) -> float:
    """Give rSFe = (SF_F - SF_R) / SF_R; 0 is best, below 0 detail was lost, above 0 there is more than in any source.

    Zheng, Essock, Hansen & Haun, Inf Fusion 8:177, 2007, eqs. 3-10: SF over all directions, each weighted by
    1 / distance; SF_R takes at every voxel the largest difference of any source. 4 directions in a picture, 13 in a
    volume.
    """
    own = reference = 0.0
    for offset in directions(fused.ndim):
        weight = 1 / math.sqrt(sum(step * step for step in offset))
        own += weight * float((_difference(fused, offset) ** 2).sum())
        largest = np.maximum.reduce([np.abs(_difference(source, offset)) for source in sources])
        reference += weight * float((largest**2).sum())
    if reference == 0:
        raise Unmeasurable("no source has any detail")
    return math.sqrt(own / reference) - 1


def edge_preservation(fused: Image, sources: Sequence[Image]) -> float:
    """Give EPI, the mean over sources of the correlation of Laplacians [Sattar et al., IEEE TIP 6:888, 1997]."""
    from scipy.ndimage import laplace

    given = laplace(fused, mode="nearest")
    return float(np.mean([correlation(laplace(source, mode="nearest"), given) for source in sources]))


def directions(dimensions: int) -> Iterator[tuple[int, ...]]:
    """Give the steps to half of a voxel's neighbours, one of each opposite pair.

    Examples
    --------
    >>> list(directions(2)), len(list(directions(3)))
    ([(0, 1), (1, -1), (1, 0), (1, 1)], 13)
    """
    return (step for step in product((-1, 0, 1), repeat=dimensions) if step > (0,) * dimensions)


def _difference(image: Image, offset: Sequence[int]) -> Image:
    here = tuple(slice(max(-step, 0), length - max(step, 0)) for step, length in zip(offset, image.shape, strict=True))
    there = tuple(slice(max(step, 0), length - max(-step, 0)) for step, length in zip(offset, image.shape, strict=True))
    return image[there] - image[here]


def _forward(image: Image, axis: int, axes: Sequence[int]) -> Image:
    """Differences along one axis, at the voxels that have a next one along every axis."""
    kept = tuple(slice(0, -1) if k in axes and k != axis else slice(None) for k in range(image.ndim))
    return np.diff(image, axis=axis)[kept]


def _axes(image: Image) -> list[int]:
    return [axis for axis, length in enumerate(image.shape) if length > 1]
