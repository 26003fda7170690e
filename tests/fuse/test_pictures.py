"""What each way to fuse a grey and a coloured picture promises."""

import colorsys

import numpy as np
import pytest
import SimpleITK as sitk

from radfuse.data.colour import LUMA, THIRDS, lightness, with_lightness
from radfuse.fuse.pictures import PictureFusion
from radfuse.fuse.pictures.atsif import otsu


def fuse(method: object, grey: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return PictureFusion.choose(method).build()(grey.astype(np.float32), colour.astype(np.float32))


def to_cbcr(colour: np.ndarray) -> np.ndarray:
    """BT.601: Cb = 0.564 (B - Y), Cr = 0.713 (R - Y)."""
    luma = 0.299 * colour[..., 0] + 0.587 * colour[..., 1] + 0.114 * colour[..., 2]
    return np.stack([0.564 * (colour[..., 2] - luma), 0.713 * (colour[..., 0] - luma)], axis=-1)


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(0, 1, (30, 40)), rng.uniform(0, 1, (30, 40, 3))


def test_ihs_has_the_grey_pictures_intensity_and_the_coloured_ones_hue(pair) -> None:
    grey, colour = pair
    fused = fuse("ihs", grey, colour).astype(float)
    np.testing.assert_allclose(fused.mean(axis=-1), grey, atol=2e-7)
    coloured = np.ptp(fused, axis=-1) > 1e-3
    hues = [np.array([colorsys.rgb_to_hsv(*p)[0] for p in picture[coloured]]) for picture in (fused, colour)]
    turn = np.abs(hues[0] - hues[1])
    assert coloured.mean() > 0.9
    assert np.minimum(turn, 1 - turn).max() < 1e-3


def test_ihs_by_hand() -> None:
    """Intensity 0.4 becomes 0.5: 0.1 on every channel."""
    fused = fuse("ihs", np.array([[0.5]]), np.array([[[0.6, 0.3, 0.3]]]))
    np.testing.assert_allclose(fused, [[[0.7, 0.4, 0.4]]], atol=1e-7)
    # Half of the grey picture: intensity 0.45.
    half = fuse({"method": "ihs", "share": 0.5}, np.array([[0.5]]), np.array([[[0.6, 0.3, 0.3]]]))
    np.testing.assert_allclose(half, [[[0.65, 0.35, 0.35]]], atol=1e-7)


def test_ycbcr_has_the_grey_pictures_luma_and_keeps_cb_and_cr_within_the_gamut(pair) -> None:
    grey, colour = pair
    fused = fuse("ycbcr", grey, colour).astype(float)
    np.testing.assert_allclose(fused @ LUMA, grey, atol=2e-7)
    plain = grey[..., None] + colour - (colour @ LUMA)[..., None]
    fits = ((plain >= 0) & (plain <= 1)).all(axis=-1)
    assert 0.05 < fits.mean() < 0.95
    np.testing.assert_allclose(to_cbcr(fused)[fits], to_cbcr(colour)[fits], atol=2e-7)
    # Outside it both shrink by one factor, and one channel touches the border.
    shrunk = to_cbcr(fused)[~fits] / to_cbcr(colour)[~fits]
    np.testing.assert_allclose(shrunk[:, 0], shrunk[:, 1], atol=1e-3)
    assert (np.minimum(fused, 1 - fused)[~fits].min(axis=-1) < 1e-6).all()


def test_black_and_white_have_no_room_for_colour() -> None:
    colour = np.array([[[0.9, 0.1, 0.2]]])
    for level in (0.0, 1.0):
        np.testing.assert_array_equal(fuse("ycbcr", np.array([[level]]), colour), np.full((1, 1, 3), level))


@pytest.mark.parametrize("weights", [LUMA, THIRDS])
def test_the_old_lightness_gives_the_old_colours(weights, pair) -> None:
    colour = pair[1]
    np.testing.assert_allclose(with_lightness(colour, lightness(colour, weights), weights), colour, atol=2e-7)


def test_atsif_leaves_the_coloured_picture_alone_where_there_is_no_anatomy(pair) -> None:
    np.testing.assert_allclose(fuse("atsif", np.zeros((30, 40)), pair[1]), pair[1], atol=1e-6)


def test_atsif_shows_anatomy_under_cold_and_uptake_over_flat() -> None:
    """Left: texture of the grey picture under no uptake. Right: an edge of uptake over flat grey."""
    rows, columns = np.indices((64, 128))
    grey = np.where(columns < 64, 0.5 + 0.3 * ((rows // 4 + columns // 4) % 2), 0.3)
    colour = np.zeros((64, 128, 3))
    colour[20:44, 80:110] = [0.9, 0.5, 0.1]
    colour[28:36, 90:100] = [1.0, 0.9, 0.8]
    intensity = fuse("atsif", grey, colour).astype(float).mean(axis=-1)

    def correlation(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])

    left = np.s_[20:44, 16:48]
    right = np.s_[20:44, 80:110]
    assert correlation(intensity[left], grey[left]) > 0.99
    assert correlation(intensity[right], colour.mean(axis=-1)[right]) > 0.97


def test_otsus_threshold_is_the_reference_implementations(rng) -> None:
    values = np.concatenate([rng.normal(0.3, 0.05, 4000), rng.normal(0.7, 0.08, 1500)]).clip(0.01, 1)
    values = np.rint(values * 255).astype(np.uint8)
    reference = sitk.OtsuThresholdImageFilter()
    reference.SetNumberOfHistogramBins(256)
    reference.Execute(sitk.GetImageFromArray(values[None]))
    assert abs(otsu(values / 255) * 255 - reference.GetThreshold()) <= 1.5


def test_otsus_threshold_of_little() -> None:
    assert otsu(np.array([0.2, 0.2])) == 0.2
    assert otsu(np.zeros(3)) == 0.0
    # Three values: parting 9 from 1 and 2 leaves the least spread within.
    assert otsu(np.array([1.0, 2.0, 9.0])) == 2.0
