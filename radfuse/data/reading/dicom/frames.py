"""Where the frames of one object lie, and from stored to real values: classic, enhanced and nuclear objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from radfuse.data.reading.dicom.header import items, number, numbers, text
from radfuse.data.reading.dicom.planes import Plane, axes
from radfuse.errors import DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class Scale:
    """From stored to real values: value = stored x slope + intercept; None where the header gives none."""

    slope: float | None
    intercept: float | None


def scale_of(dataset: Dataset) -> Scale:
    """Rescale Slope and Intercept."""
    return Scale(number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept"))


def frame_planes(dataset: Dataset) -> tuple[Plane, ...]:
    """Where each frame of an enhanced object lies: by its own functional groups, or by those it shares with all."""
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    planes = []
    for own in items(dataset, "PerFrameFunctionalGroupsSequence"):
        groups = [own, *shared]
        planes.append(
            plane_of(
                group(groups, "PlanePositionSequence", "a frame's PlanePositionSequence"),
                group(groups, "PlaneOrientationSequence", "a frame's PlaneOrientationSequence"),
                group(groups, "PixelMeasuresSequence", "a frame's PixelMeasuresSequence"),
                dataset,
            )
        )
    return tuple(planes)


def frame_scales(dataset: Dataset) -> tuple[Scale, ...]:
    """The rescaling of each frame of an enhanced object."""
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    scales = []
    for own in items(dataset, "PerFrameFunctionalGroupsSequence"):
        found = [each for g in (own, *shared) for each in items(g, "PixelValueTransformationSequence")]
        scales.append(scale_of(found[0]) if found else Scale(None, None))
    return tuple(scales)


def group(groups: Sequence[Dataset], name: str, what: str) -> Dataset:
    """The first item of a functional group, the frame's own before the shared one."""
    for each in groups:
        found = items(each, name)
        if found:
            return found[0]
    raise DataError(f"{what} is missing", hint="Export the series as classic single-frame objects.")


def plane_of(position: Dataset, orientation: Dataset, measures: Dataset, image: Dataset) -> Plane:
    """Where a slice lies, its tags being in up to four data sets; DataError when it cannot be placed."""
    place, turned = numbers(position, "ImagePositionPatient"), numbers(orientation, "ImageOrientationPatient")
    spacing = numbers(measures, "PixelSpacing")
    for name, found, wanted in (
        ("ImagePositionPatient (0020,0032)", place, 3),
        ("ImageOrientationPatient (0020,0037)", turned, 6),
        ("PixelSpacing (0028,0030)", spacing, 2),
    ):
        if len(found) != wanted:
            raise DataError(
                f"{name} has {len(found)} numbers, expected {wanted}: the slices cannot be placed",
                hint="Export the series again with its geometry.",
            )
    size = int(number(image, "Rows") or 0), int(number(image, "Columns") or 0)
    return Plane((place[0], place[1], place[2]), turned, (spacing[0], spacing[1]), *size)


def nuclear_planes(dataset: Dataset) -> tuple[Plane, ...]:
    """A reconstructed SPECT: one object whose frames are slices in steps from the first (PS3.3 C.8.4.15)."""
    detectors = items(dataset, "DetectorInformationSequence")
    if len(detectors) != 1:
        raise DataError(f"DetectorInformationSequence has {len(detectors)} items, expected one with the position")
    count = int(number(dataset, "NumberOfFrames") or 1)
    vector = numbers(dataset, "SliceVector")
    if vector and sorted(vector) != [float(i) for i in range(1, count + 1)]:
        raise DataError(
            f"the {count} frames are not {count} slices of one volume (SliceVector repeats): gates or energy windows",
            hint="Export one gate and one energy window.",
        )
    step = number(dataset, "SpacingBetweenSlices")
    if not step:
        raise DataError("SpacingBetweenSlices (0018,0088) is missing", hint="Export the series with its geometry.")
    first = plane_of(detectors[0], detectors[0], dataset, dataset)
    normal = axes(first.orientation)[2]
    turns = [int(v) - 1 for v in vector] if vector else list(range(count))
    planes = []
    for turn in turns:
        x, y, z = (float(a + turn * step * n) for a, n in zip(first.position_mm, normal, strict=True))
        planes.append(Plane((x, y, z), first.orientation, first.spacing_mm, first.rows, first.columns))
    return tuple(planes)


def real_world(dataset: Dataset) -> tuple[Scale | None, str]:
    """The calibration of a nuclear image by a real-world value mapping to Bq/ml or SUV (UCUM codes)."""
    for mapping in items(dataset, "RealWorldValueMappingSequence"):
        codes = items(mapping, "MeasurementUnitsCodeSequence")
        units = {"BQ/ML": "BQML", "G/ML{SUVBW}": "GML", "{SUVBW}G/ML": "GML"}.get(
            text(codes[0], "CodeValue").upper() if codes else ""
        )
        if units:
            return Scale(number(mapping, "RealWorldValueSlope"), number(mapping, "RealWorldValueIntercept")), units
    return None, ""
