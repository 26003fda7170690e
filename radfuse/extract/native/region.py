"""From a volume and its mask to the image and the region that PyRadiomics would measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from radiomics import imageoperations

from radfuse.data.box import Box
from radfuse.data.box import box_of as least_box
from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.extract.native import HandOver
from radfuse.extract.native.provenance import Provenance
from radfuse.extract.native.resampling import resampled

Array = npt.NDArray[Any]
Inside = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Prepared:
    """What is filtered and measured.

    Parameters
    ----------
    image : the image that filters see, (z, y, x), of PyRadiomics' pixel type.
    geometry : its grid.
    region : the voxels that are measured, resegmented if asked for, in their bounding box.
    outline : the voxels whose shape is measured, in the same box.
    box : where the box is in the image.
    """

    image: Array
    geometry: Geometry
    region: Inside
    outline: Inside
    box: Box

    @property
    def spacing_mm(self) -> npt.NDArray[np.float64]:
        """Voxel size along z, y, x."""
        return np.array(self.geometry.spacing_mm[::-1])

    def around(self, margin: tuple[int, ...]) -> tuple[Array, Box]:
        """Cut out the box with a margin along z, y, x, as far as the image goes; say where the box is in it."""
        starts = [max(0, part.start - more) for part, more in zip(self.box, margin, strict=True)]
        stops = [
            min(size, part.stop + more) for size, part, more in zip(self.image.shape, self.box, margin, strict=True)
        ]
        cut = tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))
        inner = tuple(slice(p.start - s, p.stop - s) for p, s in zip(self.box, starts, strict=True))
        return self.image[cut], inner  # type: ignore[return-value]


def prepare(volume: Volume, mask: Mask, settings: Mapping[str, Any], notes: Provenance | None) -> Prepared:
    """Normalise, resample or crop, and resegment, as PyRadiomics does.

    Raises `HandOver` where PyRadiomics refuses the region: it says why itself.
    """
    image, inside, geometry = volume.array, mask.inside, volume.geometry
    if notes:
        notes.original(volume, mask)
    if settings.get("normalize", False):
        image = sitk.GetArrayFromImage(imageoperations.normalizeImage(volume.to_sitk(), **settings))
    if settings.get("interpolator") is not None and settings.get("resampledPixelSpacing") is not None:
        whole = Volume(image, geometry, volume.modality, volume.unit)
        image, inside, geometry = resampled(whole, mask, settings, box_of(inside))
        if notes:
            notes.image(image, geometry, "interpolated")
            notes.mask(inside, geometry, "interpolated", image)
    elif settings.get("preCrop", False):
        _check(inside, box_of(inside), settings)
        image, inside, geometry = _cropped(image, inside, geometry, settings.get("padDistance", 0))
    box = box_of(inside)
    _check(inside[box], box, settings)
    region = inside[box]
    if settings.get("resegmentRange") is not None:
        box, region = _resegmented(image[box], region, box, settings)
        if notes:
            found = np.zeros_like(inside)
            found[box] = region
            notes.mask(found, geometry, "resegmented", image)
    outline = region if settings.get("resegmentShape", False) else inside[box]
    return Prepared(image, geometry, region, outline, box)


def box_of(inside: Inside) -> Box:
    """Give the bounding box of a region, which is not to be empty."""
    box = least_box(inside)
    if not inside[box].size:
        raise HandOver("the region is empty")
    return box


def _check(region: Inside, box: Box, settings: Mapping[str, Any]) -> None:
    wide = sum(part.stop - part.start > 1 for part in box)
    least = settings.get("minimumROISize")
    if wide == 0 or wide < settings.get("minimumROIDimensions", 2) or (least is not None and region.sum() <= least):
        raise HandOver("the region is below the minimum")


def _cropped(image: Array, inside: Inside, geometry: Geometry, pad: int) -> tuple[Array, Inside, Geometry]:
    box = box_of(inside)
    cut = tuple(
        slice(max(0, part.start - pad), min(size, part.stop + pad))
        for part, size in zip(box, inside.shape, strict=True)
    )
    start = np.array([part.start for part in cut[::-1]] + [1.0])
    origin = tuple(float(value) for value in (geometry.index_to_physical @ start)[:3])
    part = inside[cut]
    size = tuple(part.shape[::-1])
    return image[cut], part, Geometry(size, geometry.spacing_mm, origin, geometry.direction)  # type: ignore[arg-type]


def _resegmented(image: Array, region: Inside, box: Box, settings: Mapping[str, Any]) -> tuple[Box, Inside]:
    values = image[region]
    limits = sorted(settings["resegmentRange"])
    mode = settings.get("resegmentMode", "absolute")
    if not 1 <= len(limits) <= 2 or mode not in ("absolute", "relative", "sigma"):
        raise HandOver("resegmentation is not as PyRadiomics knows it")
    if mode == "relative":
        limits = [values.max() * limit for limit in limits]
    elif mode == "sigma":
        mean, spread = np.mean(values), np.std(values)
        limits = [mean + spread * limit for limit in limits]
    kept = values >= limits[0]
    if len(limits) == 2:
        kept &= values <= limits[1]
    if kept.sum() <= 1:
        raise HandOver("resegmentation leaves hardly a voxel")
    found = np.zeros_like(region)
    found[region] = kept
    inner = box_of(found)
    outer = tuple(slice(o.start + i.start, o.start + i.stop) for o, i in zip(box, inner, strict=True))
    _check(found[inner], outer, settings)  # type: ignore[arg-type]
    return outer, found[inner]  # type: ignore[return-value]
