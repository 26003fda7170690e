"""PyRadiomics' image types, each computed no further than its values in the region need.

The libraries and the order of operations are PyRadiomics' own [imageoperations.py, version 3.0.1], so that values
agree to the last digit and no voxel changes its grey level.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from radiomics import imageoperations

from radfuse.extract.native.laplacian import laplacian
from radfuse.extract.native.region import Prepared
from radfuse.extract.native.wavelet import Stationary

Array = npt.NDArray[Any]
Settings = Mapping[str, Any]

# PyRadiomics' messages are part of its answer: they are the reason why a value is missing.
log = logging.getLogger("radiomics.imageoperations")

# ITK's recursive filter forgets its start by a factor of e per half sigma: nothing is left of it after this many.
FORGOTTEN_SIGMAS = 24


@dataclass(frozen=True)
class Filtered:
    """One image of an image type.

    Parameters
    ----------
    name : PyRadiomics' name of it, such as ``wavelet-LLH``.
    values : the voxels of the region, in order, of PyRadiomics' pixel type.
    settings : PyRadiomics settings, those of the image type included.
    """

    name: str
    values: Array
    settings: Settings


@dataclass(frozen=True)
class Source:
    """What the filters see.

    Parameters
    ----------
    prepared : the image and the region.
    label : the region's label in the mask.
    wide : gives the image with at least this many voxels around the region, for LoG with its full margin.
    by_pyradiomics : takes notes of image types that were handed over.
    """

    prepared: Prepared
    label: int
    wide: Callable[[int], Prepared] | None = None
    by_pyradiomics: list[str] = field(default_factory=list)


def filtered(source: Source, image_type: str, settings: Settings) -> Iterator[Filtered]:
    """Give every image of an image type."""
    for name, values in FILTERS.get(image_type, _by_pyradiomics(image_type))(source, settings):
        yield Filtered(name, values, settings)


Named = Iterator[tuple[str, Array]]


def _by_pyradiomics(image_type: str) -> Callable[[Source, Settings], Named]:
    def handed_over(source: Source, settings: Settings) -> Named:
        prepared = source.prepared
        mask = np.zeros(prepared.image.shape, np.uint32)
        mask[prepared.box][prepared.region] = source.label
        image, region = to_sitk(prepared.image, prepared.spacing_mm), to_sitk(mask, prepared.spacing_mm)
        function = getattr(imageoperations, f"get{image_type}Image")
        source.by_pyradiomics.append(f"the filter {image_type}")
        for found, name, _ in function(image, region, **settings):
            yield name, sitk.GetArrayViewFromImage(found)[prepared.box][prepared.region]

    return handed_over


def to_sitk(array: Array, spacing_mm: npt.NDArray[np.float64]) -> sitk.Image:
    """Give an image with this spacing along z, y, x; where it lies plays no part in what is computed here."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1].tolist())
    return image


def _original(source: Source, settings: Settings) -> Named:
    yield "original", source.prepared.image[source.prepared.box][source.prepared.region]


def _voxelwise(name: str, function: Callable[[Array, np.float64], Array]) -> Callable[[Source, Settings], Named]:
    """A filter of single voxels that is scaled by the largest absolute value of the whole image."""

    def scaled(source: Source, settings: Settings) -> Named:
        prepared = source.prepared
        largest = max(abs(np.float64(prepared.image.min())), abs(np.float64(prepared.image.max())))
        values = prepared.image[prepared.box][prepared.region].astype("float64")
        yield name, function(values, largest)

    return scaled


def _square(values: Array, largest: np.float64) -> Array:
    coefficient = 1 / np.sqrt(largest)
    return np.asarray((coefficient * values) ** 2)


def _square_root(values: Array, largest: np.float64) -> Array:
    values[values > 0] = np.sqrt(values[values > 0] * largest)
    values[values < 0] = -np.sqrt(-values[values < 0] * largest)
    return values


def _logarithm(values: Array, largest: np.float64) -> Array:
    values[values > 0] = np.log(values[values > 0] + 1)
    values[values < 0] = -np.log(-(values[values < 0] - 1))
    return np.asarray(values * (largest / np.log(np.array([largest]) + 1)[0]))


def _exponential(values: Array, largest: np.float64) -> Array:
    coefficient = np.log(largest) / largest
    return np.asarray(np.exp(coefficient * values))


def _gradient(source: Source, settings: Settings) -> Named:
    prepared = source.prepared
    image, box = prepared.around((1, 1, 1))
    gradient = sitk.GradientMagnitudeImageFilter()
    gradient.SetUseImageSpacing(settings.get("gradientUseSpacing", True))
    found = gradient.Execute(to_sitk(image, prepared.spacing_mm))
    yield "gradient", sitk.GetArrayViewFromImage(found)[box][prepared.region]


def _log(source: Source, settings: Settings) -> Named:
    prepared = source.prepared
    size, spacing = np.array(prepared.image.shape[::-1]), prepared.spacing_mm[::-1]
    if np.min(size) < 4:
        log.warning(f"Image too small to apply LoG filter, size: {size}")
        return
    for sigma in settings.get("sigma", []):
        if not np.all(size >= np.ceil(sigma / spacing) + 1):
            needed = f"sigma({sigma})/spacing({spacing}) + 1 must be greater than the size({size})"
            log.warning(f"applyLoG: {needed} of the inputImage")
            continue
        if source.wide is not None:
            prepared = source.wide(int(np.ceil(8 * sigma / spacing.min())))
        margin = tuple(int(np.ceil(FORGOTTEN_SIGMAS * sigma / step)) for step in prepared.spacing_mm)
        image, box = prepared.around(margin)
        found = laplacian(image, box, prepared.spacing_mm, sigma)
        yield f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D", found[prepared.region]


def _wavelet(source: Source, settings: Settings) -> Named:
    prepared = source.prepared
    axes = [2, 1, 0]
    if settings.get("force2D", False):
        axes.remove(settings.get("force2Ddimension", 0))
    first, levels = settings.get("start_level", 0), settings.get("level", 1)
    transform = Stationary(settings.get("wavelet", "coif1"), prepared, first + levels)
    for level in range(first + levels):
        bands = transform.step(tuple(axes))
        number = level - first + 1
        prefix = "wavelet-" if number == 1 else f"wavelet{number}-"
        # The approximation is given once, after the last level.
        chosen = list(bands)[1:] if number >= 1 else []
        for band in chosen + ["a" * len(axes)] * (number == levels):
            yield f"{prefix}{band.replace('a', 'L').replace('d', 'H')}", bands[band][transform.box][prepared.region]


def _lbp_2d(source: Source, settings: Settings) -> Named:
    prepared = source.prepared
    axis = settings.get("force2Ddimension", 0)
    # Each slice is taken on its own, and whole: a shift would change the rounding that decides between equal voxels.
    cut = tuple(part if index == axis else slice(None) for index, part in enumerate(prepared.box))
    box = tuple(slice(None) if index == axis else part for index, part in enumerate(prepared.box))
    image = to_sitk(np.ascontiguousarray(prepared.image[cut]), prepared.spacing_mm)
    for found, name, _ in imageoperations.getLBP2DImage(image, None, **settings):
        yield name, sitk.GetArrayViewFromImage(found)[box][prepared.region]


FILTERS: dict[str, Callable[[Source, Settings], Named]] = {
    "Original": _original,
    "LoG": _log,
    "Wavelet": _wavelet,
    "Square": _voxelwise("square", _square),
    "SquareRoot": _voxelwise("squareroot", _square_root),
    "Logarithm": _voxelwise("logarithm", _logarithm),
    "Exponential": _voxelwise("exponential", _exponential),
    "Gradient": _gradient,
    "LBP2D": _lbp_2d,
}
