"""Average, maximum and wavelet fusion on cases worked by hand."""

import numpy as np
import pytest
import pywt

from radfuse.data.geometry import Geometry
from radfuse.errors import ConfigError
from radfuse.fuse import weights_for
from radfuse.fuse.average import Average
from radfuse.fuse.dwt3d import WaveletDiscrete
from radfuse.fuse.maximum import Maximum

ROW = Geometry((4, 1, 1), (1.0, 1.0, 1.0))


def row(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 1, -1)


@pytest.fixture
def pair(rng) -> list[np.ndarray]:
    return [rng.uniform(0, 1, (9, 12, 11)).astype(np.float32) for _ in range(2)]


PAIR_GRID = Geometry((11, 12, 9), (1.0, 1.0, 1.0))


def test_average_weighs_by_name_and_not_by_place():
    fuser = Average(weights={"CT": 1, "PET": 3}).build("cpu")
    # (1 * 0.4 + 3 * 0.8) / 4 = 0.7
    assert fuser([row(0, 0.4, 1, 0), row(0, 0.8, 0, 1)], ["CT", "PET"], ROW).ravel() == pytest.approx(
        [0, 0.7, 0.25, 0.75]
    )
    assert fuser([row(0, 0.8, 0, 1), row(0, 0.4, 1, 0)], ["PET", "CT"], ROW).ravel() == pytest.approx(
        [0, 0.7, 0.25, 0.75]
    )


def test_average_without_weights_is_the_mean_of_three():
    fused = Average().build("cpu")([row(3, 0, 0, 1), row(0, 6, 0, 1), row(0, 0, 9, 1)], ["a", "b", "c"], ROW)
    assert fused.ravel() == pytest.approx([1, 2, 3, 1])


def test_weights_of_some_modalities_only_are_refused():
    with pytest.raises(ConfigError, match="not for MR"):
        weights_for(["CT", "MR"], {"CT": 1.0})


def test_weights_that_add_up_to_nothing_are_refused():
    with pytest.raises(ConfigError, match="more than 0"):
        weights_for(["CT", "PET"], {"CT": 0.0, "PET": 0.0})


def test_weights_of_modalities_that_are_not_fused_do_not_matter():
    assert weights_for(["CT", "PET"], {"CT": 1, "PET": 1, "MR": 5}) == [0.5, 0.5]
    assert weights_for(["CT", "PET"], {"MR": 5}) == [0.5, 0.5]


def test_maximum_takes_the_larger_value():
    fused = Maximum().build("cpu")([row(0, 0.4, -1, 2), row(0, 0.8, -2, 1)], ["CT", "PET"], ROW)
    assert fused.ravel() == pytest.approx([0, 0.8, -1, 2])


@pytest.mark.parametrize("detail", ["weight", "max_abs", "energy"])
@pytest.mark.parametrize("levels", [1, 2])
def test_wavelet_fusion_with_all_the_weight_on_one_modality_is_that_modality(detail, levels, pair):
    method = WaveletDiscrete(weights={"CT": 0, "PET": 1}, detail=detail, levels=levels)
    assert method.build("cpu")(pair, ["CT", "PET"], PAIR_GRID) == pytest.approx(pair[1], abs=1e-6)


@pytest.mark.parametrize("mode", ["symmetric", "reflect", "periodization", "zero"])
def test_wavelet_fusion_with_weighted_bands_is_the_weighted_average_because_the_transform_is_linear(mode, pair):
    method = WaveletDiscrete(weights={"CT": 0.3, "PET": 0.7}, detail="weight", levels=2, mode=mode)
    expected = 0.3 * pair[0] + 0.7 * pair[1]
    assert method.build("cpu")(pair, ["CT", "PET"], PAIR_GRID) == pytest.approx(expected, abs=1e-6)


def test_wavelet_fusion_by_hand_with_haar():
    # One axis: a = (x0 + x1) / sqrt 2, d = (x0 - x1) / sqrt 2 for each pair of voxels.
    # Sources (4, 2, 0, 0) and (1, 1, 0, 6): sums 6, 0 and 2, 6, their mean 4, 3; differences 2, 0 and 0, -6, of
    # which the larger in size are 2, -6. Back: (4 + 2) / 2, (4 - 2) / 2, (3 - 6) / 2, (3 + 6) / 2.
    method = WaveletDiscrete(wavelet="haar", detail="max_abs")
    fused = method.build("cpu")([row(4, 2, 0, 0), row(1, 1, 0, 6)], ["CT", "PET"], ROW)
    assert fused.ravel() == pytest.approx([3, 1, -1.5, 4.5])


def test_larger_weighted_details_win():
    # As above with weights 1/4 and 3/4: low bands 0.25 * 6 + 0.75 * 2 = 3, 4.5; details by |2 / 4| > 0 and 6.
    method = WaveletDiscrete(wavelet="haar", weights={"CT": 1, "PET": 3})
    fused = method.build("cpu")([row(4, 2, 0, 0), row(1, 1, 0, 6)], ["CT", "PET"], ROW)
    assert fused.ravel() == pytest.approx([2.5, 0.5, -0.75, 5.25])


def test_every_detail_coefficient_comes_from_one_of_the_sources(pair):
    fused = WaveletDiscrete(mode="periodization", wavelet="db2").build("cpu")(
        [volume[:8, :12, :10] for volume in pair], ["CT", "PET"], Geometry((10, 12, 8), (1.0, 1.0, 1.0))
    )
    bands = [pywt.dwtn(v.astype(float), "db2", mode="periodization") for v in (fused, *(p[:8, :12, :10] for p in pair))]
    for name in set(bands[0]) - {"aaa"}:
        found, one, other = (band[name] for band in bands)
        assert found == pytest.approx(np.where(np.abs(one) >= np.abs(other), one, other), abs=1e-5)


def test_an_unknown_wavelet_is_refused():
    with pytest.raises(ValueError, match="unknown wavelet 'sym99'"):
        WaveletDiscrete(wavelet="sym99")
