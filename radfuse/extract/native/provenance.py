"""The ``diagnostics_*`` of PyRadiomics, without walking the whole image once for each."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from radiomics.generalinfo import GeneralInfo

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.extract.kernels.runs import equal_behind, shortcuts, zones

Array = npt.NDArray[Any]
Inside = npt.NDArray[np.bool_]


class Provenance:
    """What PyRadiomics notes about its input, in its order and under its names.

    Parameters
    ----------
    settings : all settings, PyRadiomics' defaults included.
    image_types : the image types asked for.
    """

    def __init__(self, settings: dict[str, Any], image_types: Mapping[str, Any]) -> None:
        self._info = GeneralInfo()
        self._info.addGeneralSettings(settings)
        self._info.addEnabledImageTypes(image_types)

    @property
    def found(self) -> dict[str, Any]:
        """All notes so far."""
        return dict(self._info.getGeneralInfo())

    def original(self, volume: Volume, mask: Mask) -> None:
        """Note image and mask as they were given."""
        self._put("Image-original_Hash", _sha1(volume.array, volume.array.dtype))
        self._put("Image-original_Dimensionality", "3D")
        self.image(volume.array, volume.geometry, "original")
        self._put("Mask-original_Hash", _sha1(mask.array, np.dtype(np.uint32)))
        self.mask(mask.inside, volume.geometry, "original")

    def image(self, image: Array, geometry: Geometry, state: str) -> None:
        """Note where an image is and what it holds."""
        self._put(f"Image-{state}_Spacing", tuple(geometry.spacing_mm))
        self._put(f"Image-{state}_Size", tuple(geometry.size))
        # Sums of whole numbers are exact in any order; of fractions they are not, and the text should be equal.
        mean = image.mean(dtype=np.float64) if image.dtype.kind in "iu" else np.mean(image.astype(np.float64))
        self._values(f"Image-{state}", mean, image)

    def mask(self, inside: Inside, geometry: Geometry, state: str, image: Array | None = None) -> None:
        """Note where a region is, how many parts it has, and what an image holds in it."""
        from radfuse.extract.native.region import box_of

        box = box_of(inside)
        starts = [part.start for part in box]
        region = inside[box]
        coordinates = np.nonzero(region)
        count = len(coordinates[0])
        self._put(f"Mask-{state}_Spacing", tuple(geometry.spacing_mm))
        self._put(f"Mask-{state}_Size", tuple(geometry.size))
        self._put(f"Mask-{state}_BoundingBox", (*starts[::-1], *region.shape[::-1]))
        self._put(f"Mask-{state}_VoxelNum", count)
        self._put(f"Mask-{state}_VolumeNum", _parts(region))
        centre = tuple(
            np.float64((int(axis.sum()) + start * count) / count)
            for axis, start in zip(coordinates[::-1], starts[::-1], strict=True)
        )
        self._put(f"Mask-{state}_CenterOfMassIndex", centre)
        grid = sitk.Image([1, 1, 1], sitk.sitkUInt8)
        grid.SetSpacing(geometry.spacing_mm)
        grid.SetOrigin(geometry.origin_mm)
        grid.SetDirection(geometry.direction)
        self._put(f"Mask-{state}_CenterOfMass", grid.TransformContinuousIndexToPhysicalPoint(centre))
        if image is not None:
            values = image[box][region].astype(np.float64)
            self._values(f"Mask-{state}", np.mean(values), values)

    def _values(self, place: str, mean: Any, values: Array) -> None:
        self._put(f"{place}_Mean", mean)
        self._put(f"{place}_Minimum", np.float64(values.min()))
        self._put(f"{place}_Maximum", np.float64(values.max()))

    def _put(self, name: str, value: Any) -> None:
        self._info.generalInfo[f"{self._info.generalInfo_prefix}{name}"] = value


def _sha1(array: Array, pixel: np.dtype[Any]) -> str:
    """Hash the voxels as `SimpleITK.Hash` does, slice by slice."""
    digest = hashlib.sha1(usedforsecurity=False)
    for plane in array:
        digest.update(np.ascontiguousarray(plane, dtype=pixel).data)
    return digest.hexdigest()


def _parts(region: Inside) -> int:
    """Count the parts of a region that touch not even at a corner."""
    padded = np.pad(region, ((1, 1), (2, 2), (1, 1)))
    ny, nx = padded.shape[1:]
    angles = np.array([(z, y, x) for z in (0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0)])
    steps = angles @ np.array([ny * nx, nx, 1])
    levels = padded.ravel().astype(np.int16)
    places = np.flatnonzero(padded).astype(np.int32)
    return len(zones(equal_behind(levels, nx, steps), levels, places, steps, *shortcuts(angles))[0])
