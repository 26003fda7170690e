"""IBSI-1's feature families: the manual's reference values, worked examples, oracles, and what must not change them."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from radiomics.featureextractor import RadiomicsFeatureExtractor
from scipy import ndimage

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError
from radfuse.extract.ibsi1.catalogue import features as catalogue
from radfuse.extract.ibsi1.catalogue import split_tag
from radfuse.extract.ibsi1.conformed import Processing, conform
from radfuse.extract.ibsi1.families import FAMILIES, measure
from radfuse.extract.ibsi1.families.intensity import histogram, statistics
from radfuse.extract.ibsi1.families.peaks import RADIUS_MM, peaks
from radfuse.extract.ibsi1.families.texture import texture
from radfuse.extract.ibsi1.families.volume_histogram import features as curve_features
from radfuse.extract.ibsi1.families.volume_histogram import volume_histogram
from radfuse.extract.ibsi1.families.zone_kernels import border_distances

# The digital phantom, slice by slice, row by row; a dot is outside [theibsi/data_sets, CC BY 4.0].
PHANTOM = """
14411 14611 41641 44641
14411 11611 .1311 44611
144.. 11111 11.11 11611
144.. 11111 11111 11611
"""
ROWS = [[[0 if c == "." else int(c) for c in row] for row in line.split()] for line in PHANTOM.split("\n") if line]
# What lies outside of the region counts for the local intensity peak alone.
OUTSIDE = {(2, 2, 2): 9.0}

CONFIGURATIONS = {
    "A": Processing(rounding=True, resegment=(-500, 400), bin_width=25),
    "B": Processing(spacing_mm=(2, 2, 0), rounding=True, resegment=(-500, 400), bin_count=32),
    "C": Processing(spacing_mm=(2, 2, 2), rounding=True, resegment=(-1000, 400), bin_width=25, ivh_bin_width=2.5),
    "D": Processing(spacing_mm=(2, 2, 2), rounding=True, outlier_sigma=3, bin_count=32),
    "E": Processing(
        spacing_mm=(2, 2, 2),
        interpolator="bspline",
        rounding=True,
        resegment=(-1000, 400),
        outlier_sigma=3,
        bin_count=32,
        ivh_bin_count=1000,
    ),
}


@pytest.fixture(scope="module")
def levels():
    return np.array(ROWS, np.int32)


@pytest.fixture(scope="module")
def phantom(levels):
    image = np.where(levels > 0, levels, 1).astype(np.float64)
    for place, value in OUTSIDE.items():
        image[place] = value
    grid = Geometry((5, 4, 4), (2.0, 2.0, 2.0))
    volume, mask = Volume(image, grid, "CT", "HU"), Mask((levels > 0).astype(np.uint8), grid)
    return conform(volume, mask, Processing(rounding=True, bin_width=1), np.inf)


def wrong(found, expected):
    """Give the values that are out of tolerance, also when rounded to the three figures of the reference."""
    off = {}
    for tag, value, tolerance in expected:
        got = found[tag]
        rounded = float(f"{got:.3g}")
        if not min(abs(got - value), abs(rounded - value)) <= tolerance * (1 + 1e-9) + 1e-12:
            off[tag] = (got, value, tolerance)
    return off


def references(data_root, configuration):
    table = pd.read_csv(data_root / "ibsi" / "ibsi1_reference_values.csv").dropna()
    table = table[table["config"] == configuration]
    ours = table["tag"].str.partition("_")[0].isin(FAMILIES) & ~table["tag"].str.startswith("morph_mask")
    return list(table.loc[ours, ["tag", "reference_value", "tolerance"]].itertuples(index=False, name=None))


def test_every_reference_value_of_the_digital_phantom(data_root, phantom):
    expected = references(data_root, "digital_phantom")
    assert len(expected) == 482
    assert wrong(measure(phantom), expected) == {}


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_every_reference_value_of_the_ct_phantom(data_root, configuration):
    folder = data_root / "ibsi" / "phantoms" / "ibsi_1_ct_radiomics_phantom" / "nifti"
    image, mask = (sitk.ReadImage(str(folder / part / f"{name}.nii.gz")) for part, name in
                   (("image", "phantom"), ("mask", "mask")))  # fmt: skip
    volume = Volume.from_sitk(image, "CT", "HU")
    region = Mask(sitk.GetArrayFromImage(mask).astype(np.uint8), volume.geometry)
    expected = references(data_root, f"ct_phantom_{configuration}")
    flat = configuration in "AB"
    assert len(expected) == (346 if flat else 210)
    conformed = conform(volume, region, CONFIGURATIONS[configuration])
    assert wrong(measure(conformed, dimensions=("2D", "2_5D") if flat else ("3D",)), expected) == {}


def test_one_reference_value_of_each_family_without_the_tables(phantom):
    # Digital phantom, manual chapters 3.1 to 3.11; the boxes are of the manual's online edition, "moderate" consensus.
    expected = [
        ("morph_vol_dens_conv_hull", 0.961, 0.006), ("morph_area_dens_aee", 1.36, 0.01),
        ("morph_vol_dens_ombb", 0.869, 0.005), ("morph_area_dens_ombb", 0.866, 0.005),
        ("morph_moran_i", 0.0397, 0.0003), ("morph_geary_c", 0.974, 0.006), ("loc_peak_loc", 2.6, 0),
        ("loc_peak_glob", 3.1, 0), ("stat_qcod", 0.6, 0), ("ih_min_grad", -50, 0), ("ivh_v10", 0.324, 0),
        ("cm_info_corr1_3D_comb", -0.0288, 0), ("cm_corr_2D_avg", -0.0121, 0), ("rlm_rlnu_3D_comb", 328, 0),
        ("szm_zs_var_3D", 331, 0), ("dzm_sde_2D", 0.946, 0), ("dzm_ldhge_2_5D", 23.7, 0),
        ("ngt_strength_2_5D", 0.741, 0), ("ngl_dc_energy_3D", 0.0533, 0),
    ]  # fmt: skip
    assert wrong(measure(phantom), expected) == {}


def test_the_tags_are_those_of_the_catalogue(phantom):
    found = measure(phantom)
    assert {split_tag(tag)[0] for tag in found} == set(catalogue())
    assert len(found) == 487
    assert set(measure(phantom, ["dzm", "loc"], ["2D"])) == {t for t in found if t.startswith(("dzm", "loc"))} - {
        t for t in found if t.startswith("dzm") and t.endswith(("2_5D", "3D"))
    }


# --- texture ---------------------------------------------------------------------------------------------------------

small = st.integers(0, 2**32 - 1)


def random_levels(seed, shape=(4, 5, 6), most=4, density=0.7):
    rng = np.random.default_rng(seed)
    levels = rng.integers(1, most + 1, shape).astype(np.int32) * (rng.random(shape) < density)
    levels[1, 2, 3] = most
    return levels


def assert_same(one, other, rtol=1e-9):
    assert one.keys() == other.keys()
    for tag in one:
        np.testing.assert_allclose(one[tag], other[tag], rtol=rtol, atol=1e-10, err_msg=tag)


@settings(max_examples=15, deadline=None)
@given(small)
def test_texture_stays_when_the_region_moves(seed):
    levels = random_levels(seed)
    moved = np.pad(levels, ((3, 0), (0, 2), (5, 1)))
    assert_same(texture(levels, levels > 0), texture(moved, moved > 0))


@settings(max_examples=10, deadline=None)
@given(small)
def test_texture_in_space_stays_when_axes_change_places(seed):
    levels = random_levels(seed)
    expected = texture(levels, levels > 0, dimensions=["3D"])
    for axes in permutations(range(3)):
        turned = np.ascontiguousarray(levels.transpose(axes))
        assert_same(texture(turned, turned > 0, dimensions=["3D"]), expected)


@settings(max_examples=15, deadline=None)
@given(small)
def test_texture_by_slices_stays_when_slices_change_places(seed):
    levels = random_levels(seed)
    mixed = levels[np.random.default_rng(seed).permutation(len(levels))]
    ways = ("2D", "2_5D")
    assert_same(texture(levels, levels > 0, dimensions=ways), texture(mixed, mixed > 0, dimensions=ways))


@settings(max_examples=15, deadline=None)
@given(small)
def test_of_a_single_slice_all_ways_of_taking_slices_are_one(seed):
    levels = random_levels(seed)[1:2]
    found = texture(levels, levels > 0)
    for tag, value in found.items():
        if "_2_5D" in tag:
            np.testing.assert_allclose(value, found[tag.replace("_2_5D", "_2D")], rtol=1e-12, err_msg=tag)
        # In space every voxel of a slice lies at the border.
        if tag.endswith("_3D") and not tag.startswith("dzm"):
            np.testing.assert_allclose(value, found[tag.removesuffix("3D") + "2D"], rtol=1e-12, err_msg=tag)


@settings(max_examples=20, deadline=None)
@given(small, st.booleans())
def test_distances_to_the_border_are_those_of_scipy(seed, flat):
    inside = np.random.default_rng(seed).random((5, 6, 7)) < 0.9
    found = border_distances(inside, flat)
    padded = np.pad(inside, 1)
    parts = padded[1:-1] if flat else [padded]
    steps = np.stack([ndimage.distance_transform_cdt(part, "taxicab") for part in parts])
    expected = steps[:, 1:-1, 1:-1] if flat else steps[0, 1:-1, 1:-1, 1:-1]
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=20, deadline=None)
@given(small)
def test_zones_and_their_distances_are_those_of_scipy(seed):
    levels = random_levels(seed, most=3)
    morphology = np.ones(levels.shape, bool)
    distances = border_distances(morphology, False)
    zones = []
    for grey in (1, 2, 3):
        labels, count = ndimage.label(levels == grey, np.ones((3, 3, 3)))
        zones += [(grey, (labels == n).sum(), distances[labels == n].min()) for n in range(1, count + 1)]
    greys, sizes, least = np.array(zones, float).T
    found = texture(levels, morphology, ["szm", "dzm"], ["3D"])
    np.testing.assert_allclose(found["szm_lzhge_3D"], np.mean(greys**2 * sizes**2))
    np.testing.assert_allclose(found["dzm_ldlge_3D"], np.mean(least**2 / greys**2))
    np.testing.assert_allclose(found["dzm_zd_var_3D"], least.var())
    np.testing.assert_allclose(found["dzm_z_perc_3D"], len(zones) / (levels > 0).sum())


@pytest.mark.parametrize(("merging", "flat"), [("3D", False), ("2_5D", True)])
def test_texture_that_pyradiomics_has_equals_its_own(rng, merging, flat):
    levels = rng.integers(1, 7, (6, 7, 8)).astype(np.int32) * (rng.random((6, 7, 8)) < 0.85)
    levels[0, 0, :2] = 1, 6
    extractor = RadiomicsFeatureExtractor(binWidth=1, force2D=flat)
    extractor.disableAllFeatures()
    for name in ("glcm", "glrlm", "glszm", "ngtdm", "gldm"):
        extractor.enableFeatureClassByName(name)
    image, mask = (sitk.GetImageFromArray(array) for array in (levels.astype(float), (levels > 0).astype(np.uint8)))
    expected = extractor.execute(image, mask)
    found = texture(levels, levels > 0, dimensions=[merging])
    compared = 0
    for tag, value in found.items():
        feature = catalogue()[split_tag(tag)[0]]
        if not feature.added and not tag.endswith("comb"):
            np.testing.assert_allclose(value, expected[f"original_{feature.name}"], rtol=1e-9, atol=1e-12, err_msg=tag)
            compared += 1
    assert compared == 25 + 16 + 16 + 5 + 14


def test_distance_is_to_the_border_before_resegmentation():
    # One voxel in the middle of 3 x 3 x 3: two steps from outside, though resegmentation left nothing around it.
    levels = np.zeros((3, 3, 3), np.int32)
    levels[1, 1, 1] = 1
    assert texture(levels, np.ones((3, 3, 3), bool), ["dzm"], ["3D"])["dzm_lde_3D"] == 4
    assert texture(levels, levels > 0, ["dzm"], ["3D"])["dzm_lde_3D"] == 1


def test_a_voxel_without_neighbours_has_no_neighbourhood_to_differ_from():
    # 1 2 . 3: the 1 and the 2 differ by 1 from their only neighbour, the 3 has none and does not count.
    found = texture(np.array([[[1, 2, 0, 3]]], np.int32), np.ones((1, 1, 4), bool), ["ngt"], ["3D"])
    alone = texture(np.array([[[1, 2]]], np.int32), np.ones((1, 1, 2), bool), ["ngt"], ["3D"])
    assert found == alone
    # p = 1/2 and s = 1 for both levels.
    assert found["ngt_coarseness_3D"] == 1.0
    assert found["ngt_strength_3D"] == 1.0
    assert found["ngt_contrast_3D"] == 0.5 * 2 / (2 * 2)


def test_merging_by_hand():
    # 1 2 in one slice, 2 2 in the other: contrast 1 and 0; three pairs of four voxels are alike when taken together.
    levels = np.array([[[1, 2]], [[2, 2]]], np.int32)
    found = texture(levels, levels > 0, ["cm", "rlm", "szm"], ["2D", "2_5D"])
    assert found["cm_contrast_2D_avg"] == found["cm_contrast_2D_comb"] == 0.5
    assert found["cm_contrast_2_5D_avg"] == found["cm_contrast_2_5D_comb"] == 0.5
    assert found["cm_joint_max_2D_avg"] == (0.5 + 1) / 2
    assert found["cm_joint_max_2_5D_comb"] == 0.5
    assert found["szm_z_perc_2D"] == (1 + 0.5) / 2
    assert found["szm_z_perc_2_5D"] == 3 / 4
    # Along the rows the second slice has one run; the three other directions have two.
    assert found["rlm_r_perc_2D_avg"] == (1 + (0.5 + 1 + 1 + 1) / 4) / 2
    assert found["rlm_r_perc_2_5D_comb"] == 15 / 16


def test_the_single_voxel_and_the_single_level():
    one = np.ones((1, 1, 1), np.int32)
    found = texture(one, one > 0)
    # Without a pair there is no co-occurrence and no neighbourhood; runs, zones and dependences there are.
    assert all(np.isnan(value) == tag.startswith(("cm", "ngt")) for tag, value in found.items())
    assert found["rlm_sre_3D_avg"] == found["szm_sze_2D"] == found["dzm_sde_3D"] == found["ngl_lde_2_5D"] == 1
    level = np.full((3, 3, 3), 5, np.int32)
    found = texture(level, level > 0)
    assert all(np.isfinite(value) for value in found.values())
    assert found["cm_corr_3D_avg"] == found["cm_joint_max_2D_comb"] == 1
    assert found["cm_info_corr1_2D_avg"] == found["cm_info_corr2_3D_avg"] == 0
    assert found["ngt_coarseness_3D"] == 1e6
    assert found["ngt_contrast_2D"] == found["ngt_busyness_3D"] == found["ngt_strength_2_5D"] == 0
    assert found["szm_lze_3D"] == 27**2


def test_too_many_grey_levels_are_refused():
    levels = np.array([[[1, 40000]]], np.int32)
    with pytest.raises(DataError, match="40000 grey levels") as caught:
        texture(levels, levels > 0)
    assert "wider bins" in caught.value.hint


# --- intensities -----------------------------------------------------------------------------------------------------


def test_the_volume_histogram_of_the_manual(levels):
    # Manual 3.5, table of the example: volume fractions at intensities 1 to 6.
    curve = volume_histogram(levels[levels > 0].astype(float), None, None, None)
    np.testing.assert_allclose(curve.intensities, [1, 2, 3, 4, 5, 6])
    np.testing.assert_allclose(curve.fractions, [1, 0.324, 0.324, 0.311, 0.095, 0.095], atol=5e-4)
    # Trapezia of width 1/5.
    np.testing.assert_allclose(curve.area, (0.5 * (1 + 7 / 74) + (24 + 24 + 23 + 7) / 74) / 5)


def test_bins_of_the_volume_histogram():
    values = np.array([0.0, 1.0, 2.4, 2.5, 9.9, 10.0])
    # Bins of 2.5 from the range's lower end stand for their centres; the range's upper end is in the last.
    curve = volume_histogram(values, (0.0, 10.0), 2.5, None)
    np.testing.assert_allclose(curve.intensities, [1.25, 3.75, 6.25, 8.75])
    np.testing.assert_allclose(curve.fractions, [1, 3 / 6, 2 / 6, 2 / 6])
    # A number of bins counts from 1, over the region's own range.
    numbered = volume_histogram(values, (-5.0, 50.0), 2.5, 4)
    np.testing.assert_allclose(numbered.intensities, [1, 2, 3, 4])
    np.testing.assert_allclose(numbered.fractions, curve.fractions)
    # Whole numbers as they are: a level each, over the range of resegmentation where it is closed.
    whole = volume_histogram(np.array([2.0, 4.0]), (0.0, np.inf), None, None)
    np.testing.assert_allclose(whole.intensities, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(whole.fractions, [1, 1, 1, 0.5, 0.5])
    # Intensities that are not rounded are taken to be of arbitrary unit, whole or not.
    assert Processing().ivh_bins == (None, 1000)
    assert Processing(rounding=True).ivh_bins == (None, None)
    assert Processing(ivh_bin_width=2.5).ivh_bins == (2.5, None)
    assert Processing(rounding=True, ivh_bin_width=2.5, ivh_bin_count=9).ivh_bins == (2.5, 9)


def test_a_volume_histogram_without_a_range():
    found = curve_features(volume_histogram(np.full(5, 7.0), None, None, None))
    assert np.isnan([found[name] for name in ("v10", "v90", "diff_v10_v90", "auc")]).all()
    # All voxels have the only intensity; at most a tenth of them has the next.
    assert found["i10"] == found["i90"] == 8.0
    numbered = curve_features(volume_histogram(np.full(5, 7.5), None, None, 100))
    assert np.isnan(numbered["v10"])
    assert numbered["i10"] == 2.0


def test_gradients_and_modes_by_hand():
    # Counts 1, 0, 4, 4 of levels 1 to 4: slopes -1, 1.5, 2, 0; the mean is 29 / 9, nearer to 3.
    found = histogram(np.array([1, 3, 3, 3, 3, 4, 4, 4, 4], np.int32))
    assert (found["max_grad"], found["max_grad_g"], found["min_grad"], found["min_grad_g"]) == (2, 3, -1, 1)
    assert found["mode"] == 3
    np.testing.assert_allclose(found["uniformity"], (1 + 16 + 16) / 81)
    only = histogram(np.ones(4, np.int32))
    assert only["max_grad"] == only["min_grad"] == only["entropy"] == 0
    assert only["mode"] == only["uniformity"] == only["max_grad_g"] == 1


def test_equal_values_have_no_shape():
    found = statistics(np.full(7, 0.1))
    assert found["var"] == found["skew"] == found["kurt"] == found["range"] == 0
    around_nothing = statistics(np.array([-1.0, 1.0]))
    assert np.isnan([around_nothing["cov"], around_nothing["qcod"]]).all()


@settings(max_examples=10, deadline=None)
@given(small)
def test_peaks_are_means_of_all_voxels_in_the_ball(seed):
    rng = np.random.default_rng(seed)
    image, spacing = rng.integers(0, 9, (6, 8, 9)).astype(float), np.array([3.0, 1.5, 2.0])
    inside = rng.random(image.shape) < 0.2
    inside[2, 3, 4] = True
    everywhere = np.argwhere(np.ones(image.shape, bool))
    means = []
    for place in np.argwhere(inside):
        near = ((everywhere - place) * spacing) ** 2
        means.append(image.ravel()[near.sum(1) <= RADIUS_MM**2].mean())
    means, values = np.array(means), image[inside]
    np.testing.assert_allclose(peaks(image, inside, spacing), (means[values == values.max()].max(), means.max()))


def test_the_answer_is_the_same_to_the_last_bit(phantom):
    one, other = measure(phantom), measure(phantom)
    assert all(np.float64(one[tag]).tobytes() == np.float64(other[tag]).tobytes() for tag in one)
