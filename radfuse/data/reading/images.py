"""Volumes and masks, from and to NIfTI (.nii, .nii.gz), NRRD and MetaImage files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.data.reading.nifti import check_header, check_whole, not_finite
from radfuse.data.region import Labels, label_text
from radfuse.data.volume import Mask, Volume, geometry_of
from radfuse.errors import DataError, StageError

if TYPE_CHECKING:
    import SimpleITK as sitk

NIFTI = (".nii", ".nii.gz")
SUFFIXES = (*NIFTI, ".nrrd", ".mha")


def read_volume(path: Path, modality: str, unit: str) -> Volume:
    """Read an image, whole or not at all; the pixel type stays as it is stored.

    Parameters
    ----------
    path : .nii, .nii.gz, .nrrd or .mha.
    modality : the name the manifest gives.
    unit : what the numbers mean; nothing is converted.
    """
    volume = Volume.from_sitk(_read(path), modality, unit)
    _check_finite(path, volume.array)
    return volume


def read_mask(path: Path, label: int = 1) -> Mask:
    """Read a label map; the label has to be in it."""
    mask = read_label_map(path).of((label,))
    if not mask.voxels:
        raise label_missing(path, mask, (label,))
    return mask


def read_label_map(path: Path) -> Mask:
    """Read a label map; `Mask.of` chooses what of it is measured."""
    image = _read(path)
    try:
        return Mask.from_sitk(image)
    except DataError as error:
        raise DataError(f"{path}: {error.message}", hint=error.hint) from error


def label_missing(path: Path, label_map: Mask, labels: Labels) -> DataError:
    """Say that none of some labels is in a map, and which ones are."""
    present = ", ".join(map(str, label_map.labels)) or "none, the mask is empty"
    return DataError(
        f"{path} has no voxel of label {label_text(labels)}; labels present: {present}",
        hint="Name the label in the manifest's column `label`, or leave the mask out.",
    )


def read_geometry(path: Path) -> Geometry:
    """Read where the voxels are, from the header alone."""
    _check_there(path)
    if suffix_of(path) in NIFTI:
        check_header(path)
    reader = _reader(path)
    try:
        return Geometry(reader.GetSize(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
    except DataError as error:
        raise DataError(f"{path}: {error.message}", hint=error.hint) from error


def write_volume(path: Path, volume: Volume) -> None:
    """Write an image, old or whole; only voxels and geometry go into the file."""
    _write(path, volume.to_sitk(), volume.array, volume.geometry)


def write_mask(path: Path, mask: Mask) -> None:
    """Write a label map, old or whole."""
    _write(path, mask.to_sitk(), mask.array, mask.geometry)


def suffix_of(path: Path) -> str:
    """Give the ending of an image's name, and refuse one that is not read."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return suffix
    raise DataError(
        f"{path} is not an image that radfuse reads, expected a name ending in {', '.join(SUFFIXES)}",
        hint="For a folder of DICOM: `radfuse init STUDY --from dicom FOLDER`.",
    )


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path} does not exist", hint="Paths in the manifest are relative to its folder.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes)", hint="Copy or convert the file again.")


def _reader(path: Path) -> sitk.ImageFileReader:
    """Open a file that is there, and refuse a header that is not of a scalar volume."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    if reader.GetNumberOfComponents() != 1:
        raise DataError(
            f"{path} has {reader.GetNumberOfComponents()} numbers in each voxel, expected one",
            hint="Convert it to a grey-scale image, or choose one component.",
        )
    if reader.GetDimension() != 3:
        raise DataError(
            f"{path} has {reader.GetDimension()} dimensions, sizes {reader.GetSize()}, expected 3",
            hint="radfuse measures volumes: join the slices, or choose one volume.",
        )
    return reader


def _read(path: Path) -> sitk.Image:
    _check_there(path)
    if suffix_of(path) in NIFTI:
        check_whole(path, check_header(path))
    try:
        return _reader(path).Execute()
    except RuntimeError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: RuntimeError) -> DataError:
    reason = str(error).strip().splitlines()[-1].strip()
    if "orthonormal" in str(error):
        return DataError(
            f"{path}: the axes of the image are not at right angles to each other, expected orthonormal directions",
            hint="Resample the image onto an upright grid with the program that made it.",
        )
    return DataError(f"{path} cannot be read as an image: {reason}", hint="Copy or convert the file again.")


def _check_finite(path: Path, array: npt.NDArray[Any]) -> None:
    if array.dtype.kind != "f" or bool(np.isfinite(array).all()):
        return
    raise not_finite(path, int(np.isnan(array).sum()), int(np.isinf(array).sum()), array.size)


def _write(path: Path, image: sitk.Image, array: npt.NDArray[Any], geometry: Geometry) -> None:
    import SimpleITK as sitk

    suffix_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")  # writers choose the format by the suffix
    try:
        sitk.WriteImage(image, str(temporary), useCompression=True)
        back = sitk.ReadImage(str(temporary))  # writing returns success on a full disk
        if not np.array_equal(sitk.GetArrayViewFromImage(back), array) or not geometry_of(back).matches(geometry):
            raise StageError(f"{path} did not come back as it was written", hint="Is the disk full?")
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except RuntimeError as error:
        raise StageError(f"{path} cannot be written: {str(error).splitlines()[-1].strip()}") from error
    finally:
        temporary.unlink(missing_ok=True)
