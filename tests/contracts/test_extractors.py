"""What every extractor must do, whichever computes the numbers."""

import numpy as np
import pytest

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask
from radfuse.errors import DataError, GeometryError
from radfuse.extract.extractor import Extractor

PARAMETERS = {
    "imageType": {"Original": {}, "LoG": {"sigma": [2.0]}},
    "featureClass": {"shape": None, "firstorder": None, "glcm": ["Contrast"]},
    "setting": {"binWidth": 25},
}


@pytest.fixture(params=sorted(Extractor.members()))
def measure(request):
    return Extractor.choose(request.param).build(PARAMETERS)


def test_known_members_are_found_by_name():
    assert "pyradiomics" in Extractor.members()


def test_every_subject_gets_the_same_names_in_the_same_order(measure, ct, pet, sphere, rng):
    other = Mask((rng.random(sphere.array.shape) < 0.2).astype(np.uint8), sphere.geometry)
    names = list(measure(ct, sphere).values)
    assert list(measure(pet, sphere).values) == names == list(measure(ct, other).values)
    assert len(names) == 14 + 2 * (18 + 1)


def test_reference_values_of_a_ball(measure, ct, sphere):
    whole = ct.with_array(np.rint(ct.array))  # which IBSI's rounding leaves as it is
    values = measure(whole, sphere).values
    inside = whole.array[sphere.inside].astype(float)
    assert values["original_firstorder_Mean"] == pytest.approx(inside.mean(), rel=1e-9)
    assert values["original_firstorder_Variance"] == pytest.approx(inside.var(), rel=1e-9)
    assert values["original_firstorder_Energy"] == pytest.approx((inside**2).sum(), rel=1e-9)
    assert values["original_shape_VoxelVolume"] == pytest.approx(1000 * sphere.volume_ml, rel=1e-9)
    # A ball of 7 mm radius has 1437 mm3; a mesh on voxels 2 mm high cuts 6 % of it off.
    assert values["original_shape_MeshVolume"] == pytest.approx(4 / 3 * np.pi * 7**3, rel=0.1)


def test_the_same_input_gives_the_same_numbers(measure, ct, sphere):
    assert measure(ct, sphere) == measure(ct, sphere)


def test_the_image_outside_the_region_plays_no_part_in_unfiltered_features(measure, ct, sphere):
    elsewhere = ct.with_array(np.where(sphere.inside, ct.array, np.float32(7.0)))
    one, other = measure(ct, sphere).values, measure(elsewhere, sphere).values
    original = [name for name in one if name.startswith("original_")]
    assert {n: one[n] for n in original} == {n: other[n] for n in original}


def test_values_are_real_numbers_or_have_a_reason(measure, ct, sphere):
    flat = ct.with_array(np.full_like(ct.array, 3.0))
    found = measure(flat, sphere)
    assert all(type(value) is float for value in found.values.values())
    missing = {name for name, value in found.values.items() if not np.isfinite(value)}
    assert missing == set(found.problems)
    assert "original_glcm_Contrast" in missing


def test_an_empty_region_is_refused(measure, ct, sphere):
    with pytest.raises(DataError, match="the region of CT is empty"):
        measure(ct, Mask(np.zeros_like(sphere.array), sphere.geometry))


def test_nan_in_the_region_is_refused(measure, ct, sphere):
    with pytest.raises(DataError, match="NaN or infinite"):
        measure(ct.with_array(np.where(sphere.inside, np.nan, ct.array)), sphere)


def test_a_mask_on_another_grid_is_refused(measure, ct, sphere):
    moved = Geometry(ct.geometry.size, ct.geometry.spacing_mm, (0.0, 0.0, 0.0))
    with pytest.raises(GeometryError, match="mask and CT do not share a grid"):
        measure(ct, Mask(sphere.array, moved))


def test_neither_image_nor_mask_is_changed(measure, ct, sphere):
    image, region = ct.array.copy(), sphere.array.copy()
    measure(ct, sphere)
    np.testing.assert_array_equal(ct.array, image)
    np.testing.assert_array_equal(sphere.array, region)
