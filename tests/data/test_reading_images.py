import gzip
import os
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_geometry, read_mask, read_volume, write_mask, write_volume
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError, RadfuseError, StageError

OBLIQUE = Geometry((5, 6, 7), (0.9, 1.1, 3.0), (-100.5, 20.25, -640.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))


def noise(grid: Geometry = OBLIQUE, kind: str = "int16") -> Volume:
    array = np.random.default_rng(3).integers(-1000, 1000, grid.shape).astype(kind)
    return Volume(array, grid, "CT", "HU")


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    path = tmp_path / "ct.nii"
    write_volume(path, noise())
    return path


def patched(path: Path, offset: int, layout: str, *values: float) -> Path:
    raw = bytearray(path.read_bytes())
    struct.pack_into("<" + layout, raw, offset, *values)
    path.write_bytes(raw)
    return path


def refused(path: Path, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        read_volume(path, "CT", "HU")
    assert path.name in caught.value.message


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", ["int16", "uint8", "float32", "float64"])
def test_a_volume_comes_back_with_its_pixel_type_and_place(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"é a{suffix}"
    write_volume(path, noise(kind=kind))
    back = read_volume(path, "CT", "HU")
    assert back.array.dtype == kind
    np.testing.assert_array_equal(back.array, noise(kind=kind).array)
    assert back.geometry.matches(OBLIQUE)
    assert read_geometry(path).matches(OBLIQUE)
    assert (back.modality, back.unit) == ("CT", "HU")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_written_twice_is_the_same_bytes_and_leaves_nothing_beside(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for path in (first, second, first):
        write_volume(path, noise())
    assert first.read_bytes() == second.read_bytes()
    assert sorted(os.listdir(tmp_path)) == sorted([first.name, second.name])


def test_no_header_text_travels(tmp_path: Path) -> None:
    image = noise().to_sitk()
    image.SetMetaData("0010|0010", "DOE^JANE")
    sitk.WriteImage(image, str(tmp_path / "in.nrrd"), useCompression=False)
    assert b"DOE^JANE" in (tmp_path / "in.nrrd").read_bytes()
    write_volume(tmp_path / "out.nrrd", read_volume(tmp_path / "in.nrrd", "CT", "HU"))
    assert b"DOE" not in (tmp_path / "out.nrrd").read_bytes()


def test_a_write_that_does_not_read_back_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sitk.WriteImage
    monkeypatch.setattr(sitk, "WriteImage", lambda image, *a, **k: whole(image * 0, *a, **k))
    with pytest.raises(StageError, match="did not come back"):
        write_volume(tmp_path / "a.nii.gz", noise())
    assert not list(tmp_path.iterdir())


def test_masks_come_back_and_a_label_that_is_absent_is_named(tmp_path: Path) -> None:
    labels = np.zeros(OBLIQUE.shape, np.uint8)
    labels[2:4, 2, 2], labels[5, 1, 1] = 1, 3
    write_mask(tmp_path / "m.nii.gz", Mask(labels, OBLIQUE))
    assert read_mask(tmp_path / "m.nii.gz").voxels == 2
    assert read_mask(tmp_path / "m.nii.gz", label=3).voxels == 1
    with pytest.raises(DataError, match=r"no voxel of label 7; labels present: 1, 3"):
        read_mask(tmp_path / "m.nii.gz", label=7)
    write_mask(tmp_path / "empty.nii.gz", Mask(labels * 0, OBLIQUE))
    with pytest.raises(DataError, match="none, the mask is empty"):
        read_mask(tmp_path / "empty.nii.gz")


def test_a_mask_of_fractions_is_refused_with_its_path(tmp_path: Path) -> None:
    write_volume(tmp_path / "soft.nii.gz", Volume(np.full(OBLIQUE.shape, 0.9999, np.float32), OBLIQUE, "m", "a.u."))
    with pytest.raises(DataError, match=r"soft.nii.gz.*fractions such as 0.9999"):
        read_mask(tmp_path / "soft.nii.gz")


def test_missing_and_empty_and_foreign_files_are_named(tmp_path: Path) -> None:
    refused(tmp_path / "absent.nii.gz", "does not exist")
    (tmp_path / "empty.nii.gz").touch()
    refused(tmp_path / "empty.nii.gz", r"0 bytes")
    (tmp_path / "page.nii.gz").write_text("<html>" * 200)
    refused(tmp_path / "page.nii.gz", "not a gzip file")
    (tmp_path / "page.nii").write_text("<html>" * 200)
    refused(tmp_path / "page.nii", "not a NIfTI image")
    (tmp_path / "page.nrrd").write_text("<html>" * 200)
    refused(tmp_path / "page.nrrd", "cannot be read as an image")
    (tmp_path / "scan.dcm").write_text("DICM")
    refused(tmp_path / "scan.dcm", r"expected a name ending in .nii")


def test_a_file_cut_short_is_refused(nifti: Path, tmp_path: Path) -> None:
    whole = nifti.read_bytes()
    zipped = gzip.compress(whole)
    (tmp_path / "cut.nii.gz").write_bytes(zipped[: len(zipped) // 2])
    refused(tmp_path / "cut.nii.gz", "damaged")
    (tmp_path / "less.nii.gz").write_bytes(gzip.compress(whole[:-100]))
    refused(tmp_path / "less.nii.gz", "cut short: .* of .* that its header promises")
    nifti.write_bytes(whole[:-100])
    refused(nifti, "cut short")


def test_a_wrong_checksum_and_a_bomb_are_refused(nifti: Path, tmp_path: Path) -> None:
    zipped = bytearray(gzip.compress(nifti.read_bytes()))
    zipped[-6] ^= 0xFF
    (tmp_path / "crc.nii.gz").write_bytes(zipped)
    refused(tmp_path / "crc.nii.gz", "CRC check failed")
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(nifti.read_bytes() + bytes(8 * 2**20)))
    refused(tmp_path / "bomb.nii.gz", "more than its header promises")


def test_a_short_nrrd_is_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nrrd", noise())
    whole = (tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "a.nrrd").write_bytes(whole[:-60])
    refused(tmp_path / "a.nrrd", "cannot be read")


def test_only_three_dimensions_of_one_number_are_read(tmp_path: Path) -> None:
    array = np.zeros((2, 4, 5, 6), np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(tmp_path / "four.nii.gz"))
    refused(tmp_path / "four.nii.gz", "4 dimensions")
    sitk.WriteImage(sitk.GetImageFromArray(array[0, 0]), str(tmp_path / "flat.nii.gz"))
    refused(tmp_path / "flat.nii.gz", "2-D image")
    sitk.WriteImage(sitk.GetImageFromArray(array[0, 0]), str(tmp_path / "flat.nrrd"))
    refused(tmp_path / "flat.nrrd", "2 dimensions")
    colour = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    for name in ("rgb.nii.gz", "rgb.nrrd"):
        sitk.WriteImage(colour, str(tmp_path / name))
        refused(tmp_path / name, "RGB|numbers in each voxel|dimensions")


def test_voxels_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    array = noise(kind="float32").array.copy()
    array[0, 0, :2], array[1, 1, 1] = np.nan, np.inf
    write_path = tmp_path / "nan.nii.gz"
    sitk.WriteImage(Volume(array, OBLIQUE, "PET", "SUV").to_sitk(), str(write_path))
    refused(write_path, "2 NaN and 1 infinite voxels of 210")


def test_two_positions_in_one_header_are_refused(nifti: Path) -> None:
    patched(nifti, 252, "2h", 1, 1)
    (x,) = struct.unpack_from("<f", nifti.read_bytes(), 292)
    patched(nifti, 292, "f", x + 0.05)
    assert read_volume(nifti, "CT", "HU").array.shape == OBLIQUE.shape
    patched(nifti, 292, "f", x + 5.0)
    refused(nifti, r"sform and qform differ by 5 mm")


def test_a_header_without_a_position_is_refused(nifti: Path) -> None:
    refused(patched(nifti, 252, "2h", 0, 0), "codes are both 0")


def test_metres_and_absurd_voxels_are_refused(nifti: Path) -> None:
    patched(nifti, 123, "B", 1)
    refused(nifti, "measures in metres")
    patched(nifti, 123, "B", 2)
    refused(patched(nifti, 80, "f", 1e6), "expected 0.01 to 100 mm")


def test_sheared_axes_are_refused(nifti: Path) -> None:
    patched(nifti, 252, "2h", 0, 1)
    refused(patched(nifti, 284, "f", 0.9), "not at right angles")


def test_nifti_2_is_refused_by_name(tmp_path: Path) -> None:
    image = nibabel.Nifti2Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    nibabel.save(image, tmp_path / "two.nii.gz")
    refused(tmp_path / "two.nii.gz", "NIfTI-2, which SimpleITK does not read")
    nibabel.save(nibabel.Nifti1Image.from_image(nibabel.load(tmp_path / "two.nii.gz")), tmp_path / "one.nii.gz")
    assert read_geometry(tmp_path / "one.nii.gz").size == (3, 4, 5)


@pytest.mark.cohort
def test_the_cohort_reads_as_a_plain_reader_has_it(sts: Path) -> None:
    path = sts / "STS_002" / "CT_image.nii.gz"
    volume = read_volume(path, "CT", "HU")
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def test_every_refusal_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RadfuseError) as caught:
        read_geometry(tmp_path / "absent.nii")
    assert caught.value.hint
