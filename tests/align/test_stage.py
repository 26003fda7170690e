import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radfuse.align.grid import auto_spacing_mm, inside_share
from radfuse.align.stage import Align
from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_mask, read_volume
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError, GeometryError

PET_GRID = Geometry((16, 16, 10), (2.0, 2.0, 3.0), (-12.0, 3.0, 28.0))


def ramp(grid: Geometry, name: str = "PET") -> Volume:
    """A linear image, which linear interpolation reproduces: 1 + 0.5 x - 0.25 y + 2 z."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)[..., ::-1]
    points = index @ grid.index_to_physical[:3, :3].T + grid.origin_mm
    return Volume(1 + points @ np.array([0.5, -0.25, 2.0]), grid, name, "SUV")


def plain(**settings: object) -> Align:
    return Align.model_validate({"registration": "none", **settings})


@pytest.fixture
def subject(ct: Volume, sphere: Mask) -> Subject:
    return Subject("S1", {"CT": ct, "PET": ramp(PET_GRID)}, {"CT": sphere})


def moved(mask: Mask, shift_mm: float) -> Mask:
    x, y, z = mask.geometry.origin_mm
    return Mask(mask.array, Geometry(mask.geometry.size, mask.geometry.spacing_mm, (x + shift_mm, y, z)), mask.label)


def test_every_volume_lands_on_one_grid_once_as_float32(subject: Subject) -> None:
    out = plain(spacing_mm=1.5)(subject)
    grids = {volume.geometry for volume in out.volumes.values()} | {mask.geometry for mask in out.masks.values()}
    assert len(grids) == 1
    assert grids.pop().spacing_mm == (1.5, 1.5, 1.5)
    assert {volume.array.dtype.name for volume in out.volumes.values()} == {"float32"}
    assert [out.volumes[name].unit for name in ("CT", "PET")] == ["HU", "SUV"]
    assert out.masks["CT"] is out.masks["PET"]
    assert all(transform.is_identity for transform in out.transforms.values())
    json.dumps(out.findings, allow_nan=False)


def test_resampling_a_ramp_gives_the_ramp(subject: Subject) -> None:
    out = plain(spacing_mm=1.5)(subject).volumes["PET"]
    truth = ramp(out.geometry).array
    deep = tuple(slice(5, -5) for _ in range(3))
    np.testing.assert_allclose(out.array[deep], truth[deep], atol=1e-4)


def test_outside_the_field_of_view_is_the_minimum(ct: Volume, sphere: Mask) -> None:
    small = Geometry((8, 8, 6), (1.0, 1.0, 2.0), (-2.0, 13.0, 36.0))
    out = plain(spacing_mm=1)(Subject("S1", {"CT": ct, "PET": ramp(small)}, {"CT": sphere}))
    assert out.volumes["PET"].array[0, 0, 0] == np.float32(ramp(small).array.min())
    assert any("outside the field of view of PET" in line for line in out.findings["align"]["warnings"])


def slab(sphere: Mask, low: int, high: int) -> Geometry:
    """Some slices of the sphere's grid, as the field of view of a scan."""
    return sphere.geometry.part((slice(low, high), *(slice(0, n) for n in sphere.geometry.shape[1:])))


def test_what_a_scan_does_not_cover_is_known_voxel_by_voxel(ct: Volume, sphere: Mask) -> None:
    middle = int(np.argwhere(sphere.inside)[:, 0].mean())
    pet = ramp(slab(sphere, 0, middle))
    out = plain(spacing_mm=ct.geometry.spacing_mm, min_voxels=1)(Subject("S1", {"CT": ct, "PET": pet}, {"CT": sphere}))
    assert list(out.seen) == ["PET"]
    assert out.seen["PET"].inside[:middle].all()
    assert not out.seen["PET"].inside[middle:].any()
    assert out.masks["PET"] is out.masks["CT"]
    left = int(sphere.inside[:middle].sum())
    assert out.cut("PET", out.masks["PET"]).voxels == left
    assert out.cut("CT", out.masks["CT"]) is out.masks["CT"]
    told = f"{1 - left / sphere.voxels:.1%} of the region is outside the field of view of PET, and not measured there"
    assert told in out.findings["align"]["warnings"]


def test_a_scan_that_shows_too_little_of_the_region_is_refused(ct: Volume, sphere: Mask) -> None:
    first = int(np.argwhere(sphere.inside)[:, 0].min())
    shown = int(sphere.inside[first].sum())
    pet = ramp(slab(sphere, 0, first + 1))
    with pytest.raises(DataError, match=f"of PET holds {shown} of the region's {sphere.voxels} voxels, expected at"):
        plain(spacing_mm=ct.geometry.spacing_mm, min_voxels=shown + 1)(
            Subject("S1", {"CT": ct, "PET": pet}, {"CT": sphere})
        )


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6.0)] * 3),
    new=st.floats(0.4, 5.0),
)
def test_the_grid_covers_the_field_of_view(size: tuple[int, ...], spacing: tuple[float, ...], new: float) -> None:
    old = Geometry(size, spacing, (-5.0, 7.0, 11.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))  # type: ignore[arg-type]
    grid = old.with_spacing_mm(new, new, new)
    corners = old.corners_mm
    middle = corners.mean(axis=0)
    outer = np.asarray(old.size) * np.asarray(old.spacing_mm) / 2
    signs = np.array([(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    edges = middle + (signs * outer * (1 - 1e-5)) @ np.asarray(old.direction).reshape(3, 3).T
    assert inside_share(edges, grid) == 1.0
    assert grid.direction == old.direction


def test_auto_spacing_is_one_for_the_cohort() -> None:
    grids = [
        Geometry((9, 9, 9), (0.98, 0.98, 3.27)),
        Geometry((9, 9, 9), (1.0, 1.0, 1.0)),
        Geometry((9, 9, 9), (2, 2, 2)),
    ]
    assert Align().resolved(grids).spacing_mm == 1.5  # cube roots 1.46, 1, 2
    assert auto_spacing_mm([Geometry((9, 9, 9), (0.1, 0.1, 0.1))]) == 0.5
    assert Align(spacing_mm=3.0).resolved(grids).spacing_mm == 3.0


def test_the_margin_crops_and_changes_no_voxel(subject: Subject) -> None:
    whole, cut = plain(spacing_mm=1.0)(subject), plain(spacing_mm=1.0, margin_mm=2.0)(subject)
    assert cut.masks["CT"].voxels == whole.masks["CT"].voxels
    grid = cut.volumes["CT"].geometry
    assert grid.size < whole.volumes["CT"].geometry.size
    first = np.rint(np.asarray(grid.origin_mm) - whole.volumes["CT"].geometry.origin_mm).astype(int)
    x, y, z = first
    part = whole.volumes["CT"].array[z : z + grid.size[2], y : y + grid.size[1], x : x + grid.size[0]]
    np.testing.assert_allclose(cut.volumes["CT"].array, part, atol=1e-3)


def test_the_region_keeps_its_volume_and_the_change_is_reported(subject: Subject, sphere: Mask) -> None:
    out = plain(spacing_mm=1.0)(subject)
    change = out.findings["align"]["region"]["change"]["CT"]
    assert change["before_ml"] == pytest.approx(sphere.volume_ml)
    assert change["after_ml"] == pytest.approx(out.masks["CT"].volume_ml)
    assert abs(change["relative"]) < 0.05


def test_a_header_rounding_is_corrected_and_half_a_voxel_is_said(subject: Subject, sphere: Mask) -> None:
    silent = plain(spacing_mm=1.0)(Subject("S", {"CT": subject.volumes["CT"]}, {"CT": moved(sphere, 1e-4)}))
    said = plain(spacing_mm=1.0)(Subject("S", {"CT": subject.volumes["CT"]}, {"CT": moved(sphere, 0.4)}))
    assert not silent.findings["align"]["warnings"]
    assert "0.4 voxels off its image" in said.findings["align"]["warnings"][0]
    np.testing.assert_array_equal(silent.masks["CT"].array, said.masks["CT"].array)


def test_a_mask_of_another_place_or_size_is_refused(subject: Subject, sphere: Mask, grid: Geometry) -> None:
    with pytest.raises(GeometryError, match=r"shifted by \(1, 0, 0\) mm \(1.00 voxels\)"):
        plain()(Subject("S", {"CT": subject.volumes["CT"]}, {"CT": moved(sphere, 1.0)}))
    other = Mask(np.ones((2, 3, 4), np.uint8), Geometry((4, 3, 2), (1.0, 1.0, 2.0)))
    with pytest.raises(GeometryError, match=r"size \(24, 24, 12\) against \(4, 3, 2\)"):
        plain()(Subject("S", {"CT": subject.volumes["CT"]}, {"CT": other}))


def test_a_region_that_is_not_there_is_refused(subject: Subject, sphere: Mask, grid: Geometry) -> None:
    ct = {"CT": subject.volumes["CT"]}
    with pytest.raises(DataError, match="has no mask in any of CT"):
        plain()(Subject("S", ct))
    with pytest.raises(DataError, match="no voxel of label 4; labels present: 1"):
        plain()(Subject("S", ct, {"CT": Mask(sphere.array, grid, 4)}))
    dot = np.zeros(grid.shape, np.uint8)
    dot[5, 5, 5] = 1
    with pytest.raises(DataError, match=r"0 voxels on the common grid \(1 before\), expected at least 27"):
        plain(spacing_mm=9.0)(Subject("S", ct, {"CT": Mask(dot, grid)}))


def test_a_thin_region_survives_by_nearest_neighbour(subject: Subject, grid: Geometry) -> None:
    sheet = np.zeros(grid.shape, np.uint8)
    sheet[:, :, 11] = 1
    out = plain(spacing_mm=2.0, min_voxels=1)(Subject("S", {"CT": subject.volumes["CT"]}, {"CT": Mask(sheet, grid)}))
    assert out.masks["CT"].voxels > 0
    assert any("touches the border" in line for line in out.findings["align"]["warnings"])


def test_the_lead_must_be_there_and_scans_must_meet(subject: Subject, sphere: Mask) -> None:
    with pytest.raises(DataError, match="has no MR, which leads the alignment; it has CT, PET"):
        plain(reference="MR")(subject)
    far = ramp(Geometry((8, 8, 8), (2.0, 2.0, 2.0), (900.0, 0.0, 0.0)))
    with pytest.raises(DataError, match="PET and CT share no part of space"):
        plain()(Subject("S", {"CT": subject.volumes["CT"], "PET": far}, {"CT": sphere}))


def test_another_modality_lends_its_region_and_it_is_said(subject: Subject, sphere: Mask) -> None:
    out = plain(reference="PET", spacing_mm=2.0)(subject)
    assert out.findings["align"]["region"]["of"] == "CT"
    assert "PET has no mask: the region is that of CT" in out.findings["align"]["warnings"]
    assert out.masks["PET"].volume_ml == pytest.approx(sphere.volume_ml, rel=0.05)


def test_own_regions_stay_apart(subject: Subject, sphere: Mask) -> None:
    hot = np.zeros(PET_GRID.shape, np.uint8)
    hot[3:7, 5:10, 5:10] = 1
    both = Subject("S", subject.volumes, {"CT": sphere, "PET": Mask(hot, PET_GRID)})
    out = plain(mask="own", spacing_mm=0.7)(both)
    assert out.masks["PET"].volume_ml == pytest.approx(100 * 0.012, rel=0.1)  # interpolation rounds the edges of a box
    assert out.masks["CT"].voxels != out.masks["PET"].voxels
    shared = plain(spacing_mm=1.0)(both)
    assert shared.masks["PET"] is shared.masks["CT"]


def test_one_nan_is_refused_before_it_spreads(subject: Subject, sphere: Mask) -> None:
    array = subject.volumes["PET"].array.copy()
    array[0, 0, 0] = np.nan
    bad = {**subject.volumes, "PET": subject.volumes["PET"].with_array(array)}
    with pytest.raises(DataError, match="PET has 1 voxels that are not finite"):
        plain()(Subject("S", bad, {"CT": sphere}))


def test_only_the_inputs_of_fusion_are_blurred(subject: Subject) -> None:
    sharp = plain(spacing_mm=1.0)(subject)
    out = plain(spacing_mm=1.0, fwhm_mm={"CT": 1.0, "PET": 6.0})(subject)
    assert list(out.matched) == ["CT"]
    np.testing.assert_array_equal(out.volumes["CT"].array, sharp.volumes["CT"].array)
    assert out.matched["CT"].array.std() < 0.9 * out.volumes["CT"].array.std()


def test_a_call_repeats_bit_for_bit(subject: Subject) -> None:
    first, second = plain(fwhm_mm={"CT": 1, "PET": 4})(subject), plain(fwhm_mm={"CT": 1, "PET": 4})(subject)
    for name in first.volumes:
        assert first.volumes[name].array.tobytes() == second.volumes[name].array.tobytes()
    assert first.findings == second.findings


@pytest.mark.cohort
@pytest.mark.parametrize("patient", ["STS_002", "STS_030"])
def test_on_patients_the_gate_keeps_the_header_and_units_stay(sts: Path, patient: str) -> None:
    files = {"CT": ("CT", "HU"), "PET": ("PET", "SUV"), "MR": ("MR_T1", "a.u.")}
    volumes = {m: read_volume(sts / patient / f"{f}_image.nii.gz", m, unit) for m, (f, unit) in files.items()}
    masks = {m: read_mask(sts / patient / f"{f}_mask.nii.gz") for m, (f, _) in files.items()}
    out = Align(reference="CT", spacing_mm=1.5, fwhm_mm={"CT": 1, "PET": 6.5})(Subject(patient, volumes, masks))
    found = out.findings["align"]
    assert not any(found["registration"][m]["accepted"] for m in ("PET", "MR"))
    assert abs(found["region"]["change"]["CT"]["relative"]) < 0.03
    for name in ("CT", "PET"):
        assert volumes[name].array.min() <= out.volumes[name].array.min()
        assert out.volumes[name].array.max() <= volumes[name].array.max()
    assert out.volumes["CT"].array[out.masks["CT"].inside].mean() == pytest.approx(
        volumes["CT"].array[masks["CT"].inside].mean(), abs=3.0
    )
    assert out.volumes["PET"].array[out.masks["PET"].inside].mean() == pytest.approx(
        volumes["PET"].array[masks["PET"].inside].mean(), rel=0.05
    )
    assert out.volumes["MR"].unit == "z"
