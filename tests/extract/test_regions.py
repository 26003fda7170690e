import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError
from radfuse.extract.regions import Region
from radfuse.extract.regions.core import Core
from radfuse.extract.regions.distance import depth_mm, distance_mm
from radfuse.extract.regions.habitats import Habitats, numbered
from radfuse.extract.regions.ring import Ring
from radfuse.extract.regions.shell import Shell
from radfuse.extract.stage import Extract

FEW = {"featureClass": {"firstorder": ["Mean", "Maximum"]}, "setting": {"binWidth": 25, "additionalInfo": False}}


def ball(radius_mm: float, size: int = 56, spacing_mm: float = 1.0) -> Mask:
    places = (np.arange(size) - (size - 1) / 2) * spacing_mm
    z, y, x = np.meshgrid(places, places, places, indexing="ij")
    grid = Geometry((size,) * 3, (spacing_mm,) * 3)
    return Mask((x**2 + y**2 + z**2 <= radius_mm**2).astype(np.uint8), grid)


def alone(region: Region, mask: Mask) -> Mask:
    """The region that is derived from one mask."""
    volume = Volume(np.zeros(mask.array.shape, np.float32), mask.geometry, "CT", "HU")
    (found,) = region.build()(Subject("one", {"CT": volume}, {"CT": mask}), {"CT": mask})
    assert found.why == ""
    return found.masks["CT"]


# Distances


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    spacing=st.tuples(*[st.floats(0.4, 5.0)] * 3),
)
def test_the_distance_is_the_least_of_all_pairs(seed, shape, spacing):
    inside = np.random.default_rng(seed).random(shape) < 0.1
    inside.flat[seed % inside.size] = True
    places = np.argwhere(np.ones(shape, bool)) * spacing[::-1]
    expected = np.linalg.norm(places[:, None] - places[inside.ravel()], axis=2).min(axis=1).reshape(shape)
    np.testing.assert_allclose(distance_mm(inside, spacing), expected, rtol=1e-12, atol=1e-12)


def test_depth_takes_what_lies_beyond_the_array_for_outside():
    full = np.ones((1, 1, 5), bool)
    assert depth_mm(full, (2.0, 100.0, 100.0)).ravel().tolist() == [2.0, 4.0, 6.0, 4.0, 2.0]


# Ring, core, shell


@pytest.mark.parametrize(("inner", "outer"), [(0.0, 5.0), (0.0, 10.0), (5.0, 10.0), (2.0, 3.0)])
def test_a_ring_around_a_ball_has_the_volume_of_the_spherical_shell(inner, outer):
    mask = ball(12.0)
    volume = alone(Ring(inner_mm=inner, outer_mm=outer), mask).volume_ml
    expected = 4 / 3 * math.pi * ((12 + outer) ** 3 - (12 + inner) ** 3) / 1000
    # The voxels' surface lies within half a voxel of the ball's.
    half_voxel = 4 * math.pi * ((12 + outer) ** 2 + (12 + inner) ** 2) * 0.5 / 1000
    assert abs(volume - expected) < half_voxel


def test_finer_voxels_bring_the_ring_to_the_analytic_volume():
    expected = 4 / 3 * math.pi * (20**3 - 12**3) / 1000
    errors = [
        abs(alone(Ring(outer_mm=8), ball(12.0, size, mm)).volume_ml / expected - 1)
        for size, mm in ((28, 2.0), (52, 1.0), (96, 0.5))
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.025


def test_a_ring_by_hand_follows_the_spacing():
    # One voxel of 1 x 1 x 4 mm: its neighbours are 1 mm away in the plane (1.41 diagonally) and 4 mm along z.
    mask = Mask(np.pad(np.ones((1, 1, 1), np.uint8), 3), Geometry((7, 7, 7), (1.0, 1.0, 4.0)))
    assert alone(Ring(outer_mm=1.0, min_voxels=1), mask).voxels == 4
    assert alone(Ring(outer_mm=1.5, min_voxels=1), mask).voxels == 8
    assert alone(Ring(inner_mm=1.0, outer_mm=1.5, min_voxels=1), mask).voxels == 4
    # Of 48 around it in the plane only the 4 corners, at 4.24 mm, are farther; along z there is one on each side.
    along_z = alone(Ring(outer_mm=4.0, min_voxels=1), mask).inside
    assert [int(plane.sum()) for plane in along_z] == [0, 0, 1, 44, 1, 0, 0]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), inner=st.floats(0, 3), width=st.floats(0.5, 4))
def test_a_ring_never_holds_the_region_and_rings_side_by_side_share_nothing(seed, inner, width):
    rng = np.random.default_rng(seed)
    mask = Mask((rng.random((9, 10, 11)) < 0.05).astype(np.uint8), Geometry((11, 10, 9), (1.0, 1.5, 2.0)))
    if not mask.voxels:
        return
    first = Ring(inner_mm=inner, outer_mm=inner + width).outline(mask).inside
    second = Ring(inner_mm=inner + width, outer_mm=inner + 2 * width).outline(mask).inside
    both = Ring(inner_mm=inner, outer_mm=inner + 2 * width).outline(mask).inside
    assert not (first & mask.inside).any()
    assert not (first & second).any()
    np.testing.assert_array_equal(first | second, both)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), depth=st.floats(0.3, 4))
def test_core_and_shell_make_up_the_region(seed, depth):
    rng = np.random.default_rng(seed)
    inside = ndimage.binary_dilation(rng.random((10, 10, 10)) < 0.02, iterations=2)
    mask = Mask(inside.astype(np.uint8), Geometry((10, 10, 10), (1.0, 1.0, 1.7)))
    if not mask.voxels:
        return
    core, shell = Core(depth_mm=depth).outline(mask).inside, Shell(depth_mm=depth).outline(mask).inside
    assert not (core & shell).any()
    np.testing.assert_array_equal(core | shell, mask.inside)


def test_a_ring_leaves_out_air_and_other_regions():
    mask = ball(6.0, 30)
    hu = np.full(mask.array.shape, 30.0, np.float32)
    hu[:, :, :12] = -1000.0
    node = np.zeros_like(mask.array)
    node[:12] = 1
    volume = Volume(hu, mask.geometry, "CT", "HU")
    subject = Subject("one", {"CT": volume}, {"CT": mask}, regions={"node": {"CT": Mask(node, mask.geometry)}})
    ring = Ring(outer_mm=5, above_hu=-300, avoid=("node",))
    (found,) = ring.build()(subject, subject.masks)
    inside = found.masks["CT"].inside
    whole = ring.outline(mask).inside
    np.testing.assert_array_equal(inside, whole & (hu > -300) & (node == 0))
    assert 0 < inside.sum() < whole.sum()


def test_a_ring_that_cannot_be_made_says_why():
    mask = ball(6.0, 30)
    pet = Volume(np.zeros(mask.array.shape, np.float32), mask.geometry, "PET", "SUV")
    subject = Subject("one", {"PET": pet}, {"PET": mask})
    for ring, why in (
        (Ring(above_hu=-300), "above_hu asks for CT, which the subject does not have"),
        (Ring(avoid=("node",)), "it is to avoid node, which is no region of the study"),
        (Ring(inner_mm=500, outer_mm=501), "it has 0 voxels in PET, fewer than min_voxels (27)"),
    ):
        (found,) = ring.build()(subject, subject.masks)
        assert found.masks == {}
        assert found.why == why
    elsewhere = Volume(np.zeros((4, 4, 4), np.float32), Geometry((4, 4, 4), (1.0, 1.0, 1.0)), "CT", "HU")
    (found,) = Ring(above_hu=-300).build()(Subject("one", {"PET": pet, "CT": elsewhere}), {"PET": mask})
    assert "run `radfuse align` first" in found.why
    with pytest.raises(ValidationError, match="must be less than outer_mm"):
        Ring(inner_mm=10, outer_mm=5)


# Habitats


def three_zones(seed: int = 0) -> tuple[Subject, np.ndarray]:
    """A ball whose thirds differ in CT and PET; only both together tell the three apart."""
    mask = ball(9.0, 24)
    zone = np.digitize(np.arange(24), [9, 15])[:, None, None] * np.ones((24, 24, 24), int)
    rng = np.random.default_rng(seed)
    ct = np.choose(zone, [60.0, 10.0, 60.0]) + rng.normal(0, 4, zone.shape)
    pet = np.choose(zone, [9.0, 3.0, 3.0]) + rng.normal(0, 0.4, zone.shape)
    volumes = {
        "CT": Volume(ct.astype(np.float32), mask.geometry, "CT", "HU"),
        "PET": Volume(pet.astype(np.float32), mask.geometry, "PET", "SUV"),
    }
    return Subject("one", volumes, {"CT": mask, "PET": mask}), zone


def test_planted_zones_are_found_and_numbered_by_uptake():
    subject, zone = three_zones()
    found = Habitats(order_by="PET").build()(subject, subject.masks)
    inside = subject.masks["CT"].inside
    labels = sum(((n + 1) * each.masks["CT"].inside.astype(int) for n, each in enumerate(found)))
    assert (labels[inside] > 0).all()
    assert (labels[~inside] == 0).all()
    # The hot zone is the third habitat; the other two are equal in PET but for noise.
    assert (labels[inside & (zone == 0)] == 3).mean() > 0.999
    for cold in (1, 2):
        _, counts = np.unique(labels[inside & (zone == cold)], return_counts=True)
        assert counts.max() / counts.sum() > 0.999
    by_ct = Habitats(order_by="CT").build()(subject, subject.masks)
    assert (by_ct[0].masks["PET"].inside == (inside & (zone == 1))).mean() > 0.999
    assert "mean CT" in found[0].notes


def test_a_habitat_means_the_same_whatever_the_order_of_voxels_the_seed_or_the_modalities():
    subject, _ = three_zones()
    inside = subject.masks["CT"].inside
    voxels = np.stack([subject.volumes[name].array[inside] for name in ("CT", "PET")], axis=1).astype(float)
    labels = numbered(voxels, 1, 3, 10, 0)
    shuffled = np.random.default_rng(3).permutation(len(voxels))
    np.testing.assert_array_equal(numbered(voxels[shuffled], 1, 3, 10, 0), labels[shuffled])
    for seed in (1, 2, 3):
        np.testing.assert_array_equal(numbered(voxels, 1, 3, 10, seed), labels)
    one, other = (
        Habitats(modalities=names).build()(subject, subject.masks) for names in (("CT", "PET"), ("PET", "CT"))
    )
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left.masks["CT"].array, right.masks["CT"].array)


def test_habitats_of_a_subject_do_not_depend_on_units():
    subject, _ = three_zones()
    inside = subject.masks["CT"].inside
    voxels = np.stack([subject.volumes[name].array[inside] for name in ("CT", "PET")], axis=1).astype(float)
    np.testing.assert_array_equal(numbered(voxels, 1, 3, 10, 0), numbered(voxels * [1.0, 1000.0] + 5, 1, 3, 10, 0))


def test_habitats_that_cannot_be_made_say_why():
    subject, _ = three_zones()
    lacks = Subject("one", {"CT": subject.volumes["CT"]}, {"CT": subject.masks["CT"]})
    for each in Habitats().build()(lacks, lacks.masks):
        assert each.why == "habitats are made of CT, PET; the subject lacks PET"
    flat = {name: v.with_array(np.zeros_like(v.array)) for name, v in subject.volumes.items()}
    (first, *_) = Habitats().build()(Subject("one", flat, subject.masks), subject.masks)
    assert first.why == "the region has fewer than 3 different voxels"
    small = Geometry((4, 4, 4), (1.0, 1.0, 1.0))
    apart = {"CT": subject.volumes["CT"], "PET": Volume(np.zeros((4, 4, 4), np.float32), small, "PET", "SUV")}
    (first, *_) = Habitats().build()(Subject("one", apart, subject.masks), subject.masks)
    assert "must share a grid" in first.why
    broken = {**subject.volumes, "CT": subject.volumes["CT"].with_array(np.full((24, 24, 24), np.nan, np.float32))}
    (first, *_) = Habitats().build()(Subject("one", broken, subject.masks), subject.masks)
    assert "not finite" in first.why
    with pytest.raises(ValidationError, match="order_by names 'PET', which is not among CT, MR"):
        Habitats(modalities=("CT", "MR"))
    with pytest.raises(ValidationError, match="modalities names one twice"):
        Habitats(modalities=("PET", "PET"))


# In the stage


@pytest.fixture
def subject(ct, pet, sphere) -> Subject:
    node = np.zeros_like(sphere.array)
    node[1:3, 1:6, 1:6] = 1
    own = Mask(node, sphere.geometry)
    return Subject(
        "one", {"CT": ct, "PET": pet}, {"CT": sphere, "PET": sphere}, regions={"node": {"CT": own, "PET": own}}
    )


def test_every_region_is_measured_in_every_volume_and_the_main_columns_stay(subject, ct, sphere):
    regions = {"rim": {"method": "ring", "outer_mm": 3}, "inside": {"method": "core", "depth_mm": 2}}
    row = Extract.model_validate({"parameters": {"default": FEW}, "regions": regions})(subject)
    plain = Extract(parameters={"default": FEW})(Subject("one", subject.volumes, subject.masks))
    assert list(row.values)[: len(plain.values)] == list(plain.values)
    assert {name: row.values[name] for name in plain.values} == plain.values
    prefixes = list(dict.fromkeys(name.partition(".")[0] for name in row.values))
    assert prefixes == ["CT", "PET", "CT:node", "PET:node", "CT:rim", "PET:rim", "CT:inside", "PET:inside"]
    ring = Ring(outer_mm=3).outline(sphere).inside
    mean = ct.array[ring].astype(float).mean()
    assert row.values["CT:rim.original_firstorder_Mean"] == pytest.approx(mean, rel=1e-12)
    assert row.problems == {}


def test_an_absent_region_gives_missing_values_and_a_reason_but_the_main_one_must_be_there(subject):
    without = Subject("one", subject.volumes, subject.masks, absent={"node": "it is not drawn"})
    stage = Extract.model_validate(
        {"parameters": {"default": FEW}, "regions": {"around": {"method": "ring", "of": "node"}}}
    )
    row, full = stage(without), stage(subject)
    assert list(row.values) == list(full.values)
    missing = [name for name, value in row.values.items() if math.isnan(value)]
    assert missing == [name for name in row.values if ":" in name]
    assert row.problems["CT:node.original_firstorder_Mean"] == "no region node: it is not drawn"
    assert row.problems["PET:around.original_firstorder_Mean"] == (
        "no region around: it is made from node: it is not drawn"
    )
    assert row.diagnostics["CT:node.diagnostics_radfuse_Region"] == "no region node: it is not drawn"


def test_a_region_that_is_drawn_on_one_image_only_is_missing_in_the_other(subject):
    one = Subject("one", subject.volumes, subject.masks, regions={"node": {"CT": subject.regions["node"]["CT"]}})
    row = Extract(parameters={"default": FEW})(one)
    assert not math.isnan(row.values["CT:node.original_firstorder_Mean"])
    assert row.problems["PET:node.original_firstorder_Mean"] == (
        "no region node: node is not drawn on PET, or lies outside its field of view"
    )


def test_a_further_region_that_cannot_be_measured_costs_its_own_values_alone(subject, sphere):
    dot = np.zeros_like(sphere.array)
    dot[5, 5, 5] = 1
    own = Mask(dot, sphere.geometry)
    row = Extract(parameters={"default": FEW})(
        Subject("one", subject.volumes, subject.masks, regions={"dot": {"CT": own, "PET": own}})
    )
    assert "mask only contains 1 segmented voxel" in row.problems["CT:dot.original_firstorder_Mean"]
    assert not math.isnan(row.values["CT.original_firstorder_Mean"])


def test_names_that_would_meet_are_refused(subject):
    with pytest.raises(ValidationError, match="two regions would be called 'rim2'"):
        Extract.model_validate({"regions": {"rim": {"method": "habitats"}, "rim2": "ring"}})
    with pytest.raises(ValidationError, match="must be a letter"):
        Extract.model_validate({"regions": {"a.b": "ring"}})
    with pytest.raises(ConfigError, match="would be a second region 'node'"):
        Extract.model_validate({"parameters": {"default": FEW}, "regions": {"node": "ring"}})(subject)
    with pytest.raises(ConfigError, match="beside the main region there is node"):
        Extract.model_validate({"parameters": {"default": FEW}, "regions": {"rim": {"method": "ring", "of": "nodes"}}})(
            subject
        )


def test_the_regions_are_in_the_dump_and_so_in_the_key():
    plain = Extract().model_dump(mode="json")
    rim = Extract.model_validate({"regions": {"rim": {"method": "ring", "outer_mm": 5}}})
    assert plain["regions"] == {}
    assert rim.model_dump(mode="json")["regions"]["rim"]["outer_mm"] == 5.0
    assert Extract.model_validate(rim.model_dump(mode="json")) == rim


@pytest.mark.parametrize("name", sorted(Region.members()))
def test_every_member_is_deterministic_keeps_grids_and_gives_what_it_names(name, subject):
    region = Region.members()[name](min_voxels=1)  # type: ignore[call-arg]
    twice = [region.build()(subject, subject.masks) for _ in range(2)]
    assert len(twice[0]) == len(region.names("x"))
    for left, right in zip(*twice, strict=True):
        assert set(left.masks) == {"CT", "PET"}
        for volume in left.masks:
            assert left.masks[volume].geometry == subject.masks[volume].geometry
            np.testing.assert_array_equal(left.masks[volume].array, right.masks[volume].array)
