"""Small DICOM objects with a known content, written with pydicom as a scanner would."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

STORAGE = "1.2.840.10008.5.1.4.1.1."
CLASSES = {"CT": "2", "MR": "4", "PT": "128", "NM": "20", "RTSTRUCT": "481.3", "OT": "7"}
UPRIGHT = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
BIRTH = "19470203"
NAME = "QUICKSILVER^ZEBEDEE"


def uid(*words: object) -> str:
    """A UID that the words decide."""
    return generate_uid(entropy_srcs=[str(word) for word in words])


def header(kind: str, patient: str, series: str, instance: int) -> FileDataset:
    """An object with a patient, a study and a series, and nothing else."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = STORAGE + CLASSES[kind]
    meta.MediaStorageSOPInstanceUID = uid(patient, series, instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = uid(patient, "study")
    ds.SeriesInstanceUID = uid(patient, series)
    ds.FrameOfReferenceUID = uid(patient, "frame")
    ds.Modality = kind
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = NAME, patient, BIRTH
    ds.PatientSex, ds.PatientWeight, ds.PatientSize = "M", "70", "1.75"
    ds.StudyDate, ds.SeriesDate, ds.AcquisitionDate = "20210504", "20210504", "20210504"
    ds.SeriesTime = ds.AcquisitionTime = "110000"
    ds.Manufacturer, ds.ManufacturerModelName = "ACME", "Scanner 3000"
    ds.InstitutionName = "St Elsewhere"
    ds.ReferringPhysicianName = "CRUSHER^BEVERLY"
    ds.SeriesNumber = 3
    ds.SeriesDescription = series
    ds.InstanceNumber = instance
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    return ds


def put_pixels(ds: Dataset, array: np.ndarray) -> None:
    """Give an object int16 pixels."""
    ds.Rows, ds.Columns = array.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelData = array.astype("<i2").tobytes()


def tracer(ds: Dataset, **changes: Any) -> None:
    """Give an object a PET header: 1 h after 370 MBq with a half-life of 1 h, Bq/ml, decay corrected to the start."""
    drug = Dataset()
    drug.RadiopharmaceuticalStartTime = "100000"
    drug.RadiopharmaceuticalStartDateTime = "20210504100000"
    drug.RadionuclideTotalDose = "370000000"
    drug.RadionuclideHalfLife = "3600"
    ds.Units, ds.DecayCorrection = "BQML", "START"
    ds.CorrectedImage = ["DECY", "ATTN", "SCAT"]
    ds.FrameReferenceTime, ds.ActualFrameDuration = "0", "120000"
    for name, value in changes.items():
        target = drug if name.startswith("Radio") else ds
        if value is None:
            if name in target:
                delattr(target, name)
        else:
            setattr(target, name, value)
    ds.RadiopharmaceuticalInformationSequence = Items([drug])


def write_series(
    folder: Path,
    kind: str,
    array: np.ndarray,
    *,
    patient: str = "PAT-0001",
    series: str = "",
    positions: Sequence[Sequence[float]] | None = None,
    orientation: Sequence[float] = UPRIGHT,
    spacing: tuple[float, float] = (2.0, 1.5),
    step: float = 3.0,
    slopes: Sequence[float] | float | None = 1.0,
    intercept: float = 0.0,
    changes: Mapping[str, Any] | None = None,
    each: Sequence[Mapping[str, Any]] | None = None,
) -> list[FileDataset]:
    """Write stored pixels (z, y, x) as one file per slice, in a shuffled order of names, and give the objects."""
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:])
    made = []
    for k, plane in enumerate(array):
        ds = header(kind, patient, series or kind, k + 1)
        place = positions[k] if positions is not None else np.array([-20.0, 10.0, 50.0]) + k * step * normal
        ds.ImagePositionPatient = [f"{value:.6f}" for value in place]
        ds.ImageOrientationPatient = [f"{value:.8f}" for value in orientation]
        ds.PixelSpacing = list(spacing)
        ds.SliceThickness = str(step)
        if slopes is not None:
            ds.RescaleSlope = str(slopes if isinstance(slopes, float) else slopes[k])
            ds.RescaleIntercept = str(intercept)
        put_pixels(ds, plane)
        own = {**(changes or {}), **(each[k] if each else {})}
        if kind == "PT":
            tracer(ds, **{name: value for name, value in own.items() if name != "private"})
        else:
            for name, value in own.items():
                delattr(ds, name) if value is None else setattr(ds, name, value)
        for group, creator, element, value in own.get("private", ()):
            ds.private_block(group, creator, create=True).add_new(element, "LO", value)
        ds.save_as(folder / f"{(k * 7) % len(array):03d}-{series or kind}-{k}.dcm", enforce_file_format=True)
        made.append(ds)
    return made


def write_rtstruct(
    folder: Path,
    images: Sequence[Dataset],
    rois: Mapping[str, Sequence[np.ndarray]],
    *,
    name: str = "RS",
    **changes: Any,
) -> FileDataset:
    """Write closed contours (points, 3) in mm, by ROI name, drawn on a series."""
    folder.mkdir(parents=True, exist_ok=True)
    patient = images[0].PatientID
    ds = header("RTSTRUCT", patient, name, 1)
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    study.RTReferencedSeriesSequence = Items([series])
    frame.FrameOfReferenceUID = images[0].FrameOfReferenceUID
    frame.RTReferencedStudySequence = Items([study])
    ds.ReferencedFrameOfReferenceSequence = Items([frame])
    listed, drawn = [], []
    for number, (roi, contours) in enumerate(rois.items(), 1):
        entry, lines = Dataset(), Dataset()
        entry.ROINumber, entry.ROIName = number, roi
        entry.ReferencedFrameOfReferenceUID = changes.get("frame", images[0].FrameOfReferenceUID)
        lines.ReferencedROINumber = number
        lines.ContourSequence = Items([_contour(points, changes.get("kind", "CLOSED_PLANAR")) for points in contours])
        listed.append(entry)
        drawn.append(lines)
    ds.StructureSetROISequence, ds.ROIContourSequence = Items(listed), Items(drawn)
    ds.save_as(folder / f"{name}.dcm", enforce_file_format=True)
    return ds


def write_segmentation(folder: Path, images: Sequence[Dataset], segments: Mapping[str, np.ndarray]) -> None:
    """Write a binary segmentation (z, y, x for each label), a frame for each slice that a segment is in."""
    ds = header("RTSTRUCT", images[0].PatientID, "SEG", 1)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = STORAGE + "66.4"
    ds.Modality, ds.SegmentationType = "SEG", "BINARY"
    series, shared, orientation, measures = Dataset(), Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    ds.ReferencedSeriesSequence = Items([series])
    orientation.ImageOrientationPatient = images[0].ImageOrientationPatient
    measures.PixelSpacing = images[0].PixelSpacing
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Items([orientation]), Items([measures])
    ds.SharedFunctionalGroupsSequence = Items([shared])
    listed, frames, planes = [], [], []
    for number, (label, array) in enumerate(segments.items(), 1):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, label
        listed.append(segment)
        for k in np.flatnonzero(array.any(axis=(1, 2))):
            frame, place, which = Dataset(), Dataset(), Dataset()
            place.ImagePositionPatient = images[k].ImagePositionPatient
            which.ReferencedSegmentNumber = number
            frame.PlanePositionSequence, frame.SegmentIdentificationSequence = Items([place]), Items([which])
            frames.append(frame)
            planes.append(array[k])
    ds.SegmentSequence, ds.PerFrameFunctionalGroupsSequence = Items(listed), Items(frames)
    ds.Rows, ds.Columns, ds.NumberOfFrames = *planes[0].shape, len(planes)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = ds.PixelRepresentation = 0
    packed = np.packbits(np.array(planes, np.uint8).ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    ds.save_as(folder / "seg.dcm", enforce_file_format=True)


def write_spect(
    folder: Path, stored: np.ndarray, *, patient: str = "PAT-1", units: str = "", slices: Any = None
) -> None:
    """Write a reconstructed nuclear image; with units, calibrated by a real-world value mapping of slope 0.25."""
    ds = header("NM", patient, "Bone SPECT", 1)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    put_pixels(ds, stored)
    ds.NumberOfFrames, ds.PixelSpacing, ds.SpacingBetweenSlices = len(stored), [4.0, 4.0], "4"
    ds.SliceVector = slices or list(range(1, len(stored) + 1))
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [0, 0, 10], [1, 0, 0, 0, 1, 0]
    ds.DetectorInformationSequence = Items([detector])
    if units:
        tracer(ds, Units=None)
        mapping, code = Dataset(), Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = units, "UCUM", "unit"
        mapping.MeasurementUnitsCodeSequence = Items([code])
        mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 0.25, 0.0
        ds.RealWorldValueMappingSequence = Items([mapping])
    folder.mkdir(parents=True, exist_ok=True)
    ds.save_as(folder / f"{patient}.dcm", enforce_file_format=True)


def _contour(points: np.ndarray, kind: str) -> Dataset:
    contour = Dataset()
    contour.ContourGeometricType = kind
    contour.NumberOfContourPoints = len(points)
    contour.ContourData = [f"{value:.4f}" for value in np.asarray(points).ravel()]
    return contour


def box(z: float, left: float, right: float, top: float, bottom: float) -> np.ndarray:
    """A rectangle in the plane z, in mm."""
    return np.array([(left, top, z), (right, top, z), (right, bottom, z), (left, bottom, z)])
