"""One DICOM object, looked at without its pixels: what it is, where its slices lie, what its numbers mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from radfuse.data.reading.dicom.files import File
from radfuse.data.reading.dicom.frames import (
    Scale,
    frame_planes,
    frame_scales,
    nuclear_planes,
    plane_of,
    real_world,
    scale_of,
)
from radfuse.data.reading.dicom.header import items, number, read_dataset, text, texts
from radfuse.data.reading.dicom.planes import Plane
from radfuse.data.reading.dicom.tracer import Moment, Tracer, read_moment, read_tracer
from radfuse.errors import DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# SOP classes by what they hold (PS3.4 B.5). Anything else is not an image volume that radfuse measures.
STORAGE = "1.2.840.10008.5.1.4.1.1."
KINDS = {
    f"{STORAGE}2": "CT",
    f"{STORAGE}2.1": "CT",
    f"{STORAGE}2.2": "CT",
    f"{STORAGE}4": "MR",
    f"{STORAGE}4.1": "MR",
    f"{STORAGE}4.4": "MR",
    f"{STORAGE}128": "PT",
    f"{STORAGE}20": "NM",
    f"{STORAGE}481.3": "RTSTRUCT",
    f"{STORAGE}66.4": "SEG",
    f"{STORAGE}66.7": "SEG",
}
ENHANCED_PET = {f"{STORAGE}130": "Enhanced PET", f"{STORAGE}128.1": "Legacy Converted Enhanced PET"}
REFUSED = ENHANCED_PET | {
    f"{STORAGE}4.3": "Enhanced MR Color",
    f"{STORAGE}481.2": "RT Dose",
    f"{STORAGE}7": "Secondary Capture",
}
IMAGES = ("CT", "MR", "PT", "NM")

# All that leaves the header besides geometry: physics, never a person, a place, a date or a UID.
FACTS = {
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "kernel": "ConvolutionKernel",
    "kvp": "KVP",
    "slice_thickness_mm": "SliceThickness",
    "reconstruction": "ReconstructionMethod",
    "field_strength_t": "MagneticFieldStrength",
    "repetition_time_ms": "RepetitionTime",
    "echo_time_ms": "EchoTime",
}
PERSONAL = ("PatientName", "PatientID", "PatientBirthDate", "OtherPatientIDs", "OtherPatientNames", "AccessionNumber")

NOT_NAMES = ("ct", "pt", "mr", "nm", "pet", "spect")


@dataclass(frozen=True)
class Person:
    """Who was scanned. Held in memory to group and to blot out; never written, shown or logged."""

    patient_id: str = field(repr=False)
    birth_date: str = field(repr=False)
    words: frozenset[str] = field(repr=False)

    def blot(self, words: str) -> str:
        """Strike out of a text every word of the person's name and ids, every UID and every date or long number.

        Examples
        --------
        >>> Person("123", "", frozenset({"doe"})).blot("CT of Doe, 19500102, 1.2.840.10008.1, step 3.26999999 mm")
        'CT of ***, ***, ***, step 3.26999999 mm'
        """
        plain = re.sub(r"\d+(\.\d+){3,}|(?<![\d.])\d{8,}", "***", words)
        return "".join("***" if part.casefold() in self.words else part for part in re.split(r"([^\w]+|_)", plain))


@dataclass(frozen=True)
class Instance:
    """One object without its pixels.

    Parameters
    ----------
    kind : CT, MR, PT, NM, RTSTRUCT, SEG, or the name of what radfuse does not read.
    planes, scales : of each frame.
    calibration : how a nuclear image's stored values become those of `tracer.units`; None when it does not say.
    broken : the first thing in the header that cannot be read; the series is refused with it.
    """

    file: File
    kind: str
    uid: str = field(repr=False)
    series: str = field(repr=False)
    study: str = field(repr=False)
    frame_of_reference: str = field(repr=False)
    person: Person = field(repr=False)
    study_date: str = field(repr=False)
    number: str
    description: str = field(repr=False)
    image_type: tuple[str, ...]
    syntax: str
    facts: Mapping[str, str]
    planes: tuple[Plane, ...] = ()
    scales: tuple[Scale, ...] = ()
    calibration: Scale | None = None
    tracer: Tracer | None = None
    moment: Moment | None = None
    rescale_type: str = ""
    broken: DataError | None = None


def look(file: File) -> Instance:
    """Read one header; raise DataError when the file is not a DICOM object with a series."""
    dataset = read_dataset(file, pixels=False)
    kind = KINDS.get(text(dataset, "SOPClassUID"), REFUSED.get(text(dataset, "SOPClassUID"), "another kind of object"))
    plain = Instance(
        file=file,
        kind=kind,
        uid=text(dataset, "SOPInstanceUID"),
        series=text(dataset, "SeriesInstanceUID"),
        study=text(dataset, "StudyInstanceUID"),
        frame_of_reference=text(dataset, "FrameOfReferenceUID"),
        person=_person(dataset),
        study_date=text(dataset, "StudyDate") + text(dataset, "StudyTime"),
        number=text(dataset, "SeriesNumber"),
        description=text(dataset, "SeriesDescription"),
        image_type=texts(dataset, "ImageType"),
        syntax=str(getattr(dataset.file_meta, "TransferSyntaxUID", "")),
        facts={name: found for name, tag in FACTS.items() if (found := text(dataset, tag))},
    )
    if not plain.series:
        raise DataError("a DICOM file has no SeriesInstanceUID", hint="Export the series again.")
    if kind not in IMAGES:
        return plain
    try:
        return _image(plain, dataset)
    except DataError as error:
        return replace(plain, broken=error)


def _image(plain: Instance, dataset: Dataset) -> Instance:
    if int(number(dataset, "SamplesPerPixel") or 1) != 1:
        raise DataError("the images are in colour, expected one number in each pixel")
    if "MOSAIC" in texts(dataset, "ImageType"):
        raise DataError("the slices are tiles of one image (Siemens MOSAIC)", hint="Convert it with dcm2niix.")
    if items(dataset, "ModalityLUTSequence"):
        raise DataError("ModalityLUTSequence (0028,3000) replaces the rescale slope", hint="Export with a slope.")
    rescale = text(dataset, "RescaleType").upper()
    if text(dataset, "MultienergyCTAcquisition").upper() == "YES" and rescale != "HU":
        rescale = f"{rescale or 'missing'} in a multi-energy CT"
    plain = replace(plain, rescale_type=rescale)
    if plain.kind == "NM":
        planes, scale = nuclear_planes(dataset), scale_of(dataset)
        calibration, units = real_world(dataset)
        tracer = read_tracer(dataset, units)
        if calibration is None and tracer.units:
            calibration = scale
        scales = (scale,) * len(planes)
        nuclear = replace(plain, planes=planes, scales=scales, calibration=calibration)
        return replace(nuclear, tracer=tracer, moment=read_moment(dataset))
    if "PerFrameFunctionalGroupsSequence" in dataset:
        planes, scales = frame_planes(dataset), frame_scales(dataset)
    elif int(number(dataset, "NumberOfFrames") or 1) > 1:
        raise DataError(
            "a multi-frame image without functional groups does not say where its frames lie",
            hint="Export the series as classic single-frame objects.",
        )
    else:
        planes, scales = (plane_of(dataset, dataset, dataset, dataset),), (scale_of(dataset),)
    plain = replace(plain, planes=planes, scales=scales)
    if plain.kind == "PT":
        return replace(plain, tracer=read_tracer(dataset), moment=read_moment(dataset))
    return plain


def _person(dataset: Dataset) -> Person:
    found = [text(dataset, name) for name in PERSONAL]
    parts = {part.casefold() for value in found for part in (value, *re.split(r"[\W_]+", value))}
    words = frozenset(part for part in parts if len(part) > 1 and part not in NOT_NAMES)
    return Person(text(dataset, "PatientID"), text(dataset, "PatientBirthDate"), words)
