"""Volumes out of written DICOM, against the numbers that were written and against SimpleITK's own reader."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, JPEGLosslessSV1, RLELossless
from synthetic_dicom import STORAGE, header, put_pixels, uid, write_series, write_spect

from radfuse.data.reading.dicom.files import files_of
from radfuse.data.reading.dicom.plan import Choices, plan_patient
from radfuse.data.reading.dicom.series import Series, find_series, name_of, names_of, unusable
from radfuse.data.reading.dicom.volumes import plan_volume, read_volume
from radfuse.data.volume import Volume, geometry_of
from radfuse.errors import ConfigError, DataError

PRIVATE = "1.2.840.113619.5.99"
OBLIQUE = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 2000, (5, 6, 7)).astype(np.int16)


def only(folder: Path) -> Series:
    (series,) = find_series(files_of(folder)).series
    return series


def read(folder: Path, **options: Any) -> Volume:
    return read_volume(plan_volume(only(folder), **options), "X")


def refused(folder: Path, match: str) -> None:
    with pytest.raises(DataError, match=match):
        plan_volume(only(folder))


def test_ct_is_in_hounsfield_units_where_simpleitk_has_it(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path, "CT", stored, orientation=OBLIQUE, intercept=-1024.0)
    volume = read(tmp_path)
    assert (volume.unit, volume.array.dtype) == ("HU", np.int16)
    np.testing.assert_array_equal(volume.array, stored - 1024)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    theirs = reader.Execute()
    assert volume.geometry.matches(geometry_of(theirs))
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(theirs))


def test_ct_slopes_and_intercepts_are_applied_slice_by_slice(tmp_path: Path, stored: np.ndarray) -> None:
    each = [{"RescaleIntercept": str(-1000 - k)} for k in range(5)]
    write_series(tmp_path, "CT", stored, slopes=[1.0, 2.0, 0.5, 1.0, 1.0], each=each)
    expected = stored * np.array([1.0, 2.0, 0.5, 1.0, 1.0])[:, None, None] - (1000 + np.arange(5))[:, None, None]
    volume = read(tmp_path)
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, expected, rtol=1e-6)


def test_pet_is_in_suv_with_the_slope_of_each_slice(tmp_path: Path, stored: np.ndarray) -> None:
    slopes = [0.5, 1.5, 2.5, 3.5, 4.5]
    write_series(tmp_path, "PT", stored, slopes=slopes)
    volume = read(tmp_path)
    assert volume.unit == "SUV"
    expected = stored * np.array(slopes)[:, None, None] * 70_000 / 185e6
    np.testing.assert_allclose(volume.array, expected, rtol=1e-6)
    lean = read(tmp_path, suv="lbm_janma")
    mass = 1000 * 9270 * 70 / (6680 + 216 * 70 / 1.75**2)
    np.testing.assert_allclose(lean.array, expected * mass / 70_000, rtol=1e-6)


def test_mr_stays_as_it_is(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path, "MR", stored, slopes=None)
    volume = read(tmp_path)
    assert (volume.unit, volume.array.dtype) == ("a.u.", np.int16)
    np.testing.assert_array_equal(volume.array, stored)


def test_contradictions_between_slices_are_refused(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path / "a", "PT", stored, each=[{"PatientWeight": str(70 + (k == 2))} for k in range(5)])
    refused(tmp_path / "a", "slices of one series disagree about body")
    write_series(
        tmp_path / "b", "MR", stored, each=[{"RescaleSlope": "2"} if k else {"RescaleSlope": None} for k in range(5)]
    )
    refused(tmp_path / "b", "mixed rescale: RescaleSlope .* is in 4 of 5")
    write_series(tmp_path / "c", "CT", stored, slopes=None)
    refused(tmp_path / "c", "its unit is unknown")
    write_series(tmp_path / "d", "CT", stored, changes={"RescaleType": "US", "ImageType": ["DERIVED", "PRIMARY"]})
    refused(tmp_path / "d", "RescaleType .* is US, expected HU")
    write_series(tmp_path / "d2", "CT", stored, changes={"RescaleType": "US"})
    assert read(tmp_path / "d2").unit == "HU"
    write_series(tmp_path / "d3", "CT", stored, changes={"RescaleType": "HU_MOD"})
    refused(tmp_path / "d3", "RescaleType .* is HU_MOD")
    write_series(tmp_path / "d4", "CT", stored, changes={"MultienergyCTAcquisition": "YES"})
    refused(tmp_path / "d4", "is missing in a multi-energy CT, expected HU")
    write_series(tmp_path / "e", "PT", stored, slopes=None)
    refused(tmp_path / "e", "RescaleSlope .* missing in a PET")
    write_series(tmp_path / "f", "CT", stored, slopes=0.0)
    refused(tmp_path / "f", "RescaleSlope .* is 0")
    write_series(tmp_path / "g", "CT", stored, changes={"ImagePositionPatient": None})
    refused(tmp_path / "g", r"ImagePositionPatient \(0020,0032\) has 0 numbers")
    write_series(tmp_path / "h", "CT", stored, changes={"SamplesPerPixel": 3})
    refused(tmp_path / "h", "in colour")


def test_a_file_given_twice_is_named(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path / "a", "CT", stored)
    copied = sorted(tmp_path.rglob("*.dcm"))[0]
    (tmp_path / "copy.dcm").write_bytes(copied.read_bytes())
    refused(tmp_path, "duplicate slices: 1 of 6 files are copies")


def test_compressed_pixels_are_read_or_refused_with_what_to_install(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path / "rle", "CT", stored, intercept=-1024.0)
    for path in (tmp_path / "rle").iterdir():
        ds = dcmread(path)
        ds.compress(RLELossless)
        ds.save_as(path)
    np.testing.assert_array_equal(read(tmp_path / "rle").array, stored - 1024)
    for name, syntax in (("lossless", JPEGLosslessSV1), ("private", UID(PRIVATE))):
        write_series(tmp_path / name, "CT", stored)
        for path in (tmp_path / name).iterdir():
            ds = dcmread(path)
            ds.PixelData = encapsulate([b"\0" * 64])
            ds.file_meta.TransferSyntaxUID = syntax
            ds.save_as(path, implicit_vr=False, little_endian=True)
    refused(tmp_path / "private", r"compressed as an unknown transfer syntax")
    if not get_decoder(JPEGLosslessSV1).is_available:
        with pytest.raises(DataError, match=r"JPEG Lossless.*nothing installed decodes") as caught:
            plan_volume(only(tmp_path / "lossless"))
        assert "python-gdcm" in caught.value.hint


def test_pixels_cut_short_are_a_data_error(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path, "CT", stored)
    path = sorted(tmp_path.iterdir())[2]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="pixels of a slice cannot be decoded"):
        read(tmp_path)


def enhanced(stored: np.ndarray, positions: list[float]) -> Dataset:
    ds = header("MR", "PAT-1", "T2 3D", 1)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = STORAGE + "4.1"
    put_pixels(ds, stored)
    ds.NumberOfFrames = len(stored)
    shared, orientation, measures, scale = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing = [2.0, 1.5]
    scale.RescaleSlope, scale.RescaleIntercept = "2", "5"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Items([orientation]), Items([measures])
    shared.PixelValueTransformationSequence = Items([scale])
    ds.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for z in positions:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [0.0, 0.0, z]
        frame.PlanePositionSequence = Items([place])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Items(frames)
    return ds


def test_a_simple_enhanced_image_is_read_and_a_dynamic_one_refused(tmp_path: Path, stored: np.ndarray) -> None:
    for name, positions in (("simple", [12.0, 9.0, 6.0, 3.0, 0.0]), ("dynamic", [0.0, 3.0, 6.0, 0.0, 3.0])):
        (tmp_path / name).mkdir()
        enhanced(stored, positions).save_as(tmp_path / name / "a.dcm", enforce_file_format=True)
    volume = read(tmp_path / "simple")
    np.testing.assert_array_equal(volume.array, stored[::-1] * 2 + 5)
    assert volume.geometry.spacing_mm == pytest.approx((1.5, 2.0, 3.0))
    refused(tmp_path / "dynamic", "duplicate slices: 5 slices on 3 positions")
    ds = enhanced(stored, [0.0, 3.0, 6.0, 9.0, 12.0])
    del ds.PerFrameFunctionalGroupsSequence
    (tmp_path / "bare").mkdir()
    ds.save_as(tmp_path / "bare" / "a.dcm", enforce_file_format=True)
    refused(tmp_path / "bare", "multi-frame image without functional groups")


def test_spect_is_in_suv_where_it_is_calibrated_and_counts_where_not(tmp_path: Path, stored: np.ndarray) -> None:
    write_spect(tmp_path / "counts", stored)
    counts = read(tmp_path / "counts")
    assert counts.unit == "counts"
    np.testing.assert_array_equal(counts.array, stored)
    assert counts.geometry.spacing_mm == pytest.approx((4, 4, 4))
    write_spect(tmp_path / "activity", stored, units="Bq/ml")
    activity = read(tmp_path / "activity")
    assert activity.unit == "SUV"
    np.testing.assert_allclose(activity.array, stored * 0.25 * 70_000 / 185e6, rtol=1e-6)
    write_spect(tmp_path / "suv", stored, units="g/ml{SUVbw}")
    np.testing.assert_allclose(read(tmp_path / "suv").array, stored * 0.25, rtol=1e-6)
    np.testing.assert_array_equal(read(tmp_path / "suv", calibrated=False).array, stored)
    planned, _ = plan_patient("S001", [only(tmp_path / "suv")], Choices())
    assert [each.modality for each in planned] == ["SPECT_SUV"]
    write_spect(tmp_path / "gated", stored, slices=[1, 2, 3, 1, 2])
    refused(tmp_path / "gated", "SliceVector repeats")


def test_series_are_named_by_modality_and_by_what_the_description_says(tmp_path: Path, stored: np.ndarray) -> None:
    told = {
        "ax T1_se": "MR_T1",
        "t1 mprage post GD": "MR_T1C",
        "AX T2-FLAIR": "MR_FLAIR",
        "T2 tse": "MR_T2",
        "ep2d DWI b1000": "MR_DWI",
        "localizer": "MR",
        "GAT15": "MR",
    }
    for number, words in enumerate(told):
        write_series(tmp_path, "MR", stored[:2], series=words, patient=f"P{number}")
    found = {series.first.description: series for series in find_series(files_of(tmp_path)).series}
    assert {words: name_of(found[words], []) for words in told} == told
    assert name_of(found["T2 tse"], names_of(["*tse*=MR_TSE"])) == "MR_TSE"
    with pytest.raises(ConfigError, match="is not PATTERN=NAME"):
        names_of(["*tse*"])


def test_localisers_and_other_objects_are_told_apart(tmp_path: Path, stored: np.ndarray) -> None:
    write_series(tmp_path / "a", "CT", stored[:2], changes={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})
    assert "localiser" in unusable(only(tmp_path / "a"))
    write_series(tmp_path / "b", "OT", stored[:2])
    assert "Secondary Capture is not an image volume" in unusable(only(tmp_path / "b"))
    ds = header("PT", "P", "PET", 1)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = STORAGE + "130"
    (tmp_path / "c").mkdir()
    ds.save_as(tmp_path / "c" / "a.dcm", enforce_file_format=True)
    _, left = plan_patient("S001", [only(tmp_path / "c")], Choices())
    assert [(line.why, line.fault) for line in left] == [
        ("Enhanced PET is not read: it has its own dose and times", True)
    ]
    write_spect(tmp_path / "d", stored)
    path = tmp_path / "d" / "PAT-1.dcm"
    planar = dcmread(path)
    planar.ImageType = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]
    planar.save_as(path)
    _, left = plan_patient("S001", [only(tmp_path / "d")], Choices())
    assert "lacks RECON TOMO" in left[0].why
    assert not left[0].fault


def test_two_patients_under_one_series_uid_stay_two(tmp_path: Path, stored: np.ndarray) -> None:
    one = {"SeriesInstanceUID": uid("same")}
    write_series(tmp_path / "a", "CT", stored, patient="A", changes=one)
    write_series(tmp_path / "b", "CT", stored, patient="B", changes=one)
    assert len(find_series(files_of(tmp_path)).series) == 2
