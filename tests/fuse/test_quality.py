"""Judging fused images: hand-worked values, reference libraries, identities and invariances."""

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radfuse.errors import ConfigError, DataError, GeometryError
from radfuse.fuse.quality import METRICS, PUBLISHED, evaluate, metrics_of
from radfuse.fuse.quality.edges import edge_transfer
from radfuse.fuse.quality.features import feature_information
from radfuse.fuse.quality.fidelity import correlated_differences, mean_squared_error
from radfuse.fuse.quality.information import normalised_information, total_information
from radfuse.fuse.quality.resolution import no_reference_quality, universal_quality
from radfuse.fuse.quality.sharpness import (
    average_gradient,
    edge_preservation,
    spatial_frequency,
    spatial_frequency_error,
)
from radfuse.fuse.quality.structure import multiscale_similarity, structural_similarity, visual_fidelity
from radfuse.fuse.quality.tables import Judged, per_image, per_set
from radfuse.fuse.quality.unmeasurable import Unmeasurable

if TYPE_CHECKING:
    import torch

Image = npt.NDArray[np.float64]

RIGHT = np.array([[0.0, 1.0], [0.0, 1.0]])  # grows to the right
DOWN = np.array([[0.0, 0.0], [1.0, 1.0]])  # grows downwards


def waves(k: int, shape: tuple[int, int] = (176, 192)) -> Image:
    """A smooth picture in [0, 1] that a formula makes, so that other programs can be given the same."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    return np.asarray(
        0.5 + 0.3 * np.sin(x / (5 + k)) * np.cos(y / (9 - k)) + 0.2 * np.cos(x * y / (900 + 200 * k)), dtype=float
    )


def noise(seed: int, shape: tuple[int, ...] = (48, 44)) -> Image:
    from scipy.ndimage import gaussian_filter

    rough = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return np.asarray((rough - rough.min()) / np.ptp(rough))


# By hand.


def test_mutual_information_by_hand() -> None:
    # A tells F entirely (1 bit), B nothing of it.
    assert total_information(RIGHT, [RIGHT, DOWN]) == pytest.approx(1.0)
    assert normalised_information(RIGHT, [RIGHT, DOWN]) == pytest.approx(1.0)


def test_correlated_differences_by_hand() -> None:
    # F - B = (A - B) / 2, whose correlation with A is 1 / sqrt(2); the same for B.
    assert correlated_differences((RIGHT + DOWN) / 2, [RIGHT, DOWN]) == pytest.approx(math.sqrt(2))


def test_a_flat_difference_counts_nothing() -> None:
    assert correlated_differences(RIGHT, [RIGHT, DOWN]) == pytest.approx(1 / math.sqrt(2))  # r(A - B, A) + r(0, B)


def test_the_rounding_of_float32_is_no_difference() -> None:
    a, b = noise(1), noise(2)
    near = b.astype(np.float32).astype(float)
    assert correlated_differences(near, [a, b]) == pytest.approx(correlated_differences(b, [a, b]), abs=1e-6)


def test_spatial_frequency_and_average_gradient_by_hand() -> None:
    assert spatial_frequency(RIGHT) == pytest.approx(255.0)
    assert average_gradient(RIGHT) == pytest.approx(255 / math.sqrt(2))


def test_standard_deviation_and_peak_signal_to_noise_by_hand() -> None:
    fainter, faint = 0.1 + 0.8 * RIGHT, 0.3 + 0.4 * RIGHT  # 0.1 and 0.3 away everywhere
    found = evaluate(RIGHT, {"MR": fainter, "PET": fainter}, metrics=["SD", "MSE", "PSNR"]).values
    assert found == pytest.approx({"SD": 127.5, "MSE": 0.01, "PSNR": 20.0})
    # PSNR is that of the mean MSE, (0.01 + 0.09) / 2, and not the mean PSNR.
    found = evaluate(RIGHT, {"MR": fainter, "PET": faint}, metrics=["MSE", "PSNR"]).values
    assert found == pytest.approx({"MSE": 0.05, "PSNR": 10 * math.log10(20)})


def test_spatial_frequency_error_by_hand() -> None:
    # Reference: 2 steps right, 2 down, and one along each diagonal at 1 / sqrt(2): 4 + sqrt(2).
    # Fused: 2 steps of 1/2 right, and one of 1/2 along each diagonal: 1/2 + sqrt(2) / 4.
    expected = math.sqrt((0.5 + math.sqrt(2) / 4) / (4 + math.sqrt(2))) - 1
    assert spatial_frequency_error(RIGHT / 2, [RIGHT, DOWN]) == pytest.approx(expected)


def test_spatial_frequency_error_of_a_volume_weighs_thirteen_directions_by_distance() -> None:
    point = np.zeros((3, 3, 3))
    point[1, 1, 1] = 1.0
    # From its middle each direction meets two differences of 1: 3 axes, 6 face diagonals, 4 space diagonals.
    own = 2 * (3 + 6 / math.sqrt(2) + 4 / math.sqrt(3))
    ramp = np.broadcast_to(np.arange(3.0), (3, 3, 3)) * 10
    # Steps of 10: 18 along x; 12 along each of the diagonals xy and xz (2 each), 8 along each of 4 space diagonals.
    reference = 100 * (18 + 4 * 12 / math.sqrt(2) + 4 * 8 / math.sqrt(3))
    assert spatial_frequency_error(point, [ramp, ramp]) == pytest.approx(math.sqrt(own / reference) - 1)


@pytest.mark.parametrize(
    ("other", "expected"), [((1, 1), 1 / math.sqrt(30)), ((2, 2), 0.0), ((0, 1), -5 / math.sqrt(72))]
)
def test_edge_preservation_by_hand(other: tuple[int, int], expected: float) -> None:
    # Second differences by axis, the edge repeated outwards. Of a 1 in a corner: -2 there and 1 at its two neighbours;
    # in the middle: -4, and 1 at its four; in the middle of a side: -3, and 1 at its three. All sum to 0, so r is the
    # products' sum over the root of the squares': 2 of 6 and 20; 0; -2 - 3 of 6 and 12.
    corner, moved = np.zeros((3, 3)), np.zeros((3, 3))
    corner[0, 0], moved[other] = 1.0, 1.0
    assert edge_preservation(corner, [moved, moved]) == pytest.approx(expected, abs=1e-12)
    assert edge_preservation(corner, [moved, corner]) == pytest.approx((expected + 1) / 2)  # the mean over sources


def test_edge_preservation_knows_the_sign() -> None:
    a = noise(1)
    assert edge_preservation(a, [a, a]) == pytest.approx(1.0)
    assert edge_preservation(1 - a, [a, a]) == pytest.approx(-1.0)
    assert edge_preservation(a, [a, 1 - a]) == pytest.approx(0.0)


def test_edge_transfer_by_hand() -> None:
    across = np.broadcast_to(np.arange(9.0) / 8, (9, 9))
    flat = np.zeros((9, 9))
    upright = 0.9879 / (1 + math.exp(-22 * 0.2))
    # Half the strength, same orientation; a flat source has no weight.
    assert edge_transfer(across / 2, [across, flat]) == pytest.approx(0.9994 / 2 * upright)
    # At a right angle. Edges are half as strong where the ramp ends, A's in 2 of 9 columns and F's in 2 of 9 rows, so
    # of A's strength of 72 steps 51 meet an equal one (49 inside, 4 halves at corners) and 21 one half or twice as big.
    equal, half = 0.9994 / (1 + math.exp(-7.5)), 0.9994 / 2
    turned = 0.9879 / (1 + math.exp(22 * 0.8))
    expected = (51 * equal + 21 * half) / 72 * turned
    assert edge_transfer(across.T, [across, flat]) == pytest.approx(expected, rel=1e-9, abs=0)


# The share s of the second case below.
S = math.sqrt(58) / 14


@pytest.mark.parametrize(
    ("source", "fused", "expected"),
    [
        # Steps 3 1 1 against 1 1 3: p is 1/3 at places 1-3, q at 7-9, rho -1/2. The lower bound pairs 1 with 9, 2 with
        # 8, 3 with 7: covariance -2/3, both variances 2/3, so its share is 1/2. Paired cells hold 1/6 + 1/18 = 2/9, the
        # 6 others 1/18: I = 2/3 log2(2) + 1/3 log2(1/2) = 1/3 bit of log2(3) in each.
        ([0, 3, 2], [2, 3, 0], 2 * (1 / 3) / (2 * math.log2(3))),
        # Steps 3 1 1 against 1 0 1: q is 1/6 at 1-3 and 7-9, rho 1/2. The upper bound pairs 1 with 1, 2; 2 with 3, 7; 3
        # with 8, 9: covariance 14/6; variances 2/3 and 29/3, so the share is s = sqrt(58)/3 / 2 / (7/3). The 6 paired
        # cells hold (1 + 2 s) / 18, the 12 others (1 - s) / 18.
        (
            [0, 3, 2],
            [0, 1, 0],
            2 * ((1 + 2 * S) / 3 * math.log2(1 + 2 * S) + 2 * (1 - S) / 3 * math.log2(1 - S)) / math.log2(18),
        ),
        # Steps 3 1 1 against 4 1 2: q is 1/4 at 1-3 and 1/12 at 7-9. rho asks for 1.15 of the upper bound, and gets 1:
        # cells 1/4, two of 1/6, five of 1/12.
        (
            [0, 3, 2],
            [0, 4, 2],
            2 - 2 * (1 / 2 + math.log2(6) / 3 + 5 / 12 * math.log2(12)) / (math.log2(3) + 3 / 2 + math.log2(12) / 4),
        ),
        # Steps 3 2 1 against 1 2 3: one is the other read backwards, which tells all.
        ([0, 3, 4], [0, 1, 4], 1.0),
        # Steps 1 0 1 against 0 1 2: rho is 0, and so is what they share.
        ([0, 1, 0], [0, 0, 2], 0.0),
        # Steps 1 1 1: nothing to be told.
        ([0, 1, 2], [0, 3, 2], 0.0),
    ],
)
def test_feature_information_of_one_window_by_hand(source: list[int], fused: list[int], expected: float) -> None:
    # Three columns of three equal pixels: the gradient's size is the step at either side, and half the whole between.
    # Less its smallest, over its sum, it is a probability of places 1-3, 4-6 and 7-9: the window's columns.
    a, f = (np.tile(np.array(columns, dtype=float), (3, 1)) for columns in (source, fused))
    assert feature_information(f, [a, a]) == pytest.approx(expected, abs=1e-12)
    assert feature_information(a, [f, f]) == pytest.approx(expected, abs=1e-12)
    assert feature_information(f, [a, f]) == pytest.approx((expected + 1) / 2, abs=1e-12)


def test_feature_information_is_the_mean_over_windows() -> None:
    # Two slices of one window each, of which one tells 1 / (3 log2(3)) and the other all, as above.
    source, fused = (
        np.stack([np.tile(np.array(columns, dtype=float), (3, 1)) for columns in slices])
        for slices in (([0, 3, 2], [0, 3, 4]), ([2, 3, 0], [0, 1, 4]))
    )
    expected = (1 / (3 * math.log2(3)) + 1) / 2
    assert feature_information(fused, [source]) == pytest.approx(expected, abs=1e-12)
    # Below each other in one picture of equal rows, the windows are the same again.
    tall = np.repeat(fused[0, :1], 5, axis=0), np.repeat(source[0, :1], 5, axis=0)
    assert feature_information(tall[0], [tall[1]]) == pytest.approx(1 / (3 * math.log2(3)), abs=1e-12)


# Against reference libraries.


def test_mutual_information_equals_scikit_learn() -> None:
    from sklearn.metrics import mutual_info_score

    a, b, f = (np.rint(255 * noise(k)).astype(int) for k in (1, 2, 3))
    expected = sum(mutual_info_score(s.ravel(), f.ravel()) for s in (a, b)) / math.log(2)
    assert total_information(f / 255, [a / 255, b / 255]) == pytest.approx(expected)


def test_ssim_equals_scikit_image() -> None:
    a, b = waves(0), waves(2)
    # skimage 0.26.0, structural_similarity(a, f, data_range=L) + structural_similarity(b, f, data_range=L)
    assert structural_similarity((a + b) / 2, [a, b], 1.0) == pytest.approx(1.1937128872905052, abs=1e-12)
    assert structural_similarity((a + b) / 2, [a, b], 2.0) == pytest.approx(1.4106200644750706, abs=1e-12)
    v, w = (np.stack([image * (k / 20) for k in range(12)]) for image in (a, b))
    assert structural_similarity(v, [w], 1.0) == pytest.approx(0.6765017330147403, abs=1e-12)


def similarity_map(one: "torch.Tensor", other: "torch.Tensor", margin: int, **settings: Any) -> "torch.Tensor":
    """SSIM at every voxel by torchmetrics, without the margin for which it mirrors the image and we have no value."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    _, everywhere = structural_similarity_index_measure(one, other, data_range=1.0, return_full_image=True, **settings)
    return everywhere[(..., *[slice(margin, -margin)] * (one.ndim - 2))]


@pytest.mark.parametrize("shape", [(176, 192), (61, 75), (21, 24), (13, 25, 17)])
def test_ssim_equals_torchmetrics_but_for_its_biased_variances(shape: tuple[int, ...]) -> None:
    import torch

    a, f = noise(1, shape), noise(2, shape)
    # Variances n / (n - 1) times as large are the same as a constant that much smaller.
    k2 = 0.03 * math.sqrt(1 - 1 / 7 ** len(shape))
    pair = (torch.from_numpy(image[None, None]) for image in (f, a))
    expected = similarity_map(*pair, 3, gaussian_kernel=False, kernel_size=7, k2=k2).mean().item()
    assert structural_similarity(f, [a], 1.0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(176, 192), (177, 195), (191, 181)])
def test_ms_ssim_equals_its_scales_by_torchmetrics(shape: tuple[int, int]) -> None:
    import torch
    from torch.nn.functional import avg_pool2d

    a, b = waves(0, shape), waves(2, shape)
    f = (a + b) / 2
    expected = 0.0
    for source in (a, b):
        one, other = (torch.from_numpy(image[None, None]) for image in (f, source))
        product = 1.0
        for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            # A huge constant makes the term of luminance, which only the coarsest scale has, 1.
            product *= similarity_map(one, other, 5, k1=0.01 if scale == 4 else 1e7).mean().item() ** exponent
            one, other = avg_pool2d(one, 2), avg_pool2d(other, 2)
        expected += product
    assert multiscale_similarity(f, [a, b]) == pytest.approx(expected, abs=1e-7)


def test_ms_ssim_equals_pytorch_msssim() -> None:
    a, b = waves(0), waves(2)
    # pytorch-msssim 1.0.0, ms_ssim(a, f, data_range=1) + ms_ssim(b, f, data_range=1); its exponents are float32
    assert multiscale_similarity((a + b) / 2, [a, b]) == pytest.approx(1.1430615345306965, abs=5e-6)


@pytest.mark.parametrize("shape", [(176, 192), (93, 77), (41, 43)])
def test_vif_equals_torchmetrics(shape: tuple[int, int]) -> None:
    import torch
    from torchmetrics.functional.image import visual_information_fidelity

    a, b = waves(0, shape), waves(2, shape)
    f = np.clip((a + b) / 2 + 0.1 * noise(1, a.shape), 0, 1)
    expected = sum(
        visual_information_fidelity(*(torch.from_numpy(255 * image[None, None]) for image in (f, source))).item()
        for source in (a, b)
    )
    assert visual_fidelity(255 * f, [255 * a, 255 * b]) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("coarser", [1, 2])
def test_qnr_equals_torchmetrics(coarser: int) -> None:
    import torch
    from scipy.ndimage import uniform_filter
    from torchmetrics.functional.image import quality_with_no_reference, universal_image_quality_index

    pet, mr = waves(0, (96, 64)), waves(2, (96, 64))
    f = (pet + mr) / 2

    def batch(image: Image, pixels: int = 1) -> torch.Tensor:
        h, w = image.shape
        small = image.reshape(h // pixels, pixels, w // pixels, pixels).mean(axis=(1, 3))
        return torch.from_numpy(np.ascontiguousarray(small[None, None]))

    expected = quality_with_no_reference(
        batch(f), batch(pet, coarser), batch(mr), batch(uniform_filter(mr, 7), coarser)
    ).item()
    assert no_reference_quality(f, {"PET": pet, "MR": mr}, coarser) == pytest.approx(expected, abs=1e-6)
    assert universal_quality(f, mr) == pytest.approx(
        universal_image_quality_index(batch(f), batch(mr)).item(), abs=1e-9
    )


# Identities and invariances.


@pytest.mark.parametrize("shape", [(48, 44), (9, 48, 44)])
def test_a_fused_image_that_equals_its_sources(shape: tuple[int, ...]) -> None:
    a = noise(1, shape)
    found = evaluate(a, {"MR": a, "PET": a}, metrics=["all"]).values
    exact = {
        "SSIM": 2.0,
        "VIF": 2.0,
        "CC": 1.0,
        "MSE": 0.0,
        "rSFe": 0.0,
        "SCD": 0.0,
        "NMI": 2.0,
        "EPI": 1.0,
        "FMI": 1.0,
    }
    assert {name: found[name] for name in exact} == pytest.approx(exact, abs=1e-9)
    assert found["MI"] == pytest.approx(2 * found["EN"])
    assert found["Qabf"] == pytest.approx(0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4)), abs=1e-6)
    assert found["Qabf"] == pytest.approx(0.975, abs=5e-4)


def test_ms_ssim_of_equal_pictures_is_one_per_source() -> None:
    assert multiscale_similarity(waves(0), [waves(0), waves(0)]) == pytest.approx(2.0)


PAIRS = st.tuples(st.integers(0, 2**31), st.integers(0, 2**31), st.floats(0.1, 0.9))


@settings(max_examples=10, deadline=None)
@given(PAIRS)
def test_the_order_of_sources_does_not_matter(pair: tuple[int, int, float]) -> None:
    a, b = noise(pair[0]), noise(pair[1])
    f = pair[2] * a + (1 - pair[2]) * b
    one = evaluate(f, {"PET": a, "MR": b}, metrics=["all"]).values
    other = evaluate(f, {"MR": b, "PET": a}, metrics=["all"]).values
    assert one == pytest.approx(other, abs=1e-9, nan_ok=True)


@settings(max_examples=10, deadline=None)
@given(PAIRS, st.booleans())
def test_mirrored_images_are_judged_the_same(pair: tuple[int, int, float], upright: bool) -> None:
    a, b = noise(pair[0], (8, 20, 23)), noise(pair[1], (8, 20, 23))
    f = pair[2] * a + (1 - pair[2]) * b
    # Left out: AG looks forward, FMI has an order, orientation is cut open at 90 degrees, and VIF skips pixels.
    names = sorted(set(METRICS) - {"AG", "FMI", "Qabf", "VIF", "MS-SSIM"})
    axis = 1 if upright else 2
    one = evaluate(f, {"PET": a, "MR": b}, metrics=names).values
    other = evaluate(np.flip(f, axis), {"PET": np.flip(a, axis), "MR": np.flip(b, axis)}, metrics=names).values
    assert one == pytest.approx(other, abs=1e-9, nan_ok=True)


@settings(max_examples=10, deadline=None)
@given(PAIRS, st.floats(0.2, 0.9))
def test_what_a_common_scale_and_offset_leave_alone(pair: tuple[int, int, float], scale: float) -> None:
    a, b = noise(pair[0]), noise(pair[1])
    f = pair[2] * a + (1 - pair[2]) * b
    names = ["CC", "SCD", "rSFe", "EPI", "Qabf", "FMI"]
    one = evaluate(f, {"MR": a, "PET": b}, metrics=names).values
    offset = 0.9 - scale
    moved = evaluate(offset + scale * f, {"MR": offset + scale * a, "PET": offset + scale * b}, metrics=names).values
    assert one == pytest.approx(moved, abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(PAIRS)
def test_the_metrics_stay_within_their_bounds(pair: tuple[int, int, float]) -> None:
    a, b = noise(pair[0]), noise(pair[1])
    found = evaluate(pair[2] * a + (1 - pair[2]) * b, {"MR": a, "PET": b}, metrics=["all"]).values
    assert 0 <= found["EN"] <= 8
    assert 0 <= found["MI"] <= 2 * found["EN"] + 1e-9
    assert 0 <= found["NMI"] <= 2
    assert -2 <= found["SCD"] <= 2
    assert 0 <= found["Qabf"] < 0.976
    assert 0 <= found["FMI"] <= 1
    assert found["rSFe"] > -1


def test_three_sources_are_summed_or_averaged() -> None:
    a, b, c = (noise(k) for k in (1, 2, 3))
    f = (a + b + c) / 3
    three = evaluate(f, {"CT": a, "MR": b, "PET": c}, metrics=["all"]).values
    alone = [evaluate(f, {"x": s, "y": s}, metrics=["all"]).values for s in (a, b, c)]
    for name in ("MI", "NMI", "VIF", "SSIM"):
        assert three[name] == pytest.approx(sum(each[name] for each in alone) / 2)
    for name in ("CC", "MSE", "EPI", "FMI"):
        assert three[name] == pytest.approx(sum(each[name] for each in alone) / 3)
    pairs = [evaluate(f, {"PET": c, "MR": s}, metrics=["QNR"]).values["QNR"] for s in (a, b)]
    assert three["QNR"] == pytest.approx(np.mean(pairs))
    assert evaluate(a, {"CT": a, "MR": a, "PET": a}).values["SSIM"] == pytest.approx(3.0)


# Regions and shapes.


def test_a_volume_is_judged_inside_the_box_of_its_body() -> None:
    a, b = 0.2 + 0.8 * noise(1, (8, 48, 44)), 0.2 + 0.8 * noise(2, (8, 48, 44))
    around = ((2, 1), (3, 4), (0, 6))
    small = evaluate((a + b) / 2, {"MR": a, "PET": b})
    wide = evaluate(np.pad((a + b) / 2, around), {"MR": np.pad(a, around), "PET": np.pad(b, around)})
    assert small.values == pytest.approx(wide.values, nan_ok=True, abs=1e-12)
    assert wide.region == "body box of 8 x 48 x 44 voxels (z, y, x) in 11 x 55 x 50"


def test_a_volume_of_one_slice_is_a_picture() -> None:
    a, b = 0.2 + 0.8 * noise(1), 0.2 + 0.8 * noise(2)
    picture = evaluate((a + b) / 2, {"MR": a, "PET": b}, metrics=["all"])
    volume = evaluate(((a + b) / 2)[None], {"MR": a[None], "PET": b[None]}, metrics=["all"])
    assert picture.values == pytest.approx(volume.values, nan_ok=True)


def test_slicewise_metrics_are_means_over_axial_slices() -> None:
    a, b = 0.2 + 0.8 * noise(1, (20, 48, 44)), 0.2 + 0.8 * noise(2, (20, 48, 44))
    f = np.maximum(a, b)
    names = ["VIF", "Qabf", "FMI"]
    whole = evaluate(f, {"MR": a, "PET": b}, metrics=names).values
    slices = [evaluate(f[k], {"MR": a[k], "PET": b[k]}, metrics=names).values for k in range(20)]
    for name in names:
        assert whole[name] == pytest.approx(np.mean([each[name] for each in slices]))


def test_slices_in_which_a_source_is_flat_do_not_count_for_vif() -> None:
    a, b = 0.2 + 0.8 * noise(1, (4, 48, 44)), 0.2 + 0.8 * noise(2, (4, 48, 44))
    a[0] = 0.3
    f = (a + b) / 2
    expected = visual_fidelity(255 * f[1:], [255 * a[1:]]) + visual_fidelity(255 * f, [255 * b])
    assert evaluate(f, {"MR": a, "PET": b}).values["VIF"] == pytest.approx(expected)


def test_the_share_of_clipped_voxels_is_told() -> None:
    a = noise(1)
    f = np.where(np.arange(44) < 11, -0.5, a)
    found = evaluate(f, {"MR": a, "PET": a})
    assert found.clipped == pytest.approx(0.25)
    assert found.values == pytest.approx(evaluate(f.clip(0, 1), {"MR": a, "PET": a}).values, nan_ok=True)


# Conventions.


def test_mdafuse_does_what_its_table_was_made_by() -> None:
    import torch
    from sklearn.metrics import mutual_info_score
    from torchmetrics.functional.image import visual_information_fidelity

    a, b = (0.1 + 0.7 * noise(k, (256, 256)) for k in (1, 2))
    f = 1.1 * np.maximum(a, b) - 0.2  # unbounded, as the published network's output is
    found = evaluate(f, {"MR": a, "PET": b}, "mdafuse").values
    assert tuple(found) == PUBLISHED
    s = [(each - each.min()) / np.ptp(each) for each in (a, b)]
    shown = np.rint(255 * (f - f.min()) / np.ptp(f)).astype(int)
    counts = np.bincount(shown.ravel()) / shown.size
    assert found["EN"] == pytest.approx(-sum(p * math.log2(p) for p in counts if p))
    assert found["SD"] == pytest.approx(256 * (shown / 255).std())
    bins = [np.digitize(each, np.linspace(0, 1, 257)[1:-1]).ravel() for each in s]
    assert found["MI"] == pytest.approx(sum(mutual_info_score(each, shown.ravel()) for each in bins) / math.log(2))
    assert found["SSIM"] == pytest.approx(structural_similarity(f, s, data_range=2.0))
    assert found["CC"] == pytest.approx(np.mean([np.corrcoef(each.ravel(), f.ravel())[0, 1] for each in s]))
    assert found["MSE"] == pytest.approx(np.mean([((each - f) ** 2).mean() for each in s]))
    vif = [
        visual_information_fidelity(*(torch.from_numpy(image[None, None]) for image in (f, each))).item() for each in s
    ]
    assert found["VIF"] == pytest.approx(sum(vif), abs=1e-7)
    assert found["SCD"] == pytest.approx(correlated_differences(shown / 255, s))
    assert found["rSFe"] == pytest.approx(spatial_frequency_error(shown / 255, s))


def test_mdafuse_sees_some_metrics_on_the_stretched_picture_and_some_on_the_raw_one() -> None:
    a, b = noise(1, (64, 64)), noise(2, (64, 64))
    f = (a + b) / 2
    one, faint = (evaluate(image, {"MR": a, "PET": b}, "mdafuse").values for image in (f, 0.3 + f / 4))
    changed = {name for name in one if one[name] != pytest.approx(faint[name], abs=1e-4)}
    assert changed == {"VIF", "SSIM", "MSE"}


def test_mdafuse_judges_a_volume_slice_by_slice() -> None:
    a, b = (0.2 + 0.8 * noise(k, (5, 48, 44)) for k in (1, 2))
    a[4] = 0.5
    f = (a + b) / 2
    found = evaluate(f, {"MR": a, "PET": b}, "mdafuse")
    each = [evaluate(f[k], {"MR": a[k], "PET": b[k]}, "mdafuse").values for k in range(4)]
    assert found.values == pytest.approx({name: np.mean([one[name] for one in each]) for name in PUBLISHED})
    assert "mean over 4 axial slices, 1 flat ones left out" in found.region
    with pytest.raises(DataError, match="no axial slice is left"):
        evaluate(f, {"MR": np.full_like(a, 0.5), "PET": b}, "mdafuse")


def test_the_conventions_differ() -> None:
    a, b = noise(1), noise(2)
    standard, published = (evaluate((a + b) / 2, {"MR": a, "PET": b}, c).values for c in ("standard", "mdafuse"))  # type: ignore[arg-type]
    assert [name for name in PUBLISHED if standard[name] == pytest.approx(published[name])] == ["CC", "MSE"]


def test_metrics_are_chosen_by_name() -> None:
    assert metrics_of("standard") == tuple(name for name in METRICS if name != "FMI")
    assert metrics_of("standard", ["all"]) == METRICS
    assert metrics_of("mdafuse") == PUBLISHED
    with pytest.raises(ConfigError, match="mdafuse convention has no metric qabf"):
        metrics_of("mdafuse", ["Qabf"])
    with pytest.raises(ConfigError, match="unknown convention 'matlab'"):
        metrics_of("matlab")


# What has no value, and what is refused.


@pytest.mark.parametrize(
    ("metric", "shape", "names", "reason"),
    [
        ("VIF", (40, 60), ("MR", "PET"), "slices of 40x60 are too small for four scales, which need 41"),
        ("MS-SSIM", (175, 200), ("MR", "PET"), "slices of 175x200 are too small for five scales, which need 176"),
        ("SSIM", (5, 48, 48), ("MR", "PET"), "5x48x48 has no room for a window 7 wide"),
        ("QNR", (48, 48), ("MR", "CT"), "QNR wants one functional image .* the sources are CT, MR"),
        ("QNR", (48, 48), ("PET_early", "PET_late"), "QNR wants one functional image"),
        ("QNR", (10, 48), ("MR", "PET"), "smaller than 11x11"),
        ("FMI", (2, 48), ("MR", "PET"), "no room for a 3x3 window"),
    ],
)
def test_a_metric_that_means_nothing_says_why(
    metric: str, shape: tuple[int, ...], names: tuple[str, str], reason: str
) -> None:
    a, b = 0.2 + 0.8 * noise(1, shape), 0.2 + 0.8 * noise(2, shape)
    found = evaluate((a + b) / 2, dict(zip(names, (a, b), strict=True)), metrics=[metric, "CC"])
    assert math.isnan(found.values[metric])
    assert re.search(reason, found.reasons[metric])
    assert found.values["CC"] > 0
    assert found.record()["values"][metric] is None


def test_the_psnr_of_equal_images_has_no_bound() -> None:
    a = noise(1)
    assert "no bound" in evaluate(a, {"MR": a, "PET": a}).reasons["PSNR"]


def test_edges_and_detail_that_no_source_has_are_no_yardstick() -> None:
    flat, image = np.full((9, 9), 0.5), noise(1, (9, 9))
    for measure in (edge_transfer, spatial_frequency_error):
        with pytest.raises(Unmeasurable, match=r"no source has (an edge|any detail)"):
            measure(image, [flat, flat])
    with pytest.raises(Unmeasurable, match="one of the 256 grey levels"):
        normalised_information(flat, [flat, flat])
    with pytest.raises(Unmeasurable, match="every slice of a source is flat"):
        visual_fidelity(noise(1), [np.full((48, 44), 0.5)])


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda f, s: (f, {"MR": s["MR"]}), DataError, "two or more sources, found 1"),
        (lambda f, s: (f[:-1], s), GeometryError, r"MR has shape \(48, 44\) and the fused image \(47, 44\)"),
        (lambda f, s: (f * np.nan, s), DataError, "the fused image holds 2112 values that are not finite"),
        (lambda f, s: (f * 0 + 0.4, s), DataError, "the fused image is constant: 0.4 everywhere in all 48 x 44"),
        (lambda f, s: (f - 3, s), DataError, "the fused image is constant: 0 everywhere .* clipped to"),
        (lambda f, s: (f, {**s, "PET": f * 0}), DataError, "PET is constant"),
        (lambda f, s: (f.ravel(), s), DataError, r"expected a picture \(y, x\) or a volume"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    change: Callable[..., tuple[Image, dict[str, Image]]], kind: type[Exception], message: str
) -> None:
    a, b = noise(1), noise(2)
    fused, sources = change((a + b) / 2, {"MR": a, "PET": b})
    with pytest.raises(kind, match=message):
        evaluate(fused, sources)


# The sanity box and the tables.


def test_an_average_is_inside_the_sanity_box_and_a_stretched_negative_outside() -> None:
    a = noise(1, (64, 64))
    b = np.clip(a + 0.1 * noise(2, (64, 64)), 0, 1)
    assert evaluate((a + b) / 2, {"MR": a, "PET": b}).outside == ()
    flags = evaluate(1 - a, {"MR": a, "PET": b}).outside
    assert {flag.split()[0] for flag in flags} >= {"CC", "SSIM", "MSE"}
    assert evaluate(np.full_like(a, 0.5) + 0.01 * a, {"MR": a, "PET": b}).outside[-1].startswith("rSFe -0.9")


def test_mse_is_compared_with_the_averages_own() -> None:
    a, b = noise(1, (64, 64)), noise(2, (64, 64))
    average = mean_squared_error((a + b) / 2, [a, b])
    worst = np.where(a > b, 0.0, 1.0)
    flags = evaluate(worst, {"MR": a, "PET": b}, metrics=["MSE"]).outside
    assert flags[0].endswith(f"not below {2.5 * average:.4f}, 2.5 times the average's")


def test_tables_hold_a_row_per_image_and_means_per_set() -> None:
    a, b = noise(1, (30, 30)), noise(2, (30, 30))
    judged = [
        Judged(name, str(k), evaluate(f, {"MR": a, "CT": b}))
        for name, images in {"average": [(a + b) / 2, a], "max": [np.maximum(a, b)]}.items()
        for k, f in enumerate(images)
    ]
    table = per_image(judged)
    means = per_set(table)
    assert list(table["set"]) == ["average", "average", "max"]
    assert list(means["set"]) == ["average", "max"]
    assert list(means["n"]) == [2, 1]
    assert means["CC"][0] == pytest.approx((judged[0].quality.values["CC"] + judged[1].quality.values["CC"]) / 2)
    assert means["missing"][0] == "VIF 2; MS-SSIM 2; QNR 2"
    assert table["reasons"][0].startswith("VIF: slices of 30x30 are too small")
