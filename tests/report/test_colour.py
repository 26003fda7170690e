"""The colour enhancement: what its definition promises, and that nothing can measure its result."""

import numpy as np
import pytest

from radfuse.data.colour import lightness
from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError, GeometryError
from radfuse.extract.stage import Extract
from radfuse.report.colour import COLOURS, ColourImage, ColourScale, common_scale, enhance, rounded_up

GRID = Geometry((20, 18, 10), (2.0, 2.0, 3.0))
SCALE = ColourScale((0.0, 1.0), (0.0, 8.0), "SUV")


def fused(array: np.ndarray, grid: Geometry = GRID) -> Volume:
    return Volume(np.broadcast_to(np.asarray(array, np.float32), grid.shape).copy(), grid, "fused-x-CT_PET", "fused")


def suv(array: np.ndarray, grid: Geometry = GRID) -> Volume:
    return Volume(np.broadcast_to(np.asarray(array, np.float32), grid.shape).copy(), grid, "PET", "SUV")


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[Volume, Volume]:
    return fused(rng.uniform(-0.1, 1.1, GRID.shape)), suv(rng.gamma(2.0, 1.5, GRID.shape))


def test_no_gain_and_no_uptake_is_plain_grey(pair) -> None:
    plain = ColourScale((0.0, 1.0), (0.0, 8.0), "SUV", gain=0.0)
    rgb = enhance(pair[0], suv(0.0), plain).rgb
    expected = np.clip(pair[0].array, 0, 1)[..., None]
    np.testing.assert_allclose(rgb, np.broadcast_to(expected, rgb.shape), atol=1e-6)
    # Without uptake there is no energy, so that the gain does not matter.
    np.testing.assert_array_equal(enhance(pair[0], suv(0.0), SCALE).rgb, rgb)


@pytest.mark.parametrize("colours", COLOURS)
def test_the_luma_is_the_one_defined_whatever_the_colour(colours, pair) -> None:
    """1 - (1 - y) ** (1 + k sqrt(E)), with E from a dense sum over the reflected volume instead of a filter."""
    scale = ColourScale((0.0, 1.0), (0.0, 8.0), "SUV", colours=colours)
    share = np.clip(pair[1].array.astype(float) / 8.0, 0, 1)
    energy = share**2
    for axis, h in enumerate((3.0, 2.0, 2.0)):
        n = energy.shape[axis]
        reach = int(4 * 4.0 / h + 0.5)
        places = np.arange(-reach, n + reach)
        mirror = np.abs((places + 0.5) % (2 * n) - n)  # half-sample symmetric
        index = np.rint(n - 0.5 - mirror).astype(int)
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) * h / 4.0) ** 2)
        weights /= weights.sum()
        padded = np.take(energy, index, axis)
        energy = sum(w * np.take(padded, np.arange(k, k + n), axis) for k, w in enumerate(weights))
    expected = 1 - (1 - np.clip(pair[0].array, 0, 1)) ** (1 + 0.6 * np.sqrt(energy))
    luma = lightness(enhance(*pair, scale).rgb)
    assert np.abs(luma - expected).max() < 1 / 255
    assert np.abs(luma - expected).max() < 1e-4


def test_black_and_white_stay_and_lightness_is_monotone() -> None:
    ramp = np.linspace(0, 1, 20)
    luma = lightness(enhance(fused(ramp), suv(6.0), SCALE).rgb)[5, 5]
    assert luma[0] == 0
    assert luma[-1] == pytest.approx(1, abs=1e-6)
    assert (np.diff(luma) > 0).all()


def test_no_uptake_to_speak_of_stays_grey_and_much_is_coloured() -> None:
    def spread(value: float) -> float:
        return float(np.ptp(enhance(fused(0.4), suv(value), SCALE).rgb, axis=-1).max())

    assert spread(0.05 * 8) < 1e-6
    assert 0 < spread(0.1 * 8) < spread(0.3 * 8)
    assert spread(0.6 * 8) > 0.4


def test_equal_uptake_has_equal_colour_at_all_times() -> None:
    """A lesion of SUV 4 beside one that fades from 12 to 2: the first keeps its colour to the last bit."""
    early, late = np.full(GRID.shape, 0.5, np.float32), np.full(GRID.shape, 0.5, np.float32)
    early[:, 2:6, 2:5] = late[:, 2:6, 2:5] = 4.0
    early[:, 12:16, 14:18], late[:, 12:16, 14:18] = 12.0, 2.0
    light = fused(np.linspace(0.1, 0.6, 20))
    times = [suv(early), suv(late)]
    scale = common_scale([light, light], times, energy_mm=0.5)
    first, second = (enhance(light, time, scale).rgb for time in times)
    np.testing.assert_array_equal(first[:, 2:6, 2:5], second[:, 2:6, 2:5])
    assert np.abs(first - second)[:, 12:16, 14:18].max() > 0.2
    # Scaled each by itself, it would have changed.
    own = [enhance(light, time, common_scale([light], [time], energy_mm=0.5)).rgb for time in times]
    assert np.abs(own[0] - own[1])[:, 2:6, 2:5].max() > 0.1


def test_one_slice_alone_equals_the_slice_of_the_volume() -> None:
    """A slice among equal ones is the slice alone, and another slice far off does not matter: nothing is per slice."""
    one = Geometry((20, 18, 1), (2.0, 2.0, 3.0))
    ramp = np.linspace(0, 8, 20)[None, None]
    whole = enhance(fused(ramp / 8), suv(ramp), SCALE).rgb
    alone = enhance(fused(ramp / 8, one), suv(ramp, one), SCALE).rgb
    np.testing.assert_allclose(whole[4], alone[0], atol=1e-6)
    hot = np.broadcast_to(ramp, GRID.shape).copy()
    hot[-1] = 100.0
    near = ColourScale((0.0, 1.0), (0.0, 8.0), "SUV", energy_mm=1.0)
    changed = enhance(fused(ramp / 8), suv(hot), near).rgb
    np.testing.assert_allclose(changed[4], enhance(fused(ramp / 8), suv(ramp), near).rgb[4], atol=1e-6)


def test_the_scale_ends_at_the_largest_percentile_rounded_up_to_half_an_suv() -> None:
    values = np.zeros(GRID.shape, np.float32)
    values[2:8] = np.linspace(0.2, 6.2, values[2:8].size).reshape(values[2:8].shape)
    scale = common_scale([fused(0.5)] * 2, [suv(values), suv(0.5 * values)])
    # 99.5th percentile of the body, which is what is above 0.1 and so not the zeros: 0.2 + 0.995 * 6 = 6.17.
    assert scale.uptake == (0.0, 6.5)
    assert scale.unit == "SUV"
    assert rounded_up(6.5, "SUV") == 6.5


def test_ct_has_its_window_and_fused_luminance_leaves_room_for_colour() -> None:
    ct = Volume(np.full(GRID.shape, 40.0, np.float32), GRID, "CT", "HU")
    assert common_scale([ct], [suv(2.0)]).luminance == (-160.0, 240.0)
    low, high = common_scale([fused(np.linspace(0.0, 1.0, 20))], [suv(2.0)]).luminance
    assert 0 < low < 0.1
    assert (1.0 - low) / (high - low) == pytest.approx(0.6, abs=0.02)
    assert common_scale([fused(0.3)], [suv(0.0)]).uptake == (0.0, 0.5)


def test_time_points_of_different_units_share_no_scale() -> None:
    counts = Volume(np.ones(GRID.shape, np.float32), GRID, "NM", "counts")
    with pytest.raises(DataError, match="one unit of uptake, found SUV, counts"):
        common_scale([fused(0.5)] * 2, [suv(1.0), counts])


def test_nothing_that_measures_takes_a_colour_image(pair) -> None:
    image = enhance(*pair, SCALE)
    assert not isinstance(image, Volume)
    with pytest.raises(GeometryError, match="image: array of shape"):
        Volume(image.rgb, image.geometry, "fused-x-CT_PET", "fused")
    mask = Mask(np.ones(GRID.shape, np.uint8), GRID)
    with pytest.raises(AttributeError):
        Extract()(Subject("s", {"PET": image}, {"PET": mask}))


def test_other_grids_and_impossible_scales_are_refused() -> None:
    other = Geometry((20, 18, 10), (2.0, 2.0, 3.0), (5.0, 0.0, 0.0))
    with pytest.raises(GeometryError, match="fused-x-CT_PET and PET do not share a grid: origin shifted"):
        enhance(fused(0.5), suv(1.0, other), SCALE)
    with pytest.raises(DataError, match="uptake goes from low to high, found 8 to 8"):
        ColourScale((0, 1), (8, 8), "SUV")
    with pytest.raises(DataError, match="not negative, found -1"):
        ColourScale((0, 1), (0, 8), "SUV", gain=-1.0)
    with pytest.raises(ConfigError, match="unknown colours 'hot'"):
        ColourScale((0, 1), (0, 8), "SUV", colours="hot")
    with pytest.raises(GeometryError, match="colours of shape"):
        ColourImage(np.zeros((2, 2, 2, 3), np.float32), GRID)
