"""IBSI-1's morphology: shapes that enclose a region, regions that are hardly a shape, and autocorrelation."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.special import elliprg

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.extract.ibsi1.conformed import Processing, conform
from radfuse.extract.ibsi1.families import measure
from radfuse.extract.ibsi1.families.enclosing import ellipsoid_area, smallest_box, smallest_ellipsoid
from radfuse.extract.ibsi1.families.morphology import principal_axes, shape
from radfuse.extract.ibsi1.families.spatial import autocorrelation

CUBE = np.array([[z, y, x] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)], float)


def turned(points, seed):
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return points @ rotation, rotation


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_box_around_a_turned_box_is_that_box(seed):
    corners, rotation = turned(CUBE * [5, 3, 1], seed)
    np.testing.assert_allclose(np.sort(smallest_box(corners, rotation)), [2, 6, 10])


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_ellipsoid_around_a_box_is_known(seed):
    # That of a cube is its circumscribed ball, of radius sqrt(3) half-sides; affine maps keep it smallest.
    corners, _ = turned(CUBE * [5, 3, 1], seed)
    np.testing.assert_allclose(smallest_ellipsoid(corners + 100), 3**0.5 * np.array([1, 3, 5]), rtol=1e-4)


def test_the_smallest_ellipsoid_around_points_of_an_ellipsoid_is_that(rng):
    points = rng.normal(size=(4000, 3))
    points *= np.array([2, 3, 7]) / np.linalg.norm(points, axis=1, keepdims=True)
    np.testing.assert_allclose(smallest_ellipsoid(points), [2, 3, 7], rtol=5e-3)


def test_the_surface_of_an_ellipsoid_is_the_series_of_the_manual():
    np.testing.assert_allclose(ellipsoid_area(np.array([2.0, 2.0, 2.0])), 4 * np.pi * 4)

    def true_area(a, b, c):
        return 4 * np.pi * a * b * c * elliprg(a**-2.0, b**-2.0, c**-2.0)

    # How far the series is from the true surface; both figures are in the function's documentation.
    assert round(ellipsoid_area(np.array([5.0, 1, 1])) / true_area(5, 1, 1) - 1, 2) == -0.31
    assert round(ellipsoid_area(np.array([46.35, 40.75, 35.05])) / true_area(46.35, 40.75, 35.05) - 1, 3) == 0.007
    # Two equal axes, where the manual's quotient of eccentricities has no value, are the limit of nearly equal ones.
    np.testing.assert_allclose(ellipsoid_area(np.array([3.0, 3, 2])), ellipsoid_area(np.array([3.0, 3 - 1e-9, 2])))


def test_shape_stays_when_axes_change_places(rng):
    region = ndimage.gaussian_filter(rng.normal(size=(14, 16, 12)), 2) > 0.03
    expected, _ = shape(region, np.ones(3))
    for axes in permutations(range(3)):
        found, _ = shape(np.ascontiguousarray(region.transpose(axes)), np.ones(3))
        # Where four corners of a cube are inside, the mesh may join them either way.
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=2e-2, err_msg=name)


def test_a_box_fills_its_bounding_box_all_but_the_cut_corners():
    found, volume = shape(np.ones((3, 4, 5), bool), np.array([2.0, 1.0, 0.5]))
    # The mesh of voxel centres cuts edges and corners off.
    assert found["vol_approx"] == 60
    np.testing.assert_allclose(found["vol_dens_aabb"], volume / 60)
    np.testing.assert_allclose(found["vol_dens_conv_hull"], 1.0)
    np.testing.assert_allclose(found["area_dens_conv_hull"], 1.0)
    assert found["vol_dens_ombb"] >= found["vol_dens_aabb"] > 0.8
    # The variance of 1 to n is (n^2 - 1) / 12; 60 voxels less one.
    variances = np.array([(n**2 - 1) / 12 * mm**2 for n, mm in ((3, 2.0), (4, 1.0), (5, 0.5))]) * 60 / 59
    axes = principal_axes(np.ones((3, 4, 5), bool), np.array([2.0, 1.0, 0.5]))
    np.testing.assert_allclose(axes, 4 * np.sqrt(np.sort(variances)))


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 4), (1, 3, 4)], ids=["voxel", "line", "plane"])
def test_thin_regions_have_no_enclosing_ellipsoid_of_their_own(size):
    grid = Geometry((6, 6, 6), (1.0, 1.0, 2.0))
    image = np.arange(216, dtype=np.float64).reshape(6, 6, 6)
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[tuple(slice(1, 1 + extent) for extent in size)] = 1
    found = measure(conform(Volume(image, grid, "CT", "HU"), Mask(labels, grid), Processing(bin_width=5)))
    missing = {tag for tag, value in found.items() if np.isnan(value)}
    expected = {"morph_vol_dens_aee", "morph_area_dens_aee"}
    if size == (1, 1, 1):
        expected |= {"morph_pca_elongation", "morph_pca_flatness", "morph_moran_i", "morph_geary_c"}
        expected |= {"ivh_v10", "ivh_v90", "ivh_diff_v10_v90", "ivh_auc"}
        expected |= {tag for tag in found if tag.startswith(("cm", "ngt"))}
    assert missing == expected
    assert not any(np.isinf(value) for value in found.values())


def test_where_the_centre_of_mass_lies():
    grid = Geometry((4, 1, 1), (2.0, 1.0, 1.0))
    image = np.array([[[1.0, 0, 0, 3]]])
    volume, mask = Volume(image, grid, "PET", "SUV"), Mask(np.ones((1, 1, 4), np.uint8), grid)
    found = measure(conform(volume, mask, Processing(bin_width=1)), ["morph"])
    # Geometric centre at 3 mm, weighted (0 + 3 x 6) / 4 = 4.5 mm.
    np.testing.assert_allclose(found["morph_com"], 1.5)
    np.testing.assert_allclose(found["morph_integ_int"], found["morph_volume"])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_autocorrelation_equals_the_sums_over_all_pairs(seed):
    rng = np.random.default_rng(seed)
    image, inside, spacing = rng.normal(1e3, 5, (4, 6, 5)), rng.random((4, 6, 5)) < 0.6, np.array([3.3, 0.9, 1.1])
    inside[0, 0, :2] = True
    places, values = np.argwhere(inside) * spacing, image[inside]
    with np.errstate(divide="ignore"):
        weights = 1 / np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(weights, 0)
    off = values - values.mean()
    moran = values.size / weights.sum() * (weights * np.outer(off, off)).sum() / (off**2).sum()
    apart = (weights * (values[:, None] - values[None]) ** 2).sum()
    geary = (values.size - 1) / (2 * weights.sum()) * apart / (off**2).sum()
    np.testing.assert_allclose(autocorrelation(image, inside, spacing), (moran, geary), rtol=1e-9, atol=1e-12)


def test_autocorrelation_of_a_larger_region_equals_the_sums_over_all_pairs(rng):
    size = (20, 14, 22)
    image, inside, spacing = rng.normal(size=size), rng.random(size) < 0.5, np.array([2.0, 1.0, 1.5])
    places, values = np.argwhere(inside) * spacing, image[inside]
    off = (values - values.mean()) / values.std()
    image = np.where(inside, image, 1e6)  # what lies outside must not count
    moran, geary = autocorrelation(image, inside, spacing)
    total = products = apart = 0.0
    for place, own in zip(places, off, strict=True):
        distances = np.sqrt(((places - place) ** 2).sum(1))
        weights = np.divide(1, distances, where=distances > 0, out=np.zeros_like(distances))
        total += weights.sum()
        products += own * (weights @ off)
        apart += weights @ (off - own) ** 2
    np.testing.assert_allclose(moran, products / total, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(geary, (values.size - 1) / values.size * apart / (2 * total), rtol=1e-9)
