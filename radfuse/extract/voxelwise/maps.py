"""From a volume and its region to one map for each feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from radiomics import cMatrices, imageoperations

from radfuse.data.box import Box
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError, GeometryError
from radfuse.extract.containment import contained
from radfuse.extract.kernels.levels import digitise
from radfuse.extract.measurement import PyRadiomicsMeasure
from radfuse.extract.native import HandOver
from radfuse.extract.native.filters import Filtered, Source, filtered
from radfuse.extract.native.region import Prepared, prepare
from radfuse.extract.voxelwise.classes import NAMES, Classes
from radfuse.extract.voxelwise.kernels import COMPILED, Kernels
from radfuse.extract.voxelwise.neighbourhood import Levels, Neighbourhood

Array = npt.NDArray[Any]
Settings = Mapping[str, Any]

MOST_LEVELS = 10_000


@dataclass(frozen=True)
class Surroundings:
    """How the maps of one volume are made.

    Parameters
    ----------
    radius : of the neighbourhood, in voxels.
    masked : whether only voxels of the region count in it; otherwise all of the image do.
    outside : value of a map where there is none.
    threads : how many threads share the work; no number depends on it.
    kernels : who computes: compiled loops, or tensors on a device, see `kernels_on`.
    """

    radius: int = 1
    masked: bool = True
    outside: float = float("nan")
    threads: int = 1
    kernels: Kernels = COMPILED


def voxel_maps(
    volume: Volume, mask: Mask, parameters: Settings, features: Iterable[str], around: Surroundings
) -> Iterator[tuple[str, Volume]]:
    """Give the maps of some features, by PyRadiomics' names, as float32 volumes.

    The grid is that of the image that is measured: the volume's own, or the resampled or cropped one where the
    parameters ask for such. The values are those of `radiomics` with ``voxelBased=True`` and ``voxelBatch: 1``.

    Parameters
    ----------
    volume : the image, pixel type as it was read.
    mask : its region, on the same grid.
    parameters : the contents of a PyRadiomics parameter file.
    features : names such as ``original_glcm_Contrast``.
    around : the neighbourhood.
    """
    measure = PyRadiomicsMeasure(parameters, MOST_LEVELS)
    measure.check(volume, mask)
    if not mask.geometry.matches(volume.geometry):
        raise GeometryError(
            f"mask and {volume.modality} do not share a grid: {volume.geometry.differences(mask.geometry)}",
            hint="Run `radfuse align` first; correctMask does not work voxel by voxel.",
        )
    wanted = _by_class(features)
    extractor = measure.extractor
    settings = {**extractor.settings, "label": mask.label}
    with _as_pyradiomics(volume.modality):
        prepared = prepare(volume, mask, settings, None)
        inside, source = _widened(prepared, mask.label, around)
    for image_type, own in extractor.enabledImagetypes.items():
        if image_type == "LBP3D" and not around.masked:
            raise DataError("LBP3D has values in the region only", hint="Let only the region count in neighbourhoods.")
        # Drawn one by one, so that PyRadiomics' settings are kept to it while the maps are written.
        images = filtered(source, image_type, {**settings, **own})
        while (image := _next(images, volume.modality)) is not None:
            chosen = {kind: names for (name, kind), names in wanted.items() if name == image.name}
            if not chosen:
                continue
            measure.grey_levels(image.values.min(), image.values.max(), image.name, image.settings)
            with _as_pyradiomics(volume.modality):
                classes = _classes(source.prepared, inside, image, around)
            for kind, names in chosen.items():
                for feature, values in classes.features(kind, names).items():
                    array = np.full(prepared.image.shape, around.outside, np.float32)
                    array[source.prepared.box][inside] = values
                    found = Volume(array, prepared.geometry, volume.modality, "a.u.")
                    yield f"{image.name}_{kind}_{feature}", found


def computed(name: str) -> bool:
    """Whether a feature has a map: shape has none, nor have features that PyRadiomics gave up."""
    kind, _, feature = name.partition("_")[2].partition("_")
    return bool(feature) and feature in NAMES.get(kind, ())


@contextmanager
def _as_pyradiomics(name: str) -> Iterator[None]:
    """Keep PyRadiomics to itself, and say as bad data what it cannot do."""
    try:
        with contained():
            yield
    except (HandOver, ValueError, RuntimeError) as reason:
        raise DataError(
            f"no voxel-wise map of {name} can be made: {str(reason).strip().splitlines()[-1]}",
            hint="Look at the region: its size, its label and its grid.",
        ) from reason


def _next(images: Iterator[Filtered], name: str) -> Filtered | None:
    with _as_pyradiomics(name):
        return next(images, None)


def _by_class(features: Iterable[str]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for name in features:
        image, kind, feature = name.split("_", 2)
        found.setdefault((image, kind), set()).add(feature)
    return found


def _widened(prepared: Prepared, label: int, around: Surroundings) -> tuple[npt.NDArray[np.bool_], Source]:
    """Put as much of the image around the box as neighbourhoods reach; give the region in it, and what is filtered."""
    box: Box = tuple(
        slice(max(0, part.start - around.radius), min(size, part.stop + around.radius))
        for part, size in zip(prepared.box, prepared.image.shape, strict=True)
    )  # type: ignore[assignment]
    inner = tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(prepared.box, box, strict=True))
    inside = np.zeros(tuple(part.stop - part.start for part in box), bool)
    inside[inner] = prepared.region
    counted = inside if around.masked else np.ones_like(inside)
    return inside, Source(replace(prepared, region=counted, outline=counted, box=box), label)


def _classes(prepared: Prepared, inside: npt.NDArray[np.bool_], image: Filtered, around: Surroundings) -> Classes:
    """Cut an image into grey levels once, and lay its neighbourhoods out."""
    counted, values = prepared.region, image.values
    extremes = np.array([values.min(), values.max()])
    as_floats = np.ascontiguousarray(values, dtype=np.float64)
    texture = _levels(counted, inside, as_floats, extremes, image.settings, around.radius)
    # First order cuts the grey levels after it has made the pixels double; the edges may differ in the last digit.
    intensity = _levels(counted, inside, as_floats, extremes.astype(np.float64), image.settings, around.radius)
    padded = np.zeros(tuple(size + 2 * around.radius for size in counted.shape))
    padded[_inner(padded.shape, around.radius)][counted] = as_floats
    neighbourhood = Neighbourhood(around.radius, image.settings, prepared.spacing_mm)
    steps = _first_order_cells(counted, inside, image.settings, around) @ intensity.strides
    voxel_mm3 = float(np.multiply.reduce(prepared.geometry.spacing_mm))
    return Classes(
        texture, intensity, padded.ravel(), neighbourhood, steps, image.settings, voxel_mm3, around.threads,
        around.kernels,
    )  # fmt: skip


def _levels(
    counted: npt.NDArray[np.bool_], inside: npt.NDArray[np.bool_], values: Array, extremes: Array, settings: Settings,
    radius: int,
) -> Levels:  # fmt: skip
    edges = np.asarray(imageoperations.getBinEdges(extremes, **settings), dtype=np.float64)
    if len(edges) > np.iinfo(np.int16).max:
        raise DataError(
            f"the image would be cut into {len(edges)} grey levels", hint="Widen setting.binWidth; 10 to 128 are usual."
        )
    shape = tuple(size + 2 * radius for size in counted.shape)
    grey = np.zeros(shape, np.int16)
    inner = _inner(shape, radius)
    grey[inner][counted] = digitise(values, edges)
    where = np.zeros(shape, bool)
    where[inner] = inside
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    return Levels(grey.ravel(), np.flatnonzero(where), strides)


def _inner(shape: Sequence[int], radius: int) -> tuple[slice, ...]:
    return tuple(slice(radius, size - radius) for size in shape)


def _first_order_cells(
    counted: npt.NDArray[np.bool_], inside: npt.NDArray[np.bool_], settings: Settings, around: Surroundings
) -> npt.NDArray[np.int64]:
    """Give the cells (cell, 3) of first order in PyRadiomics' order, those that the region is too thin for left out."""
    size = np.ptp(np.argwhere(inside), axis=0) + 1 if around.masked else np.array(counted.shape)
    reach = np.minimum(size, 2 * around.radius + 1)
    flat, axis = settings.get("force2D", False), settings.get("force2Ddimension", 0)
    found = cMatrices.generate_angles(reach, np.arange(1, around.radius + 1), True, flat, axis)
    return np.vstack([found, np.zeros((1, 3), found.dtype)]).astype(np.int64)
