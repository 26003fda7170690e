"""Regions: drawn contours against published masks and against geometry by hand, segmentations against highdicom."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from synthetic_dicom import box, write_rtstruct, write_series

from radfuse.data.geometry import Geometry
from radfuse.data.reading.dicom.files import File, files_of
from radfuse.data.reading.dicom.plan import Choices, plan_patient
from radfuse.data.reading.dicom.rasterise import draw
from radfuse.data.reading.dicom.rtstruct import read_rtstruct
from radfuse.data.reading.dicom.segmentation import Segmentation, read_segmentation
from radfuse.data.reading.dicom.series import find_series
from radfuse.data.reading.dicom.structures import choose, mask_of, slices_skipped
from radfuse.data.reading.dicom.volumes import plan_volume, read_volume
from radfuse.data.reading.images import read_mask
from radfuse.data.reading.images import read_volume as read_nifti
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError, GeometryError

GRID = Geometry((10, 8, 4), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0))


def in_the_world(found: Mask | Volume, grid: Geometry) -> tuple[slice, ...]:
    """Where a grid lies inside another one of the same voxels, as (z, y, x) slices."""
    start = np.linalg.inv(found.geometry.index_to_physical) @ np.append(grid.origin_mm, 1.0)
    np.testing.assert_allclose(start[:3], np.rint(start[:3]), atol=1e-3)
    return tuple(slice(int(i), int(i) + n) for i, n in zip(np.rint(start[2::-1]), grid.shape, strict=True))


@pytest.mark.cohort
@pytest.mark.parametrize("modality", ["CT", "PET", "MR_T1"])
@pytest.mark.parametrize("patient", ["STS_025", "STS_042"])
def test_sample_patients_have_exactly_the_published_mask_and_values(
    data_root: Path, sts: Path, patient: str, modality: str
) -> None:
    """DICOM and NIfTI of the IBSI validation subset of TCIA Soft-tissue-Sarcoma, by voxels of the same place."""
    series = find_series(files_of(data_root / "sts_dicom_sample" / patient / modality)).series
    (planned,), left = plan_patient("S001", series, Choices(rois=["gtv*"]))
    assert left == []
    assert planned.region is not None
    mask = planned.region.draw(planned.recipe)
    published = read_mask(sts / patient / f"{modality}_mask.nii.gz")
    place = in_the_world(mask, published.geometry)
    np.testing.assert_array_equal(mask.inside[place], published.inside)
    assert mask.voxels == published.voxels  # and nothing outside the published crop
    volume = read_volume(planned.recipe, modality)
    reference = read_nifti(sts / patient / f"{modality}_image.nii.gz", modality, volume.unit)
    np.testing.assert_allclose(volume.array[place], reference.array, atol=3e-6 if modality == "PET" else 0)


def test_a_voxel_is_inside_when_its_centre_is() -> None:
    inside = draw([box(2.0, 1.4, 4.6, 1.6, 5.5)], GRID)
    expected = np.zeros(GRID.shape, bool)
    expected[1, 2:6, 2:5] = True
    np.testing.assert_array_equal(inside, expected)


def test_contours_in_contours_are_holes_and_islands_in_holes_count() -> None:
    rings = [box(0.0, 0.5, 8.5, 0.5, 7.5), box(0.0, 1.5, 7.5, 1.5, 6.5), box(0.0, 3.5, 5.5, 2.5, 5.5)]
    expected = np.zeros(GRID.shape, bool)
    expected[0, 1:8, 1:9] = True
    expected[0, 2:7, 2:8] = False
    expected[0, 3:6, 4:6] = True
    np.testing.assert_array_equal(draw(rings, GRID), expected)
    keyhole = np.concatenate([rings[0], rings[0][:1], rings[1], rings[1][:1]])
    expected[0, 3:6, 4:6] = False
    np.testing.assert_array_equal(draw([keyhole], GRID), expected)


def test_edges_and_corners_on_voxel_centres_count_once() -> None:
    """Two boxes that share an edge through voxel centres share no voxel, and together miss none."""
    left, right = draw([box(0.0, 1.0, 4.0, 1.0, 6.0)], GRID), draw([box(0.0, 4.0, 7.0, 1.0, 6.0)], GRID)
    assert not (left & right).any()
    assert (left | right).sum() == 6 * 5
    diamond = np.array([(4.0, 1.0, 0.0), (7.0, 4.0, 0.0), (4.0, 7.0, 0.0), (1.0, 4.0, 0.0)])
    y, x = np.mgrid[:8, :10]
    strictly = np.abs(x - 4) + np.abs(y - 4) < 3
    drawn = draw([diamond], GRID)[0]
    assert drawn[strictly].all()
    assert not drawn[np.abs(x - 4) + np.abs(y - 4) > 3].any()


def test_a_disc_has_the_area_of_a_disc() -> None:
    fine = Geometry((400, 400, 1), (0.1, 0.1, 1.0))
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    disc = np.column_stack([20 + 12 * np.cos(angle), 20 + 12 * np.sin(angle), np.zeros(720)])
    assert draw([disc], fine).sum() * 0.01 == pytest.approx(np.pi * 144, rel=1e-3)


def test_contours_off_the_slices_or_beyond_the_image_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"0\.40 slices from the nearest"):
        draw([box(2.8, 1, 4, 1, 4)], GRID)
    with pytest.raises(GeometryError, match="beyond the image, 2 slices from its end"):
        draw([box(10.0, 1, 4, 1, 4)], GRID)


def test_structures_are_chosen_by_name_alias_or_pattern() -> None:
    names = ["Body", "GTVp", "GTVn", "Heart"]
    assert choose(names, ["heart"]) == [3]
    assert choose(names, ["tumour", "gtvp"]) == [1]
    assert choose(names, ["GTV*"], join=True) == [1, 2]
    assert choose(["only"], []) == [0]
    for rois, match in (
        ([], "4 structures and none chosen"),
        (["gtv*"], "fits 2 structures"),
        (["x"], "there are 'Body'"),
    ):
        with pytest.raises(DataError, match=match):
            choose(names, rois)


def test_structures_of_another_frame_or_kind_or_place_are_refused(tmp_path: Path) -> None:
    images = write_series(tmp_path / "ct", "CT", np.zeros((5, 6, 7), np.int16))
    recipe = plan_volume(find_series(files_of(tmp_path / "ct")).series[0])
    inside = [box(53.0, -18.0, -14.0, 11.0, 19.0)]

    def mask(**changes: str) -> Mask:
        write_rtstruct(tmp_path, images, {"GTV": inside, "Empty": []}, **changes)  # type: ignore[arg-type]
        read = read_rtstruct(File(tmp_path / "RS.dcm", "", ""))
        return mask_of(read, [0], recipe.grid, recipe.series.first.frame_of_reference)

    assert mask().voxels == 2 * 4  # x centres -17, -15.5 (or -18.5 + 1.5 k), y centres 12, 14, 16, 18
    with pytest.raises(DataError, match="another frame of reference"):
        mask(frame="1.2.3")
    with pytest.raises(DataError, match="contours of kind POINT"):
        mask(kind="POINT")
    write_rtstruct(tmp_path, images, {"Empty": []})
    with pytest.raises(DataError, match="'Empty' has no voxel centre inside"):
        mask_of(read_rtstruct(File(tmp_path / "RS.dcm", "", "")), [0], recipe.grid, images[0].FrameOfReferenceUID)


def test_slices_without_a_contour_stay_empty_and_are_counted() -> None:
    inside = draw([box(z, 1, 4, 1, 4) for z in (0.0, 6.0)], GRID)
    assert slices_skipped(Mask(inside.astype(np.uint8), GRID)) == 2


@pytest.mark.cohort
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["binary", "binary_overlap", "true_fractional"])
def test_public_segmentations_are_as_highdicom_has_them(data_root: Path, name: str) -> None:
    """Test files of ImagingDataCommons/highdicom (MIT), frame by frame."""
    highdicom = pytest.importorskip("highdicom")
    path = data_root / f"dicom_seg_highdicom/data/test_files/seg_image_ct_{name}.dcm"
    mine, plain = read_segmentation(File(path, "", "")), dcmread(path)
    theirs = highdicom.seg.Segmentation.from_dataset(dcmread(path))
    checked = 0
    for own, frame in zip(plain.PerFrameFunctionalGroupsSequence, mine.frames, strict=True):
        plane = frame.plane
        grid = Geometry((plane.columns, plane.rows, 1), (*plane.spacing_mm, 1.0), plane.position_mm)
        alone = Segmentation(mine.names, mine.numbers, (frame,), mine.full, mine.threshold, mine.series, "")
        drawn = alone.draw(mine.numbers.index(frame.segment), grid)
        source = own.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        pixels = theirs.get_pixels_by_source_instance([source], segment_numbers=[frame.segment])
        np.testing.assert_array_equal(drawn[0], pixels[0, :, :, 0] >= 0.5)
        checked += int(drawn.sum())
    assert checked > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segmentations_written_by_highdicom_come_back(tmp_path: Path, kind: str, rng: np.random.Generator) -> None:
    """An oblique series whose slices run down, two segments (overlapping where the kind allows), some slices empty."""
    hd = pytest.importorskip("highdicom")
    images = write_series(
        tmp_path / "ct", "CT", np.zeros((5, 6, 7), np.int16), orientation=[0.8, 0.6, 0.0, 0.0, 0.0, -1.0], step=-3.0
    )
    for ds in images:
        ds.StudyTime, ds.AccessionNumber, ds.StudyID = "100000", "", ""
    overlap = kind != "LABELMAP"
    pixels = rng.random((5, 6, 7, 2)).astype(np.float32)
    pixels[4] = 0
    if kind != "FRACTIONAL":
        pixels = (pixels > 0.5).astype(np.uint8)
    if not overlap:
        pixels[..., 1] *= 1 - pixels[..., 0]
    code = hd.sr.CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
    described = [
        hd.seg.SegmentDescription(i, label, code, code, hd.seg.SegmentAlgorithmTypeValues.MANUAL)
        for i, label in ((1, "GTV"), (2, "node"))
    ]
    uids = (hd.UID(), 1, hd.UID(), 1)
    seg = hd.seg.Segmentation(images, pixels, kind, described, *uids, "ACME", "Pen", "1", "0", omit_empty_frames=True)
    seg.save_as(tmp_path / "seg.dcm")
    recipe = plan_volume(find_series(files_of(tmp_path / "ct")).series[0])
    read = read_segmentation(File(tmp_path / "seg.dcm", "", ""))
    assert read.names == ("GTV", "node")
    assert read.series == {images[0].SeriesInstanceUID}
    for region in (0, 1):
        mask = mask_of(read, [region], recipe.grid, images[0].FrameOfReferenceUID)
        np.testing.assert_array_equal(mask.inside, pixels[::-1, ..., region] >= 0.5)
    both = mask_of(read, [0, 1], recipe.grid, images[0].FrameOfReferenceUID)
    np.testing.assert_array_equal(both.inside, (pixels[::-1] >= 0.5).any(axis=-1))
    if kind == "FRACTIONAL":
        strict = read_segmentation(File(tmp_path / "seg.dcm", "", ""), 0.8)
        np.testing.assert_array_equal(strict.draw(0, recipe.grid), np.rint(pixels[::-1, ..., 0] * 255) >= 0.8 * 255)
    shifted = replace(recipe.grid, origin_mm=(0.7, 0.0, 0.0))
    with pytest.raises(GeometryError, match="lies on another grid than the image"):
        read.draw(0, shifted)
    with pytest.raises(GeometryError, match="reaches beyond the image"):
        read.draw(0, replace(recipe.grid, size=(7, 6, 2)))
