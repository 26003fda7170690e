import numpy as np
import pytest

from radfuse.align.foresight import foresee
from radfuse.align.grid import carry
from radfuse.align.stage import Align
from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.errors import GeometryError
from radfuse.fuse.stage import Fuse


def boxed(like: Mask, *cut: slice) -> Mask:
    array = np.zeros_like(like.array)
    array[cut] = 1
    return Mask(array, like.geometry)


@pytest.fixture
def node(sphere: Mask) -> Mask:
    return boxed(sphere, slice(1, 4), slice(1, 7), slice(1, 7))


@pytest.fixture
def subject(ct: Volume, pet: Volume, sphere: Mask, node: Mask) -> Subject:
    own = {"CT": node, "PET": node}
    return Subject("one", {"CT": ct, "PET": pet}, {"CT": sphere, "PET": sphere}, regions={"node": own})


def plain(**settings: object) -> Align:
    return Align.model_validate({"registration": "none", "spacing_mm": 1.5, **settings})


def test_further_regions_are_carried_like_the_main_one_and_change_nothing_else(subject: Subject, node: Mask) -> None:
    out = plain()(subject)
    alone = plain()(Subject("one", subject.volumes, subject.masks))
    for name in ("CT", "PET"):
        np.testing.assert_array_equal(out.volumes[name].array, alone.volumes[name].array)
        np.testing.assert_array_equal(out.masks[name].array, alone.masks[name].array)
    grid = out.volumes["CT"].geometry
    expected = carry(node, grid, Transform.identity())
    np.testing.assert_array_equal(out.regions["node"]["PET"].array, expected.array)
    assert out.regions["node"]["CT"] is out.regions["node"]["PET"]
    assert "further_regions" not in alone.findings["align"]
    assert out.findings["align"]["further_regions"] == {"voxels": {"node": expected.voxels}, "absent": {}}


def test_the_cut_grid_holds_every_region(subject: Subject) -> None:
    out = plain(margin_mm=2)(subject)
    whole = plain()(subject)
    assert out.regions["node"]["CT"].voxels == whole.regions["node"]["CT"].voxels
    assert out.regions["node"]["CT"].geometry == out.volumes["CT"].geometry
    assert out.volumes["CT"].geometry != whole.volumes["CT"].geometry


def test_a_region_on_another_image_serves_all_and_with_own_masks_each_has_its_own(
    subject: Subject, node: Mask, sphere: Mask
) -> None:
    on_pet = Subject("one", subject.volumes, subject.masks, regions={"node": {"PET": node}})
    out = plain()(on_pet)
    assert set(out.regions["node"]) == {"CT", "PET"}
    other = boxed(sphere, slice(6, 10), slice(12, 20), slice(12, 20))
    two = Subject("one", subject.volumes, subject.masks, regions={"node": {"CT": node, "PET": other}})
    own = plain(mask="own")(two).regions["node"]
    assert not (own["CT"].inside & own["PET"].inside).any()
    assert plain()(two).regions["node"]["PET"].voxels == own["CT"].voxels


def test_a_further_region_that_vanishes_is_absent_with_the_reason(subject: Subject, sphere: Mask) -> None:
    dot = boxed(sphere, slice(5, 6), slice(5, 7), slice(5, 7))
    small = Subject(
        "one", subject.volumes, subject.masks, regions={"dot": {"CT": dot}}, absent={"gone": "it is not drawn"}
    )
    out = plain(spacing_mm=3)(small)
    assert out.regions == {}
    assert out.absent["gone"] == "it is not drawn"
    assert "(4 of CT before), fewer than align.min_voxels (27)" in out.absent["dot"]
    assert any("no value for the region dot" in line for line in out.findings["align"]["warnings"])


def test_a_further_mask_of_another_scan_is_refused(subject: Subject, node: Mask) -> None:
    x, y, z = node.geometry.origin_mm
    moved = Mask(node.array, Geometry(node.geometry.size, node.geometry.spacing_mm, (x + 9, y, z)))
    wrong = Subject("one", subject.volumes, subject.masks, regions={"node": {"CT": moved}})
    with pytest.raises(GeometryError, match="CT node mask and its image do not share a grid"):
        plain()(wrong)


def test_fused_volumes_have_the_regions_of_their_parts(subject: Subject) -> None:
    out = Fuse.model_validate({"methods": ["average"]})(plain()(subject))
    assert out.regions["node"]["fused-average-CT_PET"] is out.regions["node"]["CT"]


@pytest.mark.parametrize("spacing_mm", [1.0, 1.3, 2.0, 4.0])
def test_what_is_foreseen_is_what_is_carried(sphere: Mask, node: Mask, spacing_mm: float) -> None:
    grid = sphere.geometry.with_spacing_mm(spacing_mm, spacing_mm, spacing_mm)
    for mask in (sphere, node):
        carried = carry(mask, grid, Transform.identity())
        assert foresee(mask, grid).voxels == carried.voxels
        wide = foresee(mask, grid, margin_mm=5.0)
        assert wide.voxels == carried.voxels
        assert np.all(np.array(wide.array.shape) >= foresee(mask, grid).array.shape)
    far = Geometry((4, 4, 4), (1.0, 1.0, 1.0), (500.0, 500.0, 500.0))
    assert foresee(sphere, far).voxels == 0


def test_a_region_that_a_scan_hardly_shows_is_not_measured_in_it(subject: Subject, node: Mask) -> None:
    least = int(np.argwhere(node.inside)[:, 0].min()) + 1
    slices = slice(least, node.geometry.shape[0])
    whole = (slice(0, n) for n in node.geometry.shape[1:])
    pet = subject.volumes["PET"]
    shorter = Volume(pet.array[slices].copy(), pet.geometry.part((slices, *whole)), "PET", pet.unit)
    cut = Subject("one", {"CT": subject.volumes["CT"], "PET": shorter}, {"CT": subject.masks["CT"]},
                  regions={"node": {"CT": node}})  # fmt: skip
    most = plain(spacing_mm=node.geometry.spacing_mm, min_voxels=1)(cut)
    shown = most.cut("PET", most.regions["node"]["PET"]).voxels
    assert 0 < shown < node.voxels
    out = plain(spacing_mm=node.geometry.spacing_mm, min_voxels=shown + 1)(cut)
    assert list(out.regions["node"]) == ["CT"]
    told = f"the field of view of PET holds {shown} of the {node.voxels} voxels of node, fewer than align.min_voxels"
    assert any(told in warning for warning in out.findings["align"]["warnings"])
