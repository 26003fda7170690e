"""IBSI-1: the image processing by hand-worked examples, the features by two implementations, the scorecard's rules."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import map_coordinates

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError
from radfuse.extract.extractor import Extractor
from radfuse.extract.fast import Fast
from radfuse.extract.ibsi import Ibsi
from radfuse.extract.ibsi1.added import tag_of
from radfuse.extract.ibsi1.benchmark import CONFIGURATIONS, agrees, digital_phantom
from radfuse.extract.ibsi1.catalogue import features
from radfuse.extract.ibsi1.conformed import Processing, bins_for, conform, discretised
from radfuse.extract.ibsi1.families import measure
from radfuse.extract.ibsi1.interpolation import grid_for, positions_of, sampled
from radfuse.extract.stage import Extract

TEXTURE = ("glcm", "gldm", "glrlm", "glszm", "ngtdm")
ALL = {"imageType": {"Original": {}}}


def line(values, inside=None, spacing_mm=1.0):
    """A volume of one line of voxels along x."""
    grid = Geometry((len(values), 1, 1), (spacing_mm, 1.0, 1.0))
    inside = np.ones(len(values), np.uint8) if inside is None else np.array(inside, np.uint8)
    return Volume(np.array(values, np.float32)[None, None], grid, "CT", "HU"), Mask(inside[None, None], grid)


# The grid and interpolation


def test_the_grid_covers_the_image_and_keeps_its_centre():
    old = Geometry((10, 4, 3), (1.0, 1.0, 2.0), (5.0, 0.0, -7.0))
    new = grid_for(old, (3.0, 0.0, 2.0))
    assert new.size == (4, 4, 3)  # 10 mm need four voxels of 3 mm; 0 keeps an axis
    assert new.spacing_mm == (3.0, 1.0, 2.0)
    # The old centre is at 5 + 4.5 mm, the middle of the new line at 1.5 voxels of 3 mm.
    assert new.origin_mm == pytest.approx((5.0, 0.0, -7.0))
    assert grid_for(old, None) is old


def test_rounding_of_the_spacing_adds_no_voxel():
    assert 84 * 0.1 / 0.3 > 28  # by one bit
    assert grid_for(Geometry((84, 1, 1), (0.1, 1.0, 1.0)), (0.3, 0.0, 0.0)).size[0] == 28


def test_linear_interpolation_by_hand_with_the_nearest_voxel_beyond_the_border():
    volume, mask = line([0, 10, 20, 30])
    processing = Processing((0.75, 0.0, 0.0))
    # Six voxels at -0.375, 0.375, 1.125, 1.875, 2.625 and 3.375 of the old ones.
    expected = [0, 3.75, 11.25, 18.75, 26.25, 30]
    np.testing.assert_allclose(conform(volume, mask, processing).image.ravel(), expected, atol=1e-12)


def test_the_cubic_spline_is_scipys(rng):
    image = rng.normal(0, 100, (7, 9, 8))
    geometry = Geometry((8, 9, 7), (1.0, 1.3, 3.0))
    positions = positions_of(grid_for(geometry, (0.7, 2.0, 1.0)), geometry)
    grid = np.meshgrid(*positions, indexing="ij")
    expected = map_coordinates(image, grid, order=3, mode="mirror")
    np.testing.assert_allclose(sampled(image, positions, "bspline"), expected, atol=1e-9)
    np.testing.assert_allclose(sampled(image, positions, "linear"), map_coordinates(image, grid, order=1), atol=1e-9)


def test_half_a_voxel_of_the_mask_is_kept_and_less_is_not():
    volume, mask = line([0, 10, 20, 30], [0, 1, 1, 0])
    assert conform(volume, mask, Processing((2.0, 0, 0))).morphology.ravel().tolist() == [True, True]
    volume, mask = line([0, 10, 20, 30, 40, 50], [0, 0, 0, 0, 0, 1])
    # Three voxels of 2 mm at 0.5, 2.5 and 4.5; five of 1.3 mm, the last at 5.1, beyond the border.
    assert conform(volume, mask, Processing((2.0, 0, 0))).morphology.ravel().tolist() == [False, False, True]
    _, mask = line([0] * 6, [0, 0, 0, 0, 1, 0])
    assert conform(volume, mask, Processing((1.3, 0, 0))).morphology.ravel().tolist()[-2:] == [True, False]


def test_intensities_are_rounded_where_that_is_asked_for_interpolated_or_not():
    volume, mask = line([0.4, 1.6, 2.7, 3.9])
    assert conform(volume, mask, Processing(rounding=True)).values.tolist() == [0, 2, 3, 4]
    assert conform(volume, mask, Processing()).values[0] == pytest.approx(0.4)
    rounded = conform(volume, mask, Processing((0.8, 0, 0), rounding=True)).values
    np.testing.assert_array_equal(rounded, np.rint(rounded))
    unrounded = conform(volume, mask, Processing((0.8, 0, 0))).values
    assert not np.array_equal(unrounded, np.rint(unrounded))


@pytest.mark.parametrize("interpolator", ["linear", "bspline"])
def test_what_lies_far_from_the_region_may_be_left_out(interpolator, ct, sphere):
    processing = Processing((1.5, 1.5, 1.5), interpolator, True, (-500, 200), 3.0, bin_width=25)  # type: ignore[arg-type]
    near = conform(ct, sphere, processing, 0.0)
    whole = conform(ct, sphere, processing, np.inf)
    assert near.image.size < whole.image.size
    np.testing.assert_array_equal(near.values, whole.values)
    np.testing.assert_array_equal(near.levels[near.intensity], whole.levels[whole.intensity])
    assert whole.geometry == whole.whole == near.whole
    place = near.geometry.index_to_physical[:3, 3] - whole.geometry.index_to_physical[:3, 3]
    start = np.rint(place / whole.geometry.spacing_mm).astype(int)[::-1]
    part = tuple(slice(s, s + n) for s, n in zip(start, near.image.shape, strict=True))
    np.testing.assert_array_equal(whole.image[part], near.image)


# Resegmentation and discretisation


def test_outliers_are_judged_among_what_the_range_left():
    values = [0.0] * 50 + [10.0] * 50 + [40.0, 5000.0]
    volume, mask = line(values)
    found = conform(volume, mask, Processing(resegment=(-10, 1000), outlier_sigma=3.0))
    left = np.array(values[:-1])
    low, high = left.mean() - 3 * left.std(), left.mean() + 3 * left.std()  # 5.35 +- 3 * 6.05
    assert found.limits == pytest.approx((max(-10, low), high))
    assert found.intensity.sum() == 100  # 40 is out; with 5000 among them nothing but 5000 would have been
    assert found.morphology.sum() == 102


def test_the_range_counts_with_its_ends_and_outliers_never_widen_it():
    volume, mask = line([-500, -501, 0, 400, 401])
    found = conform(volume, mask, Processing(resegment=(-500, 400), outlier_sigma=3.0))
    assert found.values.tolist() == [-500, 0, 400]
    assert found.limits == (-500, 400)
    assert conform(volume, mask, Processing()).limits is None


def test_bins_of_a_fixed_size_begin_at_the_lower_end_of_the_range():
    volume, mask = line([-1000, -976, -975, 0, 399, 400])
    found = conform(volume, mask, Processing(resegment=(-1000, 400), bin_width=25))
    assert found.levels.ravel().tolist() == [1, 1, 2, 41, 56, 57]
    assert (found.anchor, found.bin_width) == (-1000, 25)


def test_a_fixed_number_of_bins_covers_the_region_and_the_greatest_value_is_in_the_last():
    volume, mask = line([-1000, 2, 3, 4, 5, 6], [0, 1, 1, 1, 1, 1])
    found = conform(volume, mask, Processing(bin_count=4, bin_width=25))
    assert found.levels.ravel().tolist() == [0, 1, 2, 3, 4, 4]
    assert discretised(np.full(3, 7.0), 7.0, 0.0, 4).tolist() == [1, 1, 1]


def test_without_a_range_bins_begin_at_0_suv_or_at_the_lowest_intensity():
    values = np.array([1.2, 3.0])
    assert bins_for(values, None, "SUV", 0.25, None) == (0.0, 0.25)
    assert bins_for(values, None, "HU", 0.25, None) == (1.2, 0.25)
    assert bins_for(values, (-np.inf, 9.0), "HU", 0.25, None) == (1.2, 0.25)
    assert bins_for(values, (0.5, np.inf), "SUV", 0.25, None) == (0.5, 0.25)


def test_where_outliers_end_is_never_where_the_first_bin_begins():
    volume, mask = line([0.0] + [100.0] * 50 + [110.0] * 50 + [400.0])
    cut = {"outlier_sigma": 3.0, "bin_width": 25}
    by_range = conform(volume, mask, Processing(resegment=(-1000, 300), **cut))
    assert by_range.limits[0] > 60  # 0 is an outlier
    assert by_range.intensity.sum() == 100
    assert (by_range.anchor, set(by_range.levels[by_range.intensity])) == (-1000, {45})
    assert conform(volume, mask, Processing(**cut)).anchor == 100  # the lowest intensity that is left
    suv = Volume(volume.array, volume.geometry, "PET", "SUV")
    assert conform(suv, mask, Processing(**cut)).anchor == 0
    assert conform(suv, mask, Processing(resegment=(10, np.inf), **cut)).anchor == 10


@pytest.mark.parametrize("setting", [{}, {"resampledPixelSpacing": [2, 2, 2]}])
def test_the_volume_histogram_has_one_unit_whatever_the_numbers_are(setting):
    rng = np.random.default_rng(0)
    grid = Geometry((12, 12, 12), (2.0, 2.0, 2.0))
    whole = np.rint(rng.normal(40, 30, grid.shape))
    inside = np.zeros(grid.shape, np.uint8)
    inside[3:9, 3:9, 3:9] = 1
    image = {"whole": whole, "fractions": whole + rng.uniform(-0.3, 0.3, grid.shape)}
    found: dict[str, dict[str, list[float]]] = {"HU": {}, "SUV": {}}
    for unit in found:
        measure = Ibsi().build({**ALL, "setting": {"binWidth": 25, **setting}})
        for array in image.values():
            values = measure(Volume(array.astype(np.float32), grid, "CT", unit), Mask(inside, grid)).values
            for name in ("original_ivh_IntensityAt10Volume", "original_ivh_IntensityAt90Volume"):
                found[unit].setdefault(name, []).append(values[name])
    for one, other in found["HU"].values():
        assert one == other == round(one)  # rounded, in HU
    for one, other in found["SUV"].values():
        assert one == pytest.approx(other, abs=15)  # numbers of bins, of 1000
        assert one > 100


def test_a_conformed_image_cannot_be_changed(ct, sphere):
    found = conform(ct, sphere, Processing())
    with pytest.raises(ValueError, match="read-only"):
        found.levels[:] = 1


def test_a_region_that_interpolation_loses_is_refused():
    volume, mask = line([0, 1, 2, 3, 4, 5, 6, 7, 8], [1] + [0] * 8)
    with pytest.raises(DataError, match=r"1 voxels.* is lost on voxels of"):
        conform(volume, mask, Processing((6.0, 0, 0)))


def test_a_range_without_a_voxel_is_refused(ct, sphere):
    with pytest.raises(DataError, match="no voxel of the region of CT lies between 2000 and 3000"):
        conform(ct, sphere, Processing(resegment=(2000, 3000)))


# The features


def test_without_any_processing_only_kurtosis_and_axes_differ_from_pyradiomics(ct, sphere):
    whole = ct.with_array(np.rint(ct.array) - np.rint(ct.array[sphere.inside]).min())  # bins begin at 0 in both
    parameters = {**ALL, "setting": {"binWidth": 10}}
    theirs, ours = Fast().build(parameters)(whole, sphere).values, Ibsi().build(parameters)(whole, sphere).values
    scale = (sphere.voxels / (sphere.voxels - 1)) ** 0.5
    expected = {
        name: value * scale if "AxisLength" in name else value - 3 if name.endswith("Kurtosis") else value
        for name, value in theirs.items()
    }
    assert {name: ours[name] for name in expected} == pytest.approx(expected, rel=1e-9)


def test_filters_see_the_processed_image(ct, sphere):
    parameters = {
        "imageType": {"LoG": {"sigma": [2.0]}, "Wavelet": {}, "Square": {}},
        "featureClass": {"firstorder": ["Mean", "Variance", "90Percentile"]},
    }
    theirs = Fast().build(parameters)(ct, sphere).values
    # They filter in the single precision of the file, IBSI in double.
    assert Ibsi(rounding="never").build(parameters)(ct, sphere).values == pytest.approx(dict(theirs), rel=1e-5)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_pyradiomics_features_agree_with_a_second_implementation_on_thin_and_scattered_regions(seed, flat):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 8, 3) + np.array([0, 2, 2]))
    grid = Geometry(shape[::-1], tuple(rng.uniform(0.5, 3, 3)))
    volume = Volume(rng.normal(0, 40, shape).astype(np.float32), grid, "CT", "HU")
    mask = Mask((rng.random(shape) < 0.4).astype(np.uint8), grid)
    setting = {"binWidth": 20, "force2D": flat, "minimumROIDimensions": 1}
    extractor = Ibsi(families=False).build({**CONFIGURATIONS[0].parameters, "setting": setting})
    ours = extractor(volume, mask).values
    theirs = measure(conform(volume, mask, extractor.processing_for(volume)))
    merging = "2_5D_avg" if flat else "3D_avg"
    known = {f"original_{f.name}": theirs[tag_of(f, merging)] for f in features().values() if not f.added}
    assert {name: ours[name] for name in known} == pytest.approx(known, rel=1e-8, abs=1e-7)


def test_runs_are_counted_in_directions_that_pyradiomics_leaves_out():
    # Two equal voxels in a row, a third level apart: one run of 2 along x; in 12 directions three runs of 1.
    volume, mask = line([1, 1, 0, 0, 5], [1, 1, 0, 0, 1])
    parameters = {
        "featureClass": {"glrlm": ["ShortRunEmphasis"]},
        "setting": {"binWidth": 1, "minimumROIDimensions": 1},
    }
    found = Ibsi().build(parameters)(volume, mask).values["original_glrlm_ShortRunEmphasis"]
    assert found == pytest.approx((12 + (1 / 4 + 1) / 2) / 13)


def test_a_voxel_without_neighbours_has_no_part_in_ngtdm():
    # Two neighbours of levels 1 and 2, half of the voxels each, that differ by 1; a third voxel far away.
    volume, mask = line([1, 2, 0, 0, 3], [1, 1, 0, 0, 1])
    parameters = {"featureClass": {"ngtdm": None}, "setting": {"binWidth": 1, "minimumROIDimensions": 1}}
    found = Ibsi().build(parameters)(volume, mask).values
    assert found["original_ngtdm_Coarseness"] == pytest.approx(1.0)  # 1 / (0.5 + 0.5)
    assert found["original_ngtdm_Contrast"] == pytest.approx(0.25)  # 2 * 0.25 * 1 / (2 * 1) * (1 + 1) / 2


def test_families_come_with_all_classes_and_mergings_when_asked_for(ct, sphere):
    chosen = {"featureClass": {"glcm": ["Contrast"]}}
    assert list(Ibsi().build(chosen)(ct, sphere).values) == ["original_glcm_Contrast"]
    names = set(Ibsi().build(ALL)(ct, sphere).values)
    assert len(names) == 107 + 62
    assert {"original_gldzm_SmallDistanceEmphasis", "original_ivh_IntensityAt10Volume"} <= names
    assert set(Ibsi(families=False).build(ALL)(ct, sphere).values) < names
    merged = set(Ibsi(families=False, merging=("2D_comb",)).build(chosen)(ct, sphere).values)
    assert {"original_glcm_Contrast_2D_comb", "original_glszm_ZonePercentage_2D"} <= merged
    assert "original_firstorder_Mean" not in merged


def test_2d_is_the_same_by_force2d_and_by_the_extractor(ct, sphere):
    parameters = {"featureClass": {"glcm": None}, "setting": {"binWidth": 25}}
    forced = {**parameters, "setting": {"binWidth": 25, "force2D": True}}
    flat = Ibsi(dimensionality="2D").build(parameters)(ct, sphere).values
    assert flat == Ibsi().build(forced)(ct, sphere).values
    assert flat != Ibsi().build(parameters)(ct, sphere).values
    assert flat != Ibsi(dimensionality="3D").build(forced)(ct, sphere).values


def test_2d_without_chosen_classes_leaves_out_the_shape_of_a_single_slice(ct, sphere):
    names = list(Ibsi(dimensionality="2D").build(ALL)(ct, sphere).values)
    assert names == list(Ibsi().build(ALL)(ct, sphere).values)


def test_a_region_below_the_minimum_is_refused(ct):
    array = np.zeros(ct.array.shape, np.uint8)
    array[5, 5, 5:9] = 1
    with pytest.raises(DataError, match=r"4 voxels along 1 axes .* below the minimum"):
        Ibsi().build({})(ct, Mask(array, ct.geometry))


def test_too_many_grey_levels_are_refused(ct, sphere):
    with pytest.raises(DataError, match=r"bins of 0\.01 cut the region of the original image of CT into"):
        Ibsi().build({"featureClass": {"glcm": None}, "setting": {"binWidth": 0.01}})(ct, sphere)


# The settings


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"normalize": True}, "normalize has no place in IBSI's processing"),
        ({"resegmentShape": True}, "resegmentShape has no place"),
        ({"weightingNorm": "manhattan"}, "weightingNorm has no place"),
        ({"resampledPixelSpacing": [1, 1, 1], "interpolator": "sitkNearestNeighbor"}, "sitkLinear or sitkBSpline"),
        ({"resampledPixelSpacing": [1, 1]}, "2 axes, expected x, y, z"),
        ({"resegmentRange": [0.1, 0.9], "resegmentMode": "relative"}, "no resegmentation of IBSI's"),
        ({"resegmentRange": [-3, 2], "resegmentMode": "sigma"}, "no resegmentation of IBSI's"),
        ({"force2D": True, "force2Ddimension": 1}, "slices are axial"),
    ],
)
def test_settings_that_ibsi_has_not_are_refused(setting, said):
    with pytest.raises(ConfigError, match=said):
        Ibsi().build({"setting": setting})
    assert len(Ibsi().faults({"setting": setting})) == 1


def test_what_ibsi_has_not_is_refused_before_anything_is_measured():
    parameters = {"CT": {"setting": {"normalize": True}}}
    assert Extract(parameters=parameters).extractor == Fast()
    with pytest.raises(ValidationError, match=r"parameters\.CT: setting.normalize has no place in IBSI's processing"):
        Extract(parameters=parameters, extractor="ibsi")


def test_pyradiomics_settings_become_ibsis_processing(ct, pet):
    setting = {"resampledPixelSpacing": [2, 2, 0], "resegmentRange": [-3, 3], "resegmentMode": "sigma", "binCount": 32}
    extractor = Ibsi().build({"setting": setting})
    found = extractor.processing_for(ct)
    assert found == Processing((2, 2, 0), "bspline", True, None, 3.0, None, 32)
    assert not extractor.processing_for(pet).rounding
    one_sided = Ibsi(outlier_sigma=3, rounding="never").build({"setting": {"resegmentRange": [-500]}})
    assert one_sided.processing_for(ct) == Processing(None, "linear", False, (-500, np.inf), 3.0, 25.0)


def test_ibsi_true_is_short_for_the_extractor():
    assert Extract.model_validate({"ibsi": True}).extractor == Ibsi()
    assert Extract.model_validate({"ibsi": False}).extractor == Fast()
    chosen = Extract.model_validate({"ibsi": True, "extractor": {"method": "ibsi", "outlier_sigma": 3}})
    assert chosen.extractor == Ibsi(outlier_sigma=3)
    assert Extract.model_validate(chosen.model_dump()) == chosen
    with pytest.raises(ValidationError, match="ibsi: true and the extractor 'fast' exclude each other"):
        Extract.model_validate({"ibsi": True, "extractor": "fast"})
    with pytest.raises(ValidationError, match="ibsi is true or false, found 3"):
        Extract.model_validate({"ibsi": 3})
    assert Extractor.choose("ibsi") == Ibsi()


# The scorecard's rules


def test_the_digital_phantom_is_the_manuals():
    volume, mask = digital_phantom()
    inside = volume.array[mask.inside]
    assert (volume.array.shape, mask.voxels) == ((4, 4, 5), 74)
    # 74 voxels: 50 of level 1, 16 of 4, one of 3, 7 of 6 (manual 5.1: levels 2 and 5 are absent).
    assert {int(level): int((inside == level).sum()) for level in np.unique(inside)} == {1: 50, 3: 1, 4: 16, 6: 7}


def test_a_value_agrees_within_its_tolerance_or_at_three_figures():
    assert agrees(2.15, 2.15, 0.0) == (True, False)
    assert agrees(2.1486, 2.15, 0.0) == (True, True)
    assert agrees(2.1451, 2.15, 0.0) == (True, True)
    assert agrees(2.1449, 2.15, 0.0) == (False, False)
    assert agrees(103.0, 100.0, 3.0) == (True, False)
    assert agrees(104.0, 100.0, 3.0) == (False, False)
    assert agrees(float("nan"), 1.0, 5.0) == (False, False)


def test_diagnostics_say_what_the_processing_did(ct, sphere):
    setting = {"resampledPixelSpacing": [2, 2, 2], "interpolator": "sitkLinear", "resegmentRange": [-500, 400]}
    theirs, ours = (Extractor.choose(m).build({"setting": setting})(ct, sphere).diagnostics for m in ("fast", "ibsi"))
    name = "diagnostics_Image-original_Hash"
    assert ours[name] == theirs[name]
    assert ours["diagnostics_ibsi_Spacing"] == "(2.0, 2.0, 2.0)"
    assert ours["diagnostics_ibsi_Range"] == "(-500.0, 400.0)"
    assert ours["diagnostics_ibsi_FirstBin"] == "-500.0"
    assert int(ours["diagnostics_ibsi_VoxelsMorphology"]) >= int(ours["diagnostics_ibsi_VoxelsIntensity"]) > 0


def test_where_pyradiomics_own_rounding_decides_it_gets_ibsis_grey_levels(monkeypatch):
    from radfuse.extract.ibsi1 import measure as measuring

    asked = []
    with_levels = measuring._with_levels
    monkeypatch.setattr(measuring, "_with_levels", lambda c, levels: asked.append(c.__name__) or with_levels(c, levels))
    volume, mask = line([2.5, 2.5, 4.5, 4.5, 2.5])
    setting = {"binWidth": 1, "resegmentRange": [0, 10], "minimumROIDimensions": 1}
    parameters = {"featureClass": {"glcm": ["Autocorrelation", "JointAverage"]}, "setting": setting}
    found = Ibsi().build(parameters)(volume, mask).values
    assert asked == ["RadiomicsGLCM"]
    # The pairs 33, 35, 55, 53 say nothing of each other; by PyRadiomics' own bins the levels would be 1 and 3.
    assert found["original_glcm_Autocorrelation"] == pytest.approx((9 + 15 + 25 + 15) / 4)
    assert found["original_glcm_JointAverage"] == pytest.approx(4)
