"""The IBSI 2 filters: the reference maps and values, and what must hold of any image."""

import csv
import itertools
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pywt
from scipy import ndimage

from radfuse.component import Frozen
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError, GeometryError
from radfuse.extract.extractor import Extractor
from radfuse.extract.ibsi2.boundary import pad, unpad
from radfuse.extract.ibsi2.cropping import respond_in
from radfuse.extract.ibsi2.filter import Filter
from radfuse.extract.ibsi2.gabor import Gabor
from radfuse.extract.ibsi2.laws import Laws
from radfuse.extract.ibsi2.log import LaplacianOfGaussian
from radfuse.extract.ibsi2.mean import Mean
from radfuse.extract.ibsi2.reference_tests import FEATURES, MAPS
from radfuse.extract.ibsi2.riesz import Riesz
from radfuse.extract.ibsi2.simoncelli import Simoncelli
from radfuse.extract.ibsi2.wavelet import Wavelet
from radfuse.run.ibsi2 import MAPS_FOLDER, feature_rows, map_ids, map_row, map_rows

CUBES = (1.0, 1.0, 1.0)
BOUNDARIES = ("zero", "nearest", "periodic", "mirror")

# Where `data_root` looks too; which maps there are has to be known before any test runs.
DATA = Path(os.environ.get("RADFUSE_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "ibsi"


@pytest.fixture(scope="session")
def ibsi(data_root: Path) -> Path:
    return data_root / "ibsi"


# The reference maps and values.


@pytest.mark.parametrize("test", map_ids(DATA) or ["absent"])
def test_reference_map_is_reproduced(ibsi: Path, test: str) -> None:
    row = map_row(ibsi, test)
    assert row.passed, f"{row.what}: worst voxel off by {row.value:.4g}, allowed {row.tolerance:.4g}"


def test_every_map_that_ibsi_published_is_claimed(ibsi: Path) -> None:
    with (ibsi / "ibsi2_response_maps_index.csv").open(newline="") as file:
        published = {line["test_id"] for line in csv.DictReader(file)}
    assert len(published) == 33
    assert published <= set(MAPS)


def test_a_map_of_an_unknown_test_fails(ibsi: Path, tmp_path: Path) -> None:
    (tmp_path / MAPS_FOLDER).mkdir()
    shutil.copy(ibsi / MAPS_FOLDER / "1_a_1-ValidCRM.nii.gz", tmp_path / MAPS_FOLDER / "12_z-ValidCRM.nii.gz")
    (row,) = map_rows(tmp_path)
    assert row.passed is False
    assert row.what == "unknown test"


def test_a_map_of_another_boundary_fails(ibsi: Path, tmp_path: Path) -> None:
    (tmp_path / MAPS_FOLDER).mkdir()
    (tmp_path / "phantoms").symlink_to(ibsi / "phantoms")
    shutil.copy(ibsi / MAPS_FOLDER / "1_a_1-ValidCRM.nii.gz", tmp_path / MAPS_FOLDER / "1_a_2-ValidCRM.nii.gz")
    assert map_row(tmp_path, "1_a_2").passed is False


def test_maps_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no reference response maps"):
        map_rows(tmp_path)
    with pytest.raises(DataError, match="no reference response map of 2_a"):
        map_row(tmp_path, "2_a")


def test_a_map_on_another_grid_is_refused(ibsi: Path, tmp_path: Path) -> None:
    (tmp_path / MAPS_FOLDER).mkdir()
    (tmp_path / "phantoms").symlink_to(ibsi / "phantoms")
    orientation = ibsi / "phantoms/ibsi_2_digital_phantom/nifti/orientation/image/orientation.nii.gz"
    shutil.copy(orientation, tmp_path / MAPS_FOLDER / "2_a-ValidCRM.nii.gz")
    with pytest.raises(GeometryError, match="not on its phantom's grid"):
        map_row(tmp_path, "2_a")


def test_reference_values_are_reproduced(ibsi: Path) -> None:
    rows = list(feature_rows(ibsi))
    assert len(rows) == 324
    assert {row.test for row in rows} <= set(FEATURES)
    assert [row for row in rows if row.passed is False] == []
    # IBSI found no consensus on one quartile coefficient, whose denominator is near zero.
    assert [(row.test, row.what) for row in rows if row.passed is None] == [("8.B", "stat_qcod")]


def test_a_wrong_reference_value_fails(ibsi: Path, tmp_path: Path) -> None:
    (tmp_path / "phantoms").symlink_to(ibsi / "phantoms")
    (tmp_path / "ibsi2_reference_feature_values.csv").write_text(
        "filter_id,feature,feature_tag,consensus_value,tolerance,source\n"
        "1.A,Mean,stat_mean,-47.0,4.6,\n1.A,Mean,stat_mean,-40.0,4.6,\n1.A,Mean,stat_new,0.0,1.0,\n12.A,Mean,stat_mean,0,1,\n"
    )
    assert [row.passed for row in feature_rows(tmp_path)] == [True, False, False, False]


# The family.

# For each setting a value that is not its default: a setting that no name says would put two filters in one column.
OTHER: dict[str, dict[str, Any]] = {
    "mean": {"size_mm": 7.0, "dimensions": 2, "boundary": "zero"},
    "log": {"sigma_mm": 2.0, "truncate": 3.0, "dimensions": 2, "boundary": "zero"},
    "laws": {"kernels": "E5L5E5", "pooling": "average", "energy_mm": None, "boundary": "zero"},
    "gabor": {
        "sigma_mm": 4.0,
        "wavelength_mm": 3.0,
        "gamma": 1.0,
        "theta_deg": 10.0,
        "theta_step_deg": None,
        "pooling": "max",
        "dimensions": 2,
        "boundary": "zero",
    },
    "wavelet": {"wavelet": "haar", "band": "LHL", "level": 2, "pooling": "max", "boundary": "zero"},
    "simoncelli": {"level": 2, "dimensions": 2, "boundary": "zero"},
    "riesz": {"order": (0, 1, 0), "of": LaplacianOfGaussian()},
}
# Their letters or kernels are as many as the dimensions, so that both change together.
FLAT = {"laws": {"kernels": "L5E5", "dimensions": 2}, "wavelet": {"band": "LH", "dimensions": 2}}

MEMBERS = sorted(Filter.members())


def settings_of(filters: Any) -> dict[str, Any]:
    return dict(filters.model_dump())


@pytest.mark.parametrize("method", MEMBERS)
def test_the_name_says_every_setting(method: str) -> None:
    default = Filter.choose(method)
    changes = [{name: value} for name, value in OTHER[method].items()] + ([FLAT[method]] if method in FLAT else [])
    assert {name for change in changes for name in change} == set(type(default).model_fields) - {"method"}
    names = [default.name] + [Filter.choose({"method": method} | change).name for change in changes]
    assert len(set(names)) == len(names)
    assert all(name.startswith(method) and not set(name) & set("_. ") for name in names)


@pytest.mark.parametrize("method", MEMBERS)
def test_settings_survive_a_round_trip(method: str) -> None:
    class Config(Frozen):
        filters: list[Filter]

    chosen = Filter.choose({"method": method} | OTHER[method])
    assert Config.model_validate(Config(filters=[chosen]).model_dump(mode="json")).filters == [chosen]


def test_reference_filters_have_names_of_their_own() -> None:
    chosen = [test.filter for test in MAPS.values()] + [f for f in FEATURES.values() if f is not None]
    distinct = {f.model_dump_json() for f in chosen}
    assert len({f.name for f in chosen}) == len(distinct)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "laws", "kernels": "L5E5"}, "'L5E5' should be 3 of L3, L5"),
        ({"method": "laws", "kernels": "L5E5X5"}, "should be 3 of"),
        ({"method": "wavelet", "wavelet": "db99"}, "unknown wavelet 'db99'"),
        ({"method": "wavelet", "band": "LH"}, "'LH' should be 3 letters L or H"),
        ({"method": "gabor", "theta_step_deg": 50.0}, "whole number of steps, found 50"),
        ({"method": "riesz", "order": (0, 0, 0)}, "differentiates nothing"),
        ({"method": "riesz", "order": (0, 0, 1), "of": {"method": "log", "dimensions": 2}}, "across slices"),
        ({"method": "riesz", "of": "laws"}, "of"),
        ({"method": "mean", "boundary": "reflect"}, "boundary"),
    ],
)
def test_settings_without_meaning_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Filter.choose(settings)


# One of each, small enough to test on 20 voxels.
SMALL = [
    Mean(size_mm=3.0),
    Mean(size_mm=5.0, dimensions=2),
    LaplacianOfGaussian(sigma_mm=0.8),
    LaplacianOfGaussian(sigma_mm=0.8, dimensions=2),
    Laws(kernels="E5L5S5", pooling="none", energy_mm=None),
    Laws(kernels="L5E3E3", energy_mm=2.0),
    Laws(kernels="L5S5", energy_mm=2.0, dimensions=2),
    Gabor(sigma_mm=0.5, wavelength_mm=2.5, gamma=1.0, theta_step_deg=45.0),
    Gabor(sigma_mm=0.5, wavelength_mm=2.5, gamma=0.8, theta_deg=30.0, theta_step_deg=None, dimensions=2),
    Wavelet(wavelet="db2", band="LHL", pooling="none"),
    Wavelet(wavelet="coif1", band="LLH"),
    Wavelet(wavelet="haar", band="LHH", level=2, pooling="max"),
    Wavelet(wavelet="db2", band="HL", level=2, dimensions=2),
]
GLOBAL = [Simoncelli(), Simoncelli(level=2, dimensions=2), Riesz(), Riesz(order=(0, 2, 0), of=LaplacianOfGaussian())]


def named(chosen: Filter) -> str:
    return chosen.name


@pytest.mark.parametrize("chosen", SMALL + GLOBAL, ids=named)
def test_a_response_is_finite_deterministic_and_leaves_the_image_alone(
    chosen: Filter, rng: np.random.Generator
) -> None:
    image = rng.normal(size=(9, 20, 21))
    before = image.copy()
    first, second = (chosen.build()(image, (1.0, 1.0, 2.0)) for _ in range(2))
    assert first.shape == image.shape
    assert first.dtype == np.float64
    assert np.isfinite(first).all()
    assert first.tobytes() == second.tobytes()
    assert np.array_equal(image, before)


@pytest.mark.parametrize("chosen", SMALL + GLOBAL, ids=named)
def test_one_slice_is_enough(chosen: Filter, rng: np.random.Generator) -> None:
    assert np.isfinite(chosen.build()(rng.normal(size=(1, 12, 12)), (1.0, 1.0, 3.0))).all()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("chosen", SMALL, ids=named)
def test_cropping_to_the_reach_changes_nothing(chosen: Filter, boundary: str, rng: np.random.Generator) -> None:
    chosen = chosen.model_copy(update={"boundary": boundary})
    spacing_mm = (1.0, 0.9, 1.5)
    image = rng.normal(size=(22, 40, 41))
    whole = chosen.build()(image, spacing_mm)
    if boundary == "periodic":
        assert np.isinf(chosen.reach_mm(spacing_mm)[:2]).all()
    for box in (np.s_[10:12, 19:22, 20:23], np.s_[0:3, 12:14, 38:41], np.s_[5:22, 30:40, 0:5]):
        np.testing.assert_allclose(respond_in(box, chosen, image, spacing_mm), whole[box], rtol=0, atol=1e-10)


@pytest.mark.parametrize("chosen", SMALL, ids=named)
def test_the_reach_is_no_larger_than_it_has_to_be(chosen: Filter) -> None:
    """An impulse is seen from as far as the reach says, to one voxel (kernels of even length lean to one side)."""
    chosen = chosen.model_copy(update={"boundary": "zero"})
    image = np.zeros((61, 61, 61))
    image[30, 30, 30] = 1.0
    places = np.argwhere(np.abs(chosen.build()(image, CUBES)) > 1e-14) - 30
    for axis, reach in enumerate(chosen.reach_mm(CUBES)[::-1]):
        farthest = np.abs(places[:, axis]).max()
        assert farthest <= reach
        # The ends of a Gabor's envelope are below rounding, and a level 2 Haar's last taps are zeros.
        assert farthest >= reach - (3 if chosen.method in ("gabor", "wavelet") else 1)


@pytest.mark.parametrize("chosen", GLOBAL, ids=named)
def test_what_has_no_end_needs_the_whole_image(chosen: Filter, rng: np.random.Generator) -> None:
    image = rng.normal(size=(6, 12, 13))
    box = np.s_[2:4, 5:7, 5:7]
    assert np.isinf(chosen.reach_mm(CUBES)[:2]).all()
    np.testing.assert_allclose(respond_in(box, chosen, image, CUBES), chosen.build()(image, CUBES)[box], atol=1e-12)


# Known answers.


def test_boundaries_worked_by_hand() -> None:
    row = np.array([[[1.0, 2.0, 3.0]]])
    expected = {
        "zero": [0, 0, 1, 2, 3, 0, 0],
        "nearest": [1, 1, 1, 2, 3, 3, 3],
        "periodic": [2, 3, 1, 2, 3, 1, 2],
        "mirror": [2, 1, 1, 2, 3, 3, 2],
    }
    for boundary, wanted in expected.items():
        padded = pad(row, (0, 0, 2), boundary)  # type: ignore[arg-type]
        assert padded[0, 0].tolist() == wanted
        assert np.array_equal(unpad(padded, (0, 0, 2)), row)
        # What the one-dimensional convolutions see is the same.
        chosen = Mean(size_mm=5.0, boundary=boundary)  # type: ignore[arg-type]
        means = [np.mean(wanted[start : start + 5]) for start in range(3)]
        expected_mean = means if boundary != "zero" else [mean / 25 for mean in means]
        np.testing.assert_allclose(chosen.build()(row, CUBES)[0, 0], expected_mean)


@pytest.mark.parametrize("boundary", ["nearest", "periodic", "mirror"])
def test_a_constant_image(boundary: Any) -> None:
    image = np.full((12, 13, 14), 7.0)

    def response(chosen: Filter) -> np.ndarray:
        return chosen.build()(image, CUBES)

    np.testing.assert_allclose(response(Mean(size_mm=3.0, boundary=boundary)), 7.0)
    # The kernel cut off at four sigma sums to 2e-4, not to nothing; so do the reference maps'.
    np.testing.assert_allclose(response(LaplacianOfGaussian(sigma_mm=1.0, boundary=boundary)), 0, atol=7 * 1e-3)
    # An edge kernel sums to nothing; level kernels have the gain 16 / sqrt(70).
    np.testing.assert_allclose(response(Laws(kernels="L5L5E5", boundary=boundary)), 0, atol=1e-12)
    gain = 16 / np.sqrt(70)
    np.testing.assert_allclose(response(Laws(kernels="L5L5L5", energy_mm=3.0, boundary=boundary)), 7 * gain**3)
    # Low-passes have the gain sqrt(2) for each axis and level, high-passes none.
    low = Wavelet(wavelet="db3", band="LLL", level=2, boundary=boundary)
    np.testing.assert_allclose(response(low), 7 * 2 ** (3 * 2 / 2))
    np.testing.assert_allclose(response(Wavelet(band="LLH", boundary=boundary)), 0, atol=1e-9)
    odd = np.full((13, 13, 13), 7.0)
    for chosen in (Simoncelli(boundary="periodic"), Riesz(of=Simoncelli(boundary="periodic"))):
        np.testing.assert_allclose(chosen.build()(odd, CUBES), 0, atol=1e-12)


def impulse(size: int) -> np.ndarray:
    image = np.zeros((size, size, size))
    image[size // 2, size // 2, size // 2] = 1.0
    return image


def test_the_impulse_response_of_a_log_is_its_formula() -> None:
    """IBSI 2 manual: -1/s^2 (2 pi s^2)^(-D/2) (D - r^2/s^2) exp(-r^2 / 2 s^2), s in voxels."""
    z, y, x = np.mgrid[-10:11, -10:11, -10:11]
    for dimensions, squared in ((3, x**2 + y**2 + z**2), (2, x**2 + y**2 + 0 * z)):
        found = LaplacianOfGaussian(sigma_mm=3.0, dimensions=dimensions, boundary="zero")  # type: ignore[arg-type]
        r = squared / 1.5**2
        kernel = -(dimensions - r) * np.exp(-r / 2) / 1.5**2 / (2 * np.pi * 1.5**2) ** (dimensions / 2)
        kernel[(np.abs(x) > 6) | (np.abs(y) > 6) | (np.abs(z) > (6 if dimensions == 3 else 0))] = 0
        np.testing.assert_allclose(found.build()(impulse(21), (2.0, 2.0, 2.0)), kernel, atol=1e-15)


def test_the_impulse_response_of_laws_is_the_product_of_its_kernels() -> None:
    e3, w5, r5 = np.array([-1, 0, 1]), np.array([-1, 2, 0, -2, 1]), np.array([1, -4, 6, -4, 1])
    kernel = np.einsum("x,y,z->zyx", e3, w5, r5) / np.sqrt(2 * 10 * 70)
    response = Laws(kernels="E3W5R5", pooling="none", energy_mm=None).build()(impulse(11), CUBES)
    np.testing.assert_allclose(response[3:8, 3:8, 4:7], kernel, atol=1e-15)
    assert np.count_nonzero(np.abs(response) > 1e-15) == np.count_nonzero(kernel)


def test_the_impulse_response_of_a_gabor_is_its_envelope() -> None:
    """The modulus of a wave under a Gaussian; the wave runs from x to y by theta."""
    chosen = Gabor(
        sigma_mm=3, wavelength_mm=4, gamma=0.5, theta_deg=60, theta_step_deg=None, dimensions=2, boundary="zero"
    )
    y, x = np.mgrid[-10:11, -10:11] * 1.5
    along, aside = x / 2 + y * np.sqrt(3) / 2, y / 2 - x * np.sqrt(3) / 2
    envelope = np.exp(-(along**2 + aside**2 / 4) / (2 * 3**2))
    response = chosen.build()(impulse(21), (1.5, 1.5, 1.5))
    np.testing.assert_allclose(response[10], envelope, atol=1e-12)
    assert np.abs(np.delete(response, 10, axis=0)).max() < 1e-12


def test_a_wavelet_is_pywavelets_filter_bank(rng: np.random.Generator) -> None:
    """PyWavelets' stationary transform is the same up to a circular shift."""
    image = rng.normal(size=(16, 16, 16))
    bank = pywt.swtn(image, "db2", level=2, norm=False, trim_approx=False)
    for level, key, band in ((1, "aad", "HLL"), (1, "dad", "HLH"), (2, "ada", "LHL"), (2, "ddd", "HHH")):
        chosen = Wavelet(wavelet="db2", band=band, level=level, pooling="none", boundary="periodic")
        found = chosen.build()(image, CUBES)
        wanted = bank[2 - level][key]
        shifted = (np.roll(found, (step, step, step), (0, 1, 2)) for step in range(-8, 8))
        assert any(np.allclose(moved, wanted, atol=1e-10) for moved in shifted), (level, key)


def test_separable_is_direct_convolution(rng: np.random.Generator) -> None:
    image = rng.normal(size=(12, 13, 14))
    kernel = np.einsum("x,y,z->zyx", [-1, -2, 0, 2, 1], [1, 4, 6, 4, 1], [-1, 0, 2, 0, -1]) / np.sqrt(10 * 70 * 6)
    for boundary, mode in zip(BOUNDARIES, ("constant", "nearest", "wrap", "reflect"), strict=True):
        chosen = Laws(kernels="E5L5S5", pooling="none", energy_mm=None, boundary=boundary)  # type: ignore[arg-type]
        direct = ndimage.convolve(image, kernel, mode=mode)
        np.testing.assert_allclose(chosen.build()(image, CUBES), direct, atol=1e-12)


def rotations(image: np.ndarray) -> list[np.ndarray]:
    """An image in all 24 right-angle rotations."""
    found = []
    for order in itertools.permutations(range(3)):
        parity = round(np.linalg.det(np.eye(3)[list(order)]))
        for signs in itertools.product((1, -1), repeat=3):
            if parity * np.prod(signs) == 1:
                found.append(np.transpose(image, order)[tuple(slice(None, None, sign) for sign in signs)])
    return found


POOLED = [
    Laws(kernels="L5E5E3", energy_mm=2.0),
    Laws(kernels="E5S5W5", pooling="average", energy_mm=None),
    Laws(kernels="E3E5W5", energy_mm=None),  # reflections would give other responses than rotations
    Wavelet(wavelet="db2", band="LHL"),
    Wavelet(wavelet="haar", band="LLH", level=2, pooling="max"),
    Wavelet(wavelet="coif1", band="HHH"),
]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("chosen", POOLED, ids=named)
def test_pooling_is_over_the_image_in_all_rotations(
    chosen: Laws | Wavelet, boundary: str, rng: np.random.Generator
) -> None:
    """Turn the image, filter, turn back: 24 times, without what the pooled filter shares between them."""
    image = rng.normal(size=(10, 10, 10))
    places = rotations(np.arange(1000).reshape(10, 10, 10))
    energy = {"energy_mm": None} if isinstance(chosen, Laws) else {}
    pooled = chosen.model_copy(update={"boundary": boundary, **energy})
    single = pooled.model_copy(update={"pooling": "none"}).build()
    back = []
    for turned, place in zip(rotations(image), places, strict=True):
        response = np.empty(1000)
        response[place.ravel()] = single(turned, CUBES).ravel()
        back.append(response.reshape(10, 10, 10))
    wanted = np.max(back, axis=0) if chosen.pooling == "max" else np.mean(back, axis=0)
    np.testing.assert_allclose(pooled.build()(image, CUBES), wanted, atol=1e-12)


GABORS = [
    Gabor(sigma_mm=1.0, wavelength_mm=3.0, gamma=0.7, theta_step_deg=45.0),
    Gabor(sigma_mm=1.0, wavelength_mm=3.0, gamma=0.7, theta_step_deg=22.5, pooling="max"),
]


@pytest.mark.parametrize(
    "chosen", [*POOLED, *GABORS, Simoncelli(boundary="periodic"), LaplacianOfGaussian()], ids=named
)
def test_a_turned_image_gives_the_turned_response(chosen: Filter, rng: np.random.Generator) -> None:
    image = rng.normal(size=(13, 13, 13))  # odd: the reference grid of frequencies leans where a size is even
    respond = chosen.build()
    for turned, wanted in zip(rotations(image), rotations(respond(image, CUBES)), strict=True):
        np.testing.assert_allclose(respond(turned, CUBES), wanted, atol=1e-10)


def test_a_slice_filter_pools_over_four_turns(rng: np.random.Generator) -> None:
    image = rng.normal(size=(3, 14, 14))
    for chosen in (Laws(kernels="L5S5", dimensions=2), Wavelet(wavelet="db2", band="LH", dimensions=2)):
        respond = chosen.build()
        found = respond(np.rot90(image, axes=(1, 2)), CUBES)
        np.testing.assert_allclose(found, np.rot90(respond(image, CUBES), axes=(1, 2)), atol=1e-12)


@pytest.mark.parametrize(
    "chosen", [f for f in SMALL + GLOBAL if ("dimensions", 2) in f.model_dump().items()], ids=named
)
def test_a_slice_filter_never_looks_across(chosen: Filter, rng: np.random.Generator) -> None:
    image = rng.normal(size=(3, 14, 15))
    alone = chosen.build()(image[1:2], CUBES)
    np.testing.assert_allclose(chosen.build()(image, CUBES)[1:2], alone, atol=1e-12)


# Voxels that are not cubes.


def test_lengths_are_millimetres_along_each_axis() -> None:
    """30 mm are 31 voxels of 0.977 mm and 11 of 3 mm, odd numbers nearest to 30.7 and 10."""
    assert Mean(size_mm=30.0).radius((0.977, 0.977, 3.0)) == (15, 15, 5)
    assert LaplacianOfGaussian(sigma_mm=3.0).reach_mm((1.0, 1.0, 3.0)) == (12.0, 12.0, 12.0)


def test_a_log_of_a_blob_is_its_laplacian_on_any_voxels() -> None:
    """A Gaussian of width a filtered with one of width s is one of width sqrt(a^2 + s^2), amplitude (a / that)^3."""
    spacing_mm = (1.0, 0.8, 2.0)
    z, y, x = (np.arange(-half, half + 1) * step for half, step in zip((10, 20, 16), spacing_mm[::-1], strict=True))
    squared = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2
    a, s = 4.0, 2.5
    width = a**2 + s**2
    blurred = (a**2 / width) ** 1.5 * np.exp(-squared / (2 * width))
    laplacian = blurred * (squared / width - 3) / width
    unit = np.prod(spacing_mm) ** (2 / 3)  # derivatives per squared mean edge of a voxel
    response = LaplacianOfGaussian(sigma_mm=s, truncate=6.0).build()(np.exp(-squared / (2 * a**2)), spacing_mm)
    inside = np.s_[8:13, 14:27, 12:21]
    np.testing.assert_allclose(response[inside], laplacian[inside] * unit, atol=2e-3 * unit * 3 / width)


def test_a_gabor_meets_its_wave_on_any_voxels() -> None:
    """The response to the kernel's own wave is the sum over its envelope, 2 pi s^2 / gamma by area of a voxel."""
    spacing_mm = (1.0, 0.5, 2.0)
    chosen = Gabor(
        sigma_mm=6, wavelength_mm=8, gamma=1.5, theta_deg=30, theta_step_deg=None, dimensions=2, boundary="periodic"
    )
    y, x = np.arange(160) * 0.5, np.arange(80) * 1.0
    wave = np.cos(2 * np.pi / 8 * (x * np.cos(np.pi / 6) + y[:, None] * np.sin(np.pi / 6)))
    response = chosen.build()(wave[None], spacing_mm)[0, 72:88, 36:44]
    # Half of it: a cosine is two waves, and the kernel takes one.
    np.testing.assert_allclose(response, 0.5 * 2 * np.pi * 6**2 / 1.5 / 0.5, rtol=2e-3)


def test_a_gabor_in_three_planes_is_their_mean(rng: np.random.Generator) -> None:
    """Each plane by turning it into an axial one, on voxels that are not cubes."""
    image = rng.normal(size=(12, 13, 14))
    chosen = Gabor(sigma_mm=1.0, wavelength_mm=3.0, gamma=0.7, theta_step_deg=45.0)
    flat = chosen.model_copy(update={"dimensions": 2}).build()
    axial = flat(image, (1.0, 1.2, 2.0))
    coronal = flat(image.transpose(1, 0, 2), (1.0, 2.0, 1.2)).transpose(1, 0, 2)
    sagittal = flat(image.transpose(2, 0, 1), (1.2, 2.0, 1.0)).transpose(1, 2, 0)
    wanted = (axial + coronal + sagittal) / 3
    np.testing.assert_allclose(chosen.build()(image, (1.0, 1.2, 2.0)), wanted, atol=1e-12)


# Frequencies.


def test_a_simoncelli_band_passes_a_wave_by_its_gain() -> None:
    """cos(pi/2 log2(2 w / pi)) for w between pi/4 and pi, halved for each level [IBSI 2 manual, eq. 27]."""
    size = 129  # odd, where the reference grid of frequencies has a zero
    step = 2 * np.pi / (size - 1)  # its frequencies lie closer to those of 128 voxels
    for waves, level in ((40, 1), (24, 1), (20, 2), (12, 1)):
        x = np.arange(size)
        image = np.broadcast_to(np.cos(2 * np.pi * waves / size * x), (3, 3, size)).copy()
        frequency = waves * step * 2 ** (level - 1)
        gain = np.cos(np.pi / 2 * np.log2(2 * frequency / np.pi)) if np.pi / 4 <= frequency <= np.pi else 0.0
        response = Simoncelli(level=level, boundary="periodic").build()(image, CUBES)
        np.testing.assert_allclose(response, gain * image, atol=1e-12)


def test_a_riesz_transform_turns_cosine_into_sine() -> None:
    """-i sign(w) along the wave, and 0 across it; twice along it, the negative."""
    size = 65
    x = np.arange(size)
    image = np.broadcast_to(np.cos(2 * np.pi * 16 / size * x), (5, 5, size)).copy()
    of = Simoncelli(boundary="periodic")
    base = of.build()(image, CUBES)
    gain = base[0, 0, 0]
    sine = gain * np.broadcast_to(np.sin(2 * np.pi * 16 / size * x), image.shape)
    for order, wanted in (((1, 0, 0), sine), ((0, 1, 0), 0 * sine), ((2, 0, 0), -base), ((0, 0, 2), 0 * sine)):
        np.testing.assert_allclose(Riesz(order=order, of=of).build()(image, CUBES), wanted, atol=1e-12)


def test_riesz_components_keep_the_energy(rng: np.random.Generator) -> None:
    """All components of an order are a tight frame [Unser & Van De Ville 2010], whatever the shape of voxels."""
    image = rng.normal(size=(9, 11, 13))
    of = Simoncelli(boundary="periodic")
    energy = np.sum(of.build()(image, CUBES) ** 2)
    for total, spacing_mm in itertools.product((1, 2), (CUBES, (1.0, 2.0, 3.0))):
        orders = [order for order in itertools.product(range(total + 1), repeat=3) if sum(order) == total]
        parts = [np.sum(Riesz(order=order, of=of).build()(image, spacing_mm) ** 2) for order in orders]
        assert sum(parts) == pytest.approx(energy, rel=1e-10)


def test_a_riesz_transform_of_a_log_knows_millimetres() -> None:
    """A wave that runs at 45 degrees in millimetres has equal derivatives along x and y."""
    y, x = np.arange(80) * 2.0, np.arange(160) * 1.0
    image = np.broadcast_to(np.cos(2 * np.pi / 16 * (x + y[:, None])), (1, 80, 160)).copy()
    of = LaplacianOfGaussian(sigma_mm=2.0, dimensions=2, boundary="periodic")
    along_x, along_y = (Riesz(order=order, of=of).build()(image, (1.0, 2.0, 1.0)) for order in ((1, 0, 0), (0, 1, 0)))
    np.testing.assert_allclose(along_x, along_y, atol=1e-12 + 1e-9 * np.abs(along_x).max())


def test_the_extractor_measures_the_responses_of_filters(ct: Volume, sphere: Mask):
    """Its columns carry the filter's name, its values are those of the response inside the region."""
    chosen = Filter.choose({"method": "mean", "size_mm": 6.0})
    parameters = {"setting": {"binWidth": 25}, "featureClass": {"firstorder": ["Mean", "Maximum"]}}
    measure = Extractor.choose(
        {"method": "ibsi", "filters": [chosen.model_dump()], "families": False, "rounding": "never"}
    ).build(parameters)
    found = measure(ct, sphere)
    names = ["Mean", "Maximum"]
    assert [*found.values] == [f"{image}_firstorder_{n}" for image in ("original", chosen.name) for n in names]
    response = chosen.build()(ct.array.astype(float), ct.geometry.spacing_mm)[sphere.inside]
    expected = [response.mean(), response.max()]
    assert [found.values[f"{chosen.name}_firstorder_{n}"] for n in names] == pytest.approx(expected)
    assert measure.names == tuple(found.values)
