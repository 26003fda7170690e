"""The fuse stage: names, regions, scales, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError, GeometryError
from radfuse.fuse.average import Average
from radfuse.fuse.normalisation import DEFAULTS, Affine, Spread, Window, normalisation_for, normalise
from radfuse.fuse.stage import Fuse

AVERAGE = Fuse(methods=("average",))


@pytest.fixture
def subject(ct: Volume, pet: Volume, sphere: Mask) -> Subject:
    return Subject("p1", {"CT": ct, "PET": pet}, {"CT": sphere, "PET": sphere})


def test_every_default_method_adds_a_volume_with_its_region(subject, sphere):
    fused = Fuse()(subject)
    names = [f"fused-{method}-CT_PET" for method in ("average", "maximum", "dwt3d", "mdafuse")]
    assert list(fused.volumes) == ["CT", "PET", *names]
    for name in names:
        assert fused.volumes[name].unit == "fused"
        assert fused.volumes[name].modality == name
        assert fused.volumes[name].array.dtype == np.float32
        assert fused.volumes[name].geometry == sphere.geometry
        assert fused.masks[name] is sphere
    assert list(fused.findings["fuse"]["fused"]) == names
    assert list(subject.volumes) == ["CT", "PET"]


def test_the_average_is_of_the_normalised_values(subject, ct, pet):
    fused = AVERAGE(subject).volumes["fused-average-CT_PET"].array
    assert fused == pytest.approx(0.5 * ((ct.array + 1024) / 2000 + pet.array / 20), abs=1e-6)


def test_volumes_matched_in_resolution_are_fused_where_there_are_some(subject, pet):
    blurred = pet.with_array(np.full_like(pet.array, 2.0))
    fused = AVERAGE(replace(subject, matched={"PET": blurred}))
    expected = 0.5 * ((subject.volumes["CT"].array + 1024) / 2000 + 0.1)
    assert fused.volumes["fused-average-CT_PET"].array == pytest.approx(expected, abs=1e-6)
    assert fused.findings["fuse"]["fused"]["fused-average-CT_PET"]["point_spread_matched"] == ["PET"]


def test_a_fused_volume_is_seen_where_all_its_inputs_are(subject, sphere):
    views = {}
    for name, axis in (("CT", 0), ("PET", 1)):
        inside = np.ones(sphere.geometry.shape, np.uint8)
        inside[(slice(None),) * axis + (slice(0, 3),)] = 0
        views[name] = Mask(inside, sphere.geometry)
    name = "fused-average-CT_PET"
    seen = AVERAGE(replace(subject, seen=views)).seen
    assert np.array_equal(seen[name].inside, views["CT"].inside & views["PET"].inside)
    assert AVERAGE(replace(subject, seen={"PET": views["PET"]})).seen[name] is views["PET"]
    assert AVERAGE(subject).seen == {}


def test_the_mask_plays_no_part(subject, sphere):
    other = Mask((1 - sphere.array).astype(np.uint8), sphere.geometry)
    masks = {"CT": other, "PET": other}
    one, two = AVERAGE(subject), AVERAGE(replace(subject, masks=masks))
    assert np.array_equal(one.volumes["fused-average-CT_PET"].array, two.volumes["fused-average-CT_PET"].array)


def test_fused_volumes_are_not_fused_again(subject):
    twice = AVERAGE(AVERAGE(subject))
    assert list(twice.volumes) == ["CT", "PET", "fused-average-CT_PET"]


@pytest.mark.parametrize(
    ("inputs", "names", "made"),
    [
        (None, {"CT", "fused-maximum-CT_PET", "fused-average_w25-CT_PET"}, ["fused-maximum-CT_PET"]),
        ([["CT", "PET"], ["PET", "CT", "MR"]], {"fused-average-CT_PET", "PET"}, ["fused-average-CT_PET"]),
        ([["CT", "PET"]], {"CT", "PET"}, []),
        ([["CT", "PET"]], {"fused-average-CT_PET", "fused-maximum-CT_PET"}, None),
    ],
)
def test_only_what_is_asked_for_is_made(subject, inputs, names, made):
    stage = Fuse(methods=("average", "maximum"), inputs=inputs)
    before, after = stage(subject), stage.only(names)(subject)
    expected = list(before.volumes)[2:] if made is None else made
    assert list(after.volumes) == ["CT", "PET", *expected]
    for name in expected:
        assert np.array_equal(after.volumes[name].array, before.volumes[name].array)


def test_each_set_of_inputs_makes_its_own_volume(subject, ct):
    three = replace(subject, volumes={**subject.volumes, "MR_T1": replace(ct, modality="MR_T1", unit="a.u.")})
    fused = Fuse(methods=("average",), inputs=(("PET", "CT"), ("PET", "MR_T1"), ("CT", "PET", "MR_T1")))(three)
    made = [name for name in fused.volumes if name.startswith("fused")]
    assert made == ["fused-average-CT_PET", "fused-average-MR_T1_PET", "fused-average-CT_MR_T1_PET"]


def test_a_missing_modality_is_recorded_and_the_rest_is_fused(subject):
    fused = Fuse(methods=("average",), inputs=(("CT", "PET"), ("PET", "MR")))(subject)
    assert fused.findings["fuse"]["skipped"] == {"MR_PET": "no MR"}
    assert "fused-average-CT_PET" in fused.volumes


def test_a_single_modality_is_recorded_and_left_alone(ct, sphere):
    fused = Fuse()(Subject("p1", {"CT": ct}, {"CT": sphere}))
    assert list(fused.volumes) == ["CT"]
    assert fused.findings["fuse"]["skipped"] == {"CT": "one modality alone cannot be fused"}


def test_the_recorded_map_inverts_the_normalisation(ct, pet):
    for volume in (ct, pet, replace(ct, modality="MR_T1", unit="a.u.")):
        array, affine = normalise(volume, normalisation_for(volume.modality, DEFAULTS))
        assert affine.invert(array) == pytest.approx(volume.array, abs=1e-3)
        assert affine.record() == {"low": affine.low, "width": affine.width, "unit": volume.unit}


def test_air_and_no_uptake_become_zero_and_nothing_is_clipped(grid):
    values = np.full(grid.shape, -1024.0, np.float32)
    values[0, 0, 0] = 3000.0
    array, _ = normalise(Volume(values, grid, "CT", "HU"), DEFAULTS["CT"])
    assert array.min() == 0
    assert array.max() == pytest.approx(4024 / 2000)


def test_spread_counts_in_deviations_of_tissue_whatever_the_gain(grid, rng):
    tissue = np.zeros(grid.shape)
    tissue[2:10, 4:20, 4:20] = rng.normal(500, 50, (8, 16, 16))
    deviation = tissue[2:10, 4:20, 4:20].std()
    found = [normalise(Volume(gain * tissue, grid, "MR", "a.u."), Spread(deviations=4))[0] for gain in (1.0, 7.5)]
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    assert found[0][0, 0, 0] == 0
    assert found[0] == pytest.approx(tissue / (4 * deviation), abs=1e-5)


def test_spread_takes_standardised_volumes_at_their_word(grid):
    values = np.linspace(-2, 3, grid.shape[0] * grid.shape[1] * grid.shape[2]).reshape(grid.shape)
    array, affine = normalise(Volume(values, grid, "MR", "z"), Spread(deviations=5))
    assert (affine.low, affine.width) == (-2.0, 5.0)
    assert array.max() == pytest.approx(1.0)


def test_a_constant_volume_becomes_zero(grid):
    array, _ = normalise(Volume(np.full(grid.shape, 7.0), grid, "MR", "a.u."), Spread())
    assert (array == 0).all()


def test_settings_of_one_modality_keep_the_defaults_of_the_others():
    stage = Fuse(normalisation={"CT": {"kind": "window", "low": -160, "high": 240}})
    assert stage.normalisation["CT"] == Window(low=-160, high=240)
    assert stage.normalisation["PET"] == DEFAULTS["PET"]
    assert Fuse.model_validate(stage.model_dump(mode="json")) == stage


def test_settings_survive_a_round_trip_through_text():
    stage = Fuse(methods=({"method": "dwt3d", "weights": {"CT": 0.2, "PET": 0.8}}, "mdafuse"))
    assert Fuse.model_validate(stage.model_dump(mode="json")) == stage


def test_volumes_on_two_grids_are_refused(subject, pet):
    moved = Volume(pet.array, replace(pet.geometry, origin_mm=(-7.0, 5.0, 30.0)), "PET", "SUV")
    with pytest.raises(GeometryError, match=r"CT image and PET image do not share a grid: origin shifted") as caught:
        AVERAGE(replace(subject, volumes={**subject.volumes, "PET": moved}))
    assert "radfuse align" in caught.value.hint


def test_a_mask_on_another_grid_is_refused(subject, sphere):
    far = Mask(sphere.array, Geometry(sphere.geometry.size, (1.0, 1.0, 3.0), sphere.geometry.origin_mm))
    with pytest.raises(GeometryError, match="PET mask do not share a grid: spacing"):
        AVERAGE(replace(subject, masks={"CT": sphere, "PET": far}))


def test_voxels_that_are_no_numbers_are_refused(subject, pet):
    array = pet.array.copy()
    array[1, 2, 3] = np.nan
    with pytest.raises(DataError, match="PET holds 1 voxels that are not finite"):
        AVERAGE(replace(subject, volumes={**subject.volumes, "PET": pet.with_array(array)}))


def test_two_settings_of_one_method_are_refused():
    with pytest.raises(ValidationError, match="average is listed twice"):
        Fuse(methods=(Average(), Average(weights={"CT": 1.0, "PET": 2.0})))


@pytest.mark.parametrize("inputs", [(("CT",),), (("CT", "CT"),), (("CT", "PET"), ("PET", "CT"))])
def test_sets_of_inputs_that_make_no_sense_are_refused(inputs):
    with pytest.raises(ValidationError, match=r"two or more different|listed twice"):
        Fuse(inputs=inputs)


def test_a_window_the_wrong_way_round_is_refused():
    with pytest.raises(ValidationError, match="from low to high"):
        Window(low=10, high=-10)


@pytest.mark.parametrize("method", ["average", "dwt3d", "laplacian", "mdafuse"])
def test_a_fused_volume_knows_nothing_of_padding_and_is_zero_beyond_the_scans(subject, sphere, method):
    inside = np.ones(sphere.geometry.shape, np.uint8)
    inside[int(np.argwhere(sphere.inside)[:, 0].mean()) :] = 0
    view, fused = Mask(inside, sphere.geometry), []
    for padding in (-1000.0, 3000.0):
        pet = subject.volumes["PET"].with_array(np.where(view.inside, subject.volumes["PET"].array, padding))
        cut = replace(subject, volumes={**subject.volumes, "PET": pet}, seen={"PET": view})
        fused.append(Fuse(methods=(method,))(cut).volumes[f"fused-{method}-CT_PET"].array)
    assert np.array_equal(*fused)
    assert not fused[0][~view.inside].any()
    assert fused[0][view.inside].any()


def test_scans_that_show_no_part_of_the_region_in_common_are_not_fused(subject, sphere):
    middle = int(np.argwhere(sphere.inside)[:, 0].mean())
    views = {}
    for name, part in (("CT", slice(0, middle)), ("PET", slice(middle, None))):
        inside = np.zeros(sphere.geometry.shape, np.uint8)
        inside[part] = 1
        views[name] = Mask(inside, sphere.geometry)
    out = AVERAGE(replace(subject, seen=views))
    assert list(out.volumes) == ["CT", "PET"]
    assert out.findings["fuse"]["skipped"] == {"CT_PET": "the scans show no part of the region in common"}


def test_the_spread_of_tissue_does_not_follow_how_much_noisy_air_a_scan_shows(rng):
    def shown(air: int) -> Affine:
        truth = np.zeros((24, 32 + 2 * air, 32 + 2 * air))
        truth[:, air + 4 : air + 28, air + 4 : air + 28] = rng.normal(300.0, 60.0, (24, 24, 24))
        # The magnitude of a complex signal: Rayleigh noise in air, a twentieth of the tissue.
        noisy = np.abs(truth + 15.0 * (rng.normal(size=truth.shape) + 1j * rng.normal(size=truth.shape)))
        grid = Geometry(truth.shape[::-1], (2.0, 2.0, 2.0))
        return Spread().measure(Volume(noisy.astype(np.float32), grid, "MR", "a.u."))

    assert shown(24).width == pytest.approx(shown(2).width, rel=0.03)


def test_weights_that_are_not_there_are_missed_before_any_work():
    absent = Fuse(methods=({"method": "mdafuse", "weights": "nowhere.safetensors", "sha256": "0" * 64},))
    with pytest.raises(ConfigError, match=r"weights not found: .*nowhere\.safetensors"):
        absent.require()
    Fuse().require()
