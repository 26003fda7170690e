"""The compiled loops, each against the library whose numbers it owes: to the last bit where the library rounds."""

from functools import partial

import numba
import numpy as np
import pytest
import pywt
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from radiomics import cMatrices, cShape, imageoperations
from scipy import ndimage

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.extract.kernels import compiled
from radfuse.extract.kernels.levels import digitise, moments, order_statistics, robust_deviation
from radfuse.extract.kernels.runs import equal_behind
from radfuse.extract.native.counting import Compiled
from radfuse.extract.native.first_order import quantiles
from radfuse.extract.native.laplacian import laplacian
from radfuse.extract.native.provenance import Provenance
from radfuse.extract.native.region import Prepared, box_of
from radfuse.extract.native.resampling import _by_pyradiomics, _spline, resampled
from radfuse.extract.native.shape import shape_features
from radfuse.extract.native.texture import Places, Texture
from radfuse.extract.native.wavelet import Stationary
from radfuse.extract.tensors.counting import OnDevice
from radfuse.extract.tensors.room import Room

LINES = np.array([1, 1, 2, 2, 2, 1], np.int16)


# Torch's CPU device runs the code that a GPU runs.
COUNTINGS = {"compiled": Compiled, "tensors": partial(OnDevice, room=Room("cpu"))}


def texture(array, inside, counting=Compiled, **setting):
    return Texture(Places(inside, setting), array[inside].astype(np.int16), setting, np.ones(3), counting)


def random_levels(rng, shape=(9, 10, 11), greys=4, density=0.6):
    return rng.integers(1, greys + 1, shape).astype(np.int32), rng.random(shape) < density


def test_runs_of_a_line_by_hand():
    # 11 222 1: one run of 1 and one of 2 in level 1, one of 3 in level 2.
    runs = texture(LINES.reshape(1, 1, 6), np.ones((1, 1, 6), bool)).counts.runs()
    assert runs.shape[:2] == (1, 2)
    np.testing.assert_array_equal(runs[0, :, :4], [[1, 1, 0, 0], [0, 0, 1, 0]])


def test_zones_of_a_plane_by_hand():
    # The two 2s touch at a corner and are one zone; the 1s are cut in two.
    made = texture(np.array([[[1, 2], [2, 1]]]), np.ones((1, 2, 2), bool))
    assert made.glszm()["LargeAreaEmphasis"] == 4.0
    apart = texture(np.array([[[1, 2, 1]]]), np.ones((1, 1, 3), bool))
    assert apart.glszm()["ZonePercentage"] == 1.0


@pytest.mark.parametrize("setting", [{}, {"force2D": True, "force2Ddimension": 1}], ids=["3-D", "in planes"])
@pytest.mark.parametrize("greys", [1, 2, 40])
@pytest.mark.parametrize("counting", COUNTINGS.values(), ids=COUNTINGS)
def test_matrices_equal_those_of_pyradiomics(rng, setting, greys, counting):
    array, inside = random_levels(rng, greys=greys)
    inside[0, 0, 0] = True
    array[0, 0, 0] = greys
    made = texture(array, inside, counting, **setting)
    flat = (setting.get("force2D", False), setting.get("force2Ddimension", 0))
    one = np.array([1])
    pairs, _ = cMatrices.calculate_glcm(array, inside, one, greys, *flat)
    present = made.present - 1
    np.testing.assert_array_equal(made.counts.pairs(), pairs[0].transpose(2, 0, 1)[:, present][:, :, present])
    dependences = cMatrices.calculate_gldm(array, inside, one, greys, 0, *flat)[0][present]
    possible = made.surroundings[0].shape[1]
    np.testing.assert_array_equal(made.surroundings[0], dependences[:, :possible])
    tones = cMatrices.calculate_ngtdm(array, inside, one, greys, *flat)[0][present, :2]
    np.testing.assert_allclose(made.surroundings[1], tones, rtol=1e-14)
    longest = max(array.shape)
    runs, _ = cMatrices.calculate_glrlm(array, inside, greys, longest, *flat)
    np.testing.assert_array_equal(made.counts.runs()[:, :, :longest], runs[0].transpose(2, 0, 1)[:, present])
    sizes = cMatrices.calculate_glszm(array, inside, greys, int(inside.sum()), *flat)[0]
    rows, areas = made.counts.zones()
    counted = np.zeros_like(sizes)
    np.add.at(counted, (present[rows - 1], areas - 1), 1)
    np.testing.assert_array_equal(counted, sizes)


def test_nobody_is_equal_behind_in_a_region_of_all_different_levels():
    made = texture(np.arange(1, 28).reshape(3, 3, 3), np.ones((3, 3, 3), bool))
    assert not equal_behind(made.levels, made.places.width, made.places.next_steps)[made.places.flat].any()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(0.01, 50))
@settings(max_examples=60, deadline=None)
def test_levels_and_quantiles_equal_those_of_numpy(values, width):
    array = np.array(values)
    edges = np.arange(array.min() - array.min() % width, array.max() + 2 * width, width)
    if 1 < len(edges) < 30000:
        np.testing.assert_array_equal(digitise(array, edges), np.digitize(array, edges))
    ranks = np.unique(np.linspace(0, array.size - 1, 7).astype(np.int64))
    np.testing.assert_array_equal(order_statistics(array, ranks), np.sort(array)[ranks])
    _, _, found = quantiles(array)
    expected = [np.percentile(array, p) for p in (10, 25)] + [np.median(array)]
    expected += [np.percentile(array, p) for p in (75, 90)]
    assert found == expected


def test_moments_by_hand():
    # 1, 2, 3, 6: mean 3, deviations -2 -1 0 3.
    mean, energy, absolute, second, third, fourth = moments(np.array([1.0, 2.0, 3.0, 6.0]), 1.0)
    assert (mean, energy, absolute) == (3.0, 4 + 9 + 16 + 49, 1.5)
    assert (second, third, fourth) == (14 / 4, 18 / 4, 98 / 4)
    assert robust_deviation(np.array([1.0, 2.0, 4.0, 90.0]), 1.0, 4.0) == pytest.approx((4 / 3 + 1 / 3 + 5 / 3) / 3)
    assert np.isnan(robust_deviation(np.array([1.0]), 2.0, 3.0))


@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 6, 7), (8, 9, 10)])
def test_shape_equals_the_mesher_of_pyradiomics(rng, shape):
    inside = rng.random(shape) < 0.7
    inside.flat[0] = True
    spacing = np.array([2.5, 0.8, 1.3])
    found = shape_features(inside, spacing)
    area, volume, diameters = cShape.calculate_coefficients(np.pad(inside, 1), spacing)
    assert found["SurfaceArea"] == pytest.approx(area, rel=1e-12)
    assert found["MeshVolume"] == pytest.approx(volume, rel=1e-12)
    names = ("Maximum2DDiameterSlice", "Maximum2DDiameterColumn", "Maximum2DDiameterRow", "Maximum3DDiameter")
    assert [found[name] for name in names] == pytest.approx(list(diameters), rel=1e-14)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 5, 6), (20, 30, 40)])
def test_laplacian_equals_itk_to_the_last_bit(rng, shape, dtype):
    array, spacing, sigma = (rng.normal(size=shape) * 200).astype(dtype), (3.0, 1.0, 0.9765625), 2.0
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    reference = sitk.LaplacianRecursiveGaussianImageFilter()
    reference.SetNormalizeAcrossScale(True)
    reference.SetSigma(sigma)
    expected = sitk.GetArrayFromImage(reference.Execute(image))
    box = tuple(slice(1, size - 1) for size in shape)
    np.testing.assert_array_equal(laplacian(array, box, np.array(spacing), sigma), expected[box])


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["coif1", "haar", "bior2.4"])
@pytest.mark.parametrize("box", [(slice(3, 5),) * 3, (slice(29, 31), slice(0, 5), slice(40, 45))], ids=["in", "edge"])
def test_wavelet_of_a_part_equals_that_of_the_whole_to_the_last_bit(rng, dtype, name, box):
    image = (rng.normal(size=(31, 40, 45)) * 100).astype(dtype)
    grid = Geometry(image.shape[::-1], (1.0, 1.0, 1.0))
    part = Stationary(name, Prepared(image, grid, np.ones(1, bool), np.ones(1, bool), box), 2)
    whole = np.pad(image, [(0, size % 2) for size in image.shape], "wrap")
    for _ in range(2):
        expected = pywt.swtn(whole, name, level=1, start_level=0, axes=(2, 1, 0))[0]
        whole = expected["aaa"].copy()
        found = part.step((2, 1, 0))
        assert list(found) == list(expected)
        for band in expected:
            np.testing.assert_array_equal(found[band][part.box], expected[band][box], err_msg=band)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64])
@pytest.mark.parametrize(
    ("spacing", "wanted"),
    [
        ((0.9765625, 0.9765625, 3.27), [1, 1, 1]),
        ((0.9, 1.1, 2.7), [2.7, 3.3, 2.7]),
        ((1.0, 1.0, 1.0), [2, 2, 3]),
        ((1.0, 2.0, 5.0), [0, 0.5, 1]),
    ],
)
def test_resampling_equals_itk_to_the_last_bit(rng, spacing, wanted, dtype):
    # With plateaus, where a value may fall on either side of a whole number.
    grid = Geometry((40, 30, 25), spacing, (3.1, -7.7, 11.3))
    array = np.clip(rng.integers(-300, 300, grid.shape), 0, 50).astype(dtype)
    inside = np.zeros(grid.shape, np.uint8)
    inside[2:9, 5:22, 4:31] = rng.random((7, 17, 27)) < 0.8
    volume, mask = Volume(array, grid, "CT", "HU"), Mask(inside, grid)
    setting = {"resampledPixelSpacing": wanted, "interpolator": "sitkBSpline", "padDistance": 3}
    image, region, found = resampled(volume, mask, setting, box_of(mask.inside))
    expected, expected_region, expected_grid = _by_pyradiomics(volume, mask, setting)
    assert found == expected_grid
    np.testing.assert_array_equal(region, expected_region)
    if dtype == np.float32:
        np.testing.assert_allclose(image, expected, rtol=1e-6, atol=1e-5)
    else:
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("shape", [(2, 5, 6), (6, 2, 2), (1, 2, 9), (3, 4, 1)])
def test_a_spline_along_an_axis_of_few_voxels_is_mirrored_at_both_ends(rng, shape):
    """The oracle is SciPy: along two voxels ITK reads beyond its array."""
    array = rng.normal(size=shape)
    positions = [np.linspace(-0.4, n - 0.6, 7) if n > 1 else np.zeros(1) for n in shape]
    expected = ndimage.map_coordinates(array, np.meshgrid(*positions, indexing="ij"), order=3, mode="mirror")
    np.testing.assert_allclose(_spline(array, positions), expected, rtol=1e-12, atol=1e-12)


def test_an_oblique_image_is_resampled_by_itk(rng):
    c, s = np.cos(0.3), np.sin(0.3)
    grid = Geometry((20, 18, 16), (1.0, 1.0, 2.0), direction=(c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0))
    volume = Volume(rng.integers(0, 100, grid.shape).astype(np.int16), grid, "CT", "HU")
    inside = np.zeros(grid.shape, np.uint8)
    inside[4:9, 5:12, 4:12] = 1
    setting = {"resampledPixelSpacing": [1, 1, 1], "interpolator": "sitkBSpline"}
    image, region, _ = resampled(volume, Mask(inside, grid), setting, box_of(inside.astype(bool)))
    expected, expected_region, _ = _by_pyradiomics(volume, Mask(inside, grid), setting)
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(region, expected_region)


def test_parts_of_a_region_are_counted_as_itk_counts_them(rng):
    inside = rng.random((12, 13, 14)) < 0.06
    image = sitk.GetImageFromArray(inside.astype(np.uint8))
    labels = sitk.ConnectedComponentImageFilter()
    labels.FullyConnectedOn()
    labels.Execute(image)
    notes = Provenance({}, {})
    notes.mask(inside, Geometry((14, 13, 12), (1.0, 1.0, 1.0)), "original")
    assert notes.found["diagnostics_Mask-original_VolumeNum"] == labels.GetObjectCount()


def test_code_is_compiled_even_where_it_cannot_be_kept(monkeypatch):
    njit = numba.njit

    def nowhere(*given, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*given, **options)

    monkeypatch.setattr(numba, "njit", nowhere)

    @compiled
    def double(value):
        return 2 * value

    assert double(21) == 42


def test_bin_edges_follow_from_the_extremes_alone(rng):
    # What lets the fast extractor ask PyRadiomics for the edges without showing it the voxels.
    for values in (rng.integers(-90, 90, 50).astype(np.int16), rng.normal(size=50).astype(np.float32)):
        for setting in ({"binWidth": 25}, {"binWidth": 0.3}, {"binCount": 12}):
            extremes = np.array([values.min(), values.max()])
            expected = imageoperations.getBinEdges(values, **setting)
            np.testing.assert_array_equal(imageoperations.getBinEdges(extremes, **setting), expected)
