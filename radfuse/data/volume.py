"""Volume and Mask: voxels with their place. The only file that crosses between SimpleITK and NumPy axis order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from radfuse.data.blur import Stated
from radfuse.data.continuation import gone_on
from radfuse.data.geometry import Geometry
from radfuse.errors import DataError, GeometryError

if TYPE_CHECKING:
    import SimpleITK as sitk

    from radfuse.data.deformation import Deformation, Motion
    from radfuse.data.region import Labels


@dataclass(frozen=True, eq=False)
class Volume:
    """An image: voxels (z, y, x), where they are, and what they mean.

    The pixel type is kept as read, because PyRadiomics' numbers depend on it; volumes that radfuse computes are
    float32.

    Parameters
    ----------
    array : voxels (z, y, x), a real number type; made read-only.
    geometry : the grid; its ``shape`` is the array's.
    modality : the name the manifest gives, such as CT or MR_T1, or a fused name.
    unit : HU, SUV, counts, z, a.u. or fused.
    header_fwhm_mm : what the scan's header says of its blur along its own axes; None where it says nothing.
    """

    array: npt.NDArray[Any]
    geometry: Geometry
    modality: str
    unit: str
    header_fwhm_mm: Stated | None = None

    def __post_init__(self) -> None:
        _check_shape(self.array, self.geometry, f"{self.modality} image")
        if self.array.dtype.kind not in "iuf":
            raise DataError(f"{self.modality} image has voxels of type {self.array.dtype}, expected real numbers")
        self.array.setflags(write=False)

    @classmethod
    def from_sitk(cls, image: sitk.Image, modality: str, unit: str) -> Volume:
        """Take a scalar 3-D SimpleITK image, keeping its pixel type."""
        import SimpleITK as sitk

        return cls(sitk.GetArrayFromImage(image), geometry_of(image), modality, unit)

    def to_sitk(self) -> sitk.Image:
        """Give a fresh SimpleITK image: array and geometry only, no header text travels."""
        return _to_sitk(self.array, self.geometry)

    def gone_on(self, view: Mask | None) -> Volume:
        """Go on with the image beyond what its scan covers, see `radfuse.data.continuation.gone_on`."""
        return self if view is None else self.with_array(gone_on(self.array, view.inside))

    def with_array(self, array: npt.NDArray[Any], unit: str | None = None) -> Volume:
        """Put other voxels on the same grid."""
        return replace(self, array=array, unit=self.unit if unit is None else unit)


@dataclass(frozen=True, eq=False)
class Mask:
    """A label map (z, y, x) on a grid, and which label is the region.

    Parameters
    ----------
    array : labels (z, y, x), an unsigned integer type; made read-only.
    geometry : the grid.
    label : the label that is measured.
    """

    array: npt.NDArray[Any]
    geometry: Geometry
    label: int = 1
    inside: npt.NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_shape(self.array, self.geometry, "mask")
        if self.array.dtype.kind not in "iu":
            raise DataError(f"a mask holds whole-number labels, found type {self.array.dtype}")
        inside = self.array == self.label
        inside.setflags(write=False)
        self.array.setflags(write=False)
        object.__setattr__(self, "inside", inside)

    @classmethod
    def from_sitk(cls, image: sitk.Image, label: int = 1) -> Mask:
        """Take a SimpleITK label image; whole numbers stored as floats are accepted, fractions are refused."""
        import SimpleITK as sitk

        array = sitk.GetArrayFromImage(image)
        if array.dtype.kind == "f":
            rounded = np.rint(array)
            if not np.array_equal(rounded, array):
                raise DataError(
                    f"the mask holds fractions such as {array[rounded != array].flat[0]:.4g}, expected whole labels",
                    hint="Threshold the mask before giving it to radfuse.",
                )
            array = rounded.astype(np.uint16)
        return cls(array, geometry_of(image), label)

    def of(self, labels: Labels) -> Mask:
        """Measure other labels of the same map; several together, or every one, become the one label 1."""
        if len(labels) == 1:
            return Mask(self.array, self.geometry, labels[0])
        inside = np.isin(self.array, labels) if labels else self.array != 0
        return Mask(inside.astype(np.uint8), self.geometry)

    def within(self, other: Mask | None) -> Mask:
        """Cut the region to another one on the same grid; the mask itself where that takes nothing away."""
        if other is None:
            return self
        if not self.geometry.matches(other.geometry):
            raise GeometryError(
                f"a region and what it is cut to do not share a grid: {self.geometry.differences(other.geometry)}"
            )
        if not np.any(self.inside & ~other.inside):
            return self
        return replace(self, array=np.where(other.inside, self.array, 0))

    def to_sitk(self) -> sitk.Image:
        """Give a fresh SimpleITK label image."""
        return _to_sitk(self.array, self.geometry)

    @property
    def voxels(self) -> int:
        """How many voxels the region has."""
        return int(self.inside.sum())

    @property
    def volume_ml(self) -> float:
        """Volume of the region in millilitres, by counting voxels."""
        return self.voxels * self.geometry.voxel_volume_ml

    @property
    def labels(self) -> list[int]:
        """The labels present, without the background 0."""
        return [int(value) for value in np.unique(self.array) if value != 0]


def geometry_of(image: sitk.Image) -> Geometry:
    """Read the grid of a 3-D SimpleITK image."""
    if image.GetDimension() != 3:
        raise DataError(f"expected a 3-D image, found {image.GetDimension()} dimensions")
    return Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def reference_image(geometry: Geometry) -> sitk.Image:
    """Give an empty SimpleITK image that describes a grid, for its resampling filters."""
    import SimpleITK as sitk

    image = sitk.Image(list(geometry.size), sitk.sitkUInt8)
    image.SetSpacing(geometry.spacing_mm)
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction)
    return image


def transform_to_sitk(motion: Motion) -> sitk.Transform:
    """Give SimpleITK's transform from fixed to moving points."""
    import SimpleITK as sitk

    from radfuse.data.transform import Transform

    linear = motion if isinstance(motion, Transform) else motion.linear
    matrix = linear.array
    affine = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
    if isinstance(motion, Transform):
        return affine
    bend = sitk.DisplacementFieldTransform(sitk.Cast(field_to_sitk(motion), sitk.sitkVectorFloat64))
    return sitk.CompositeTransform([affine, bend])  # the last of the list is applied first


def field_to_sitk(deformation: Deformation) -> sitk.Image:
    """Give a deformation's field as a fresh SimpleITK vector image, without its matrix."""
    import SimpleITK as sitk

    return _placed(sitk.GetImageFromArray(deformation.field_mm, isVector=True), deformation.grid)


def _to_sitk(array: npt.NDArray[Any], geometry: Geometry) -> sitk.Image:
    import SimpleITK as sitk

    return _placed(sitk.GetImageFromArray(array), geometry)


def _placed(image: sitk.Image, geometry: Geometry) -> sitk.Image:
    image.SetSpacing(geometry.spacing_mm)
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction)
    return image


def _check_shape(array: npt.NDArray[Any], geometry: Geometry, what: str) -> None:
    if array.shape != geometry.shape:
        raise GeometryError(f"{what}: array of shape {array.shape} (z, y, x) on a grid of shape {geometry.shape}")
