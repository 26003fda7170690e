"""Voxel-wise maps against PyRadiomics' own, voxel by voxel."""

import numpy as np
import pytest
from extract.voxel_oracle import BATCHED, assert_maps_agree, library_maps, names_of, on_grid
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve

from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_mask, read_volume
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError, GeometryError
from radfuse.extract.voxelwise.maps import Surroundings, computed, voxel_maps
from radfuse.extract.voxelwise.stage import DEFAULT_FEATURES, Voxelwise

GRID = Geometry((9, 8, 6), (1.0, 1.2, 2.5), (-3.0, 4.0, 5.0), (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
ORIGINAL = {"imageType": {"Original": {}}, "setting": {"binWidth": 25}}


@pytest.fixture(scope="module")
def lesion():
    """Noise of int16 with a ragged region, one voxel of it alone."""
    rng = np.random.default_rng(3)
    inside = np.zeros(GRID.shape, np.uint8)
    inside[1:5, 1:6, 2:8] = rng.random((4, 5, 6)) < 0.75
    inside[5, :, :] = 0
    inside[5, 7, 0] = 1
    array = rng.normal(size=GRID.shape) * 60
    return Volume(array.astype(np.int16), GRID, "CT", "HU"), Mask(inside, GRID)


def with_settings(types=None, **settings):
    return {"imageType": types or {"Original": {}}, "setting": {"binWidth": 25, **settings}}


CASES = {
    "as it is": ({}, {}),
    "wide": ({}, {"radius": 2}),
    "whole kernel": ({}, {"masked": False}),
    "wide whole kernel, counted bins": ({"binCount": 6}, {"radius": 2, "masked": False}),
    "in planes": ({"force2D": True}, {}),
    "in sagittal planes, wide": ({"force2D": True, "force2Ddimension": 2}, {"radius": 2}),
    "two levels": ({"binCount": 2}, {"radius": 2}),
    "three levels": ({"binCount": 3}, {}),
    "one level": ({"binWidth": 10000}, {}),
    "far pairs": ({"distances": [1, 2]}, {"radius": 2}),
    "weighted": ({"weightingNorm": "euclidean", "binCount": 5}, {}),
    "dependent from afar, shifted": ({"gldm_a": 1, "voxelArrayShift": 300}, {}),
    "resegmented": ({"resegmentRange": [-50, 60], "binWidth": 10}, {}),
    "resampled": ({"resampledPixelSpacing": [1.5, 1.5, 1.5], "binCount": 6}, {}),
    "cropped first": ({"preCrop": True, "padDistance": 1}, {"masked": False}),
}


@pytest.mark.parametrize(("settings", "around"), CASES.values(), ids=CASES)
def test_every_class_equals_pyradiomics(lesion, settings, around):
    assert_maps_agree(*lesion, with_settings(**settings), **around)


def test_filtered_images_equal_pyradiomics(lesion):
    types = {"LoG": {"sigma": [1.0], "binCount": 6}, "Gradient": {"binWidth": 5}, "Exponential": {"binCount": 4}}
    assert_maps_agree(*lesion, with_settings(types))
    assert_maps_agree(*lesion, with_settings(types), masked=False, classes=["firstorder", "gldm"])


def test_wavelets_equal_pyradiomics(lesion):
    types = {"Wavelet": {"binCount": 5}}
    assert_maps_agree(*lesion, with_settings(types), masked=False, classes=["firstorder", "glcm"])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_every_pixel_type_equals_pyradiomics(lesion, dtype):
    volume, mask = lesion
    array = (volume.array - volume.array.min()) / (6.0 if dtype == np.uint8 else 2.3)
    assert_maps_agree(volume.with_array(array.astype(dtype)), mask, with_settings(binWidth=7.7))


def test_mean_and_mcc_of_pairs_are_those_of_each_voxel_alone(lesion):
    volume, mask = lesion
    few = Mask((mask.array * (np.arange(GRID.shape[0]) > 2)[:, None, None]).astype(np.uint8), GRID)
    for chosen in ({}, {"binCount": 3}, {"symmetricalGLCM": False, "binCount": 40}):
        assert_maps_agree(volume, few, with_settings(**chosen), batch=1, classes=["glcm"])
    at_once = library_maps(volume, few, with_settings())
    # The two that hang on their batch, and why: PyRadiomics gives no map of MCC at all.
    assert np.isnan(on_grid(at_once[BATCHED[1]], volume.to_sitk())).all()


def test_flat_neighbourhoods_round_as_in_pyradiomics(lesion):
    _, mask = lesion
    rare = np.random.default_rng(1).random(GRID.shape) < 0.07
    flat = Volume(np.where(rare, 3.3, 0.1), GRID, "PET", "SUV")
    # Where every level of the region occurs in a direction without telling anything of its neighbour, PyRadiomics'
    # second eigenvalue is -1e-17 or 1e-17, and the direction is left out or counted as 0; here it counts as 0.
    assert_maps_agree(flat, mask, with_settings(binWidth=1))
    assert_maps_agree(flat, mask, with_settings(binWidth=1), radius=2, masked=False, but=BATCHED[1:])


@st.composite
def lesions(draw):
    shape = tuple(draw(st.integers(1, 5)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    array = rng.integers(0, draw(st.integers(1, 12)), shape).astype(
        draw(st.sampled_from(["int16", "float32", "float64"]))
    )
    array = (
        array * array.dtype.type(draw(st.sampled_from([1, 3]))) if array.dtype.kind == "i" else array * np.float32(0.1)
    )
    inside = rng.random(shape) < draw(st.sampled_from([0.3, 0.7, 1.0]))
    inside.flat[[0, -1]] = True
    geometry = Geometry(shape[::-1], (1.0, 1.5, 2.0))
    return Volume(array.astype(array.dtype), geometry, "CT", "HU"), Mask(inside.astype(np.uint8), geometry)


@settings(
    max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
@given(
    lesions(), st.integers(1, 2), st.booleans(), st.sampled_from([{"binCount": 4}, {"binWidth": 1}, {"binWidth": 0.3}])
)
def test_random_small_volumes_equal_pyradiomics(lesion, radius, masked, bins):
    volume, mask = lesion
    if sum(np.ptp(np.argwhere(mask.inside), axis=0) > 0) < 2:
        return  # PyRadiomics refuses lines
    assert_maps_agree(volume, mask, with_settings(**bins), radius=radius, masked=masked)


@pytest.mark.cohort
@pytest.mark.parametrize(
    ("patient", "modality", "width"), [("STS_008", "CT", 15.0), ("STS_003", "PET", 0.25), ("STS_047", "MR_T1", 20.0)]
)
def test_sarcoma_crops_equal_pyradiomics(sts, patient, modality, width):
    volume = read_volume(sts / patient / f"{modality}_image.nii.gz", modality, "")
    mask = read_mask(sts / patient / f"{modality}_mask.nii.gz", 1)
    plane, row, column = np.argwhere(mask.inside)[0]
    part = tuple(slice(max(0, at - 4), at + 5) for at in (plane, row, column))
    shape = volume.array[part].shape
    grid = Geometry(shape[::-1], volume.geometry.spacing_mm)
    crop, region = Volume(volume.array[part].copy(), grid, modality, ""), Mask(mask.array[part].copy(), grid)
    assert_maps_agree(crop, region, with_settings(binWidth=width))
    assert_maps_agree(crop, region, with_settings(binWidth=width), radius=2)


def test_the_mean_is_a_box_filter(lesion):
    volume, mask = lesion
    around = Surroundings(masked=False)
    [(name, found)] = voxel_maps(volume, mask, ORIGINAL, ["original_firstorder_Mean"], around)
    expected = convolve(volume.array.astype(float), np.full((3, 3, 3), 1 / 27))
    inner = mask.inside & np.pad(np.ones(np.subtract(GRID.shape, 2), bool), 1)
    assert inner.sum() > 20
    np.testing.assert_allclose(found.array[inner], expected[inner], rtol=1e-6, atol=1e-5)
    assert name == "original_firstorder_Mean"


def test_the_grid_is_the_image_own_and_outside_is_what_is_asked(lesion):
    volume, mask = lesion
    for outside in (float("nan"), -7.0):
        [(_, found)] = voxel_maps(volume, mask, ORIGINAL, ["original_firstorder_Mean"], Surroundings(outside=outside))
        assert found.geometry == volume.geometry
        assert found.array.dtype == np.float32
        np.testing.assert_array_equal(found.array[~mask.inside], np.full((~mask.inside).sum(), outside, np.float32))
        assert np.isfinite(found.array[mask.inside]).all()


def test_a_lone_voxel_has_no_pairs(lesion):
    volume, mask = lesion
    found = dict(voxel_maps(volume, mask, ORIGINAL, names_of(ORIGINAL), Surroundings()))
    alone = (5, 7, 0)
    assert all(np.isnan(image.array[alone]) for name, image in found.items() if "_glcm_" in name or "_glrlm_" in name)
    assert found["original_glszm_ZonePercentage"].array[alone] == 1
    assert found["original_ngtdm_Coarseness"].array[alone] == np.float32(1e6)
    assert found["original_firstorder_Mean"].array[alone] == volume.array[alone]


def test_the_number_of_threads_changes_no_byte(lesion):
    names = names_of(ORIGINAL)
    one, three = (dict(voxel_maps(*lesion, ORIGINAL, names, Surroundings(threads=threads))) for threads in (1, 3))
    assert set(one) == set(names)
    assert all(one[name].array.tobytes() == three[name].array.tobytes() for name in names)


def test_a_mask_elsewhere_is_refused(lesion):
    volume, mask = lesion
    away = Mask(mask.array, Geometry(GRID.size, GRID.spacing_mm, (100.0, 0.0, 0.0)))
    with pytest.raises(GeometryError, match="do not share a grid"):
        list(voxel_maps(volume, away, ORIGINAL, ["original_firstorder_Mean"], Surroundings()))
    lenient = with_settings(correctMask=True)
    with pytest.raises(GeometryError, match="do not share a grid"):
        list(voxel_maps(volume, away, lenient, ["original_firstorder_Mean"], Surroundings()))


def test_what_pyradiomics_refuses_is_refused(lesion):
    volume, mask = lesion
    array = np.zeros(GRID.shape, np.uint8)
    array[2, 3, 3:6] = 1
    with pytest.raises(DataError, match="below the minimum"):
        list(voxel_maps(volume, Mask(array, GRID), ORIGINAL, ["original_firstorder_Mean"], Surroundings()))
    with pytest.raises(DataError, match="cuts the region"):
        list(voxel_maps(volume, mask, with_settings(binWidth=0.001), ["original_glcm_Contrast"], Surroundings()))
    across = np.zeros(GRID.shape, np.uint8)
    across[1:5, 3, 3] = 1
    lines = with_settings(force2D=True, minimumROIDimensions=1)
    with pytest.raises(DataError, match="no voxel-wise map of CT can be made: Error getting angle count"):
        list(voxel_maps(volume, Mask(across, GRID), lines, ["original_firstorder_Mean"], Surroundings()))
    flat = with_settings({"LBP3D": {}})
    with pytest.raises(DataError, match="in the region only"):
        list(voxel_maps(volume, mask, flat, ["lbp-3D-k_firstorder_Mean"], Surroundings(masked=False)))


def test_features_are_chosen_by_name_and_pattern():
    stage = Voxelwise(features=("original_ngtdm_*", "PET.original_glcm_MCC"))
    assert stage.chosen("CT") == [
        f"original_ngtdm_{n}" for n in ("Busyness", "Coarseness", "Complexity", "Contrast", "Strength")
    ]
    assert "original_glcm_MCC" in stage.chosen("PET")
    assert Voxelwise().chosen("fused-average-CT_PET") == [
        name for name in Voxelwise(features=("*",)).chosen("CT") if name in DEFAULT_FEATURES
    ]
    assert not any("shape" in name for name in Voxelwise(features=("*",)).chosen("CT"))
    assert not computed("original_shape_Sphericity")
    assert not computed("original_glcm_Homogeneity1")
    with pytest.raises(ConfigError, match="did you mean 'original_glcm_Contrast'"):
        Voxelwise(features=("original_glcm_Contrasts",)).require_matches(["CT"])


def test_the_parameters_say_how_wide_and_the_stage_overrules(lesion):
    volume, mask = lesion
    voxel = {"voxelSetting": {"kernelRadius": 2, "maskedKernel": False, "initValue": 5.0}}
    parameters = {"CT": {**ORIGINAL, **voxel}}
    subject = Subject("a", {"CT": volume}, {"CT": mask})
    wanted = {"CT": ["original_firstorder_Mean"]}
    [(name, found)] = Voxelwise(parameters=parameters)(subject, wanted)
    assert name == "CT.original_firstorder_Mean"
    [(_, same)] = voxel_maps(volume, mask, ORIGINAL, wanted["CT"], Surroundings(2, False, 5.0))
    np.testing.assert_array_equal(found.array, same.array)
    stage = Voxelwise(parameters=parameters, kernel_radius=1, masked=True, outside=0.0)
    [(_, found)] = stage(subject, wanted)
    [(_, same)] = voxel_maps(volume, mask, ORIGINAL, wanted["CT"], Surroundings(1, True, 0.0))
    np.testing.assert_array_equal(found.array, same.array)
    with pytest.raises(DataError, match="no region to map"):
        list(stage(Subject("a", {"CT": volume}), wanted))


def test_a_kernel_that_looks_around_sees_no_padding(lesion):
    volume, mask = lesion
    view = np.ones(mask.array.shape, np.uint8)
    view[int(np.argwhere(mask.inside)[:, 0].mean()) :] = 0
    stage = Voxelwise(parameters={"CT": ORIGINAL}, kernel_radius=1, masked=False)
    maps = []
    for padding in (-1000, 3000):
        padded = volume.with_array(np.where(view, volume.array, padding).astype(volume.array.dtype))
        subject = Subject("a", {"CT": padded}, {"CT": mask}, seen={"CT": Mask(view, mask.geometry)})
        [(_, found)] = stage(subject, {"CT": ["original_firstorder_Maximum"]})
        maps.append(found.array)
    np.testing.assert_array_equal(*maps)
