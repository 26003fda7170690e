"""Classical fusion methods on cases worked by hand, and what their papers claim."""

import numpy as np
import pytest
import pywt

from radfuse.data.geometry import Geometry
from radfuse.errors import ConfigError
from radfuse.fuse import FusionMethod, weights_for
from radfuse.fuse.average import Average
from radfuse.fuse.bands import more_energetic, steeper
from radfuse.fuse.dwt3d import WaveletDiscrete
from radfuse.fuse.laplacian import Laplacian
from radfuse.fuse.local_energy import LocalEnergy
from radfuse.fuse.maximum import Maximum
from radfuse.fuse.pca import PrincipalComponent
from radfuse.fuse.pcnn import PulseCoupled
from radfuse.fuse.ratio_low_pass import RatioLowPass

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


@pytest.mark.parametrize("detail", ["weight", "max_abs", "energy", "gradient"])
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


def test_the_gradient_rule_looks_along_the_axes_of_the_differences_only():
    # Central differences, the edge going on: one 0.5, 0, 2, 2.5; other 0, 0.5, 1, 0.5.
    one, other = np.array([0.0, 1, 0, 5]), np.array([3.0, 3, 4, 5])
    assert steeper([one, other], [0.5, 0.5], (0,)).tolist() == [0, 3, 0, 5]
    # The other's slope counts three times.
    assert steeper([one, other], [0.25, 0.75], (0,)).tolist() == [0, 3, 4, 5]
    flat = np.tile(one[:, np.newaxis], (1, 3))
    steep = np.tile(np.array([0.0, 1, 2]), (4, 1))
    assert np.array_equal(steeper([flat, steep], [0.5, 0.5], (0,)), flat)
    assert np.array_equal(steeper([flat, steep], [0.5, 0.5], (1,)), steep)


def test_local_energy_is_averaged_over_coefficients_and_not_over_voxels():
    # A spike of energy 1 spreads to 1 / (sigma sqrt(2 pi)) exp(-(4 / sigma)^2 / 2) four places on: 0.0001 for sigma 1,
    # 0.0605 for sigma 4, where the other's is 0.04 everywhere.
    spike, even = np.zeros(41), np.full(41, 0.2)
    spike[20] = 1
    assert more_energetic([spike, even], [0.5, 0.5])[24] == 0.2
    assert more_energetic([spike, even], [0.5, 0.5], (0,), [4.0])[24] == 0


WEIGHTED = ["dwt3d", "swt3d", "laplacian", "ratio_low_pass", "dtcwt", "curvelet", "pcnn", "local_energy"]


@pytest.mark.parametrize("method", WEIGHTED)
def test_a_modality_without_weight_does_not_show_even_where_the_other_is_flat(method, pair):
    flat = np.zeros_like(pair[1])
    flat[:, 6:, :] = pair[1][:, 6:, :]
    fuser = FusionMethod.choose({"method": method, "weights": {"CT": 0, "PET": 1}}).build("cpu")
    assert fuser([pair[0], flat], ["CT", "PET"], PAIR_GRID) == pytest.approx(flat, abs=1e-6)


@pytest.mark.parametrize("method", ["swt3d", "dtcwt", "curvelet"])
@pytest.mark.parametrize("spacing_z", [1.0, 3.0])
def test_weighted_bands_are_the_weighted_average_because_the_transforms_are_linear(method, spacing_z, pair):
    # Reconstruction is perfect, whatever the lengths (9, 12, 11) and whichever axes wait.
    settings = {"method": method, "weights": {"CT": 0.3, "PET": 0.7}, "detail": "weight"}
    fused = FusionMethod.choose(settings).build("cpu")(pair, ["CT", "PET"], Geometry((11, 12, 9), (1, 1, spacing_z)))
    assert fused == pytest.approx(0.3 * pair[0] + 0.7 * pair[1], abs=1e-6)


def test_pca_weighs_by_the_leading_eigenvector_of_the_covariance(pair):
    sources = [1 + 3 * pair[0], 1 + pair[1] + pair[0]]
    covariance = np.cov([volume.ravel().astype(float) for volume in sources])
    leading = np.abs(np.linalg.eigh(covariance)[1][:, -1])
    weights = leading / leading.sum()
    assert weights[0] > 0.6
    fused = PrincipalComponent().build("cpu")(sources, ["CT", "PET"], PAIR_GRID)
    assert fused == pytest.approx(weights[0] * sources[0] + weights[1] * sources[1], abs=1e-5)


def test_pca_by_hand():
    # Deviations (-1, 1, 0, 0) and (0, 0, -2, 2): no covariance, so the second varies alone along the eigenvector.
    fused = PrincipalComponent().build("cpu")([row(1, 3, 2, 2), row(4, 4, 2, 6)], ["CT", "PET"], ROW)
    assert fused.ravel() == pytest.approx([4, 4, 2, 6])


def test_pca_does_not_ask_how_much_air_there_is(pair):
    sources = [0.5 + pair[0], 0.5 + 0.5 * pair[1] + 0.2 * pair[0]]
    padded = [np.pad(volume, ((0, 0), (0, 20), (0, 0))) for volume in sources]
    grid = Geometry((11, 32, 9), (1.0, 1.0, 1.0))
    alone = PrincipalComponent().build("cpu")(sources, ["CT", "PET"], PAIR_GRID)
    assert PrincipalComponent().build("cpu")(padded, ["CT", "PET"], grid)[:, :12] == pytest.approx(alone, abs=1e-6)


def texture_on(side: str, rng: np.random.Generator) -> np.ndarray:
    noise = rng.choice([-0.5, 0.5], (9, 40, 11)).astype(np.float32)
    noise[:, slice(20, None) if side == "left" else slice(0, 20)] *= 0.1
    return noise


@pytest.mark.parametrize("measure", ["energy", "variance"])
def test_local_energy_takes_the_source_that_has_more_of_it(measure, rng):
    left, right = texture_on("left", rng), texture_on("right", rng)
    fuser = LocalEnergy(measure=measure).build("cpu")
    fused = fuser([left, right], ["CT", "PET"], Geometry((11, 40, 9), (1.0, 1.0, 1.0)))
    assert np.array_equal(fused[:, :19], left[:, :19])
    assert np.array_equal(fused[:, 21:], right[:, 21:])


def test_variance_prefers_texture_where_energy_prefers_brightness(rng):
    texture, bright = rng.uniform(0.1, 0.3, (9, 12, 11)).astype(np.float32), np.full((9, 12, 11), 0.9, np.float32)
    for measure, expected in (("energy", bright), ("variance", texture)):
        fused = LocalEnergy(measure=measure).build("cpu")([texture, bright], ["CT", "PET"], PAIR_GRID)
        assert np.array_equal(fused, expected)


def test_soft_selection_weighs_by_powers_of_the_energy():
    # Energies 1 and 4; squared 1 and 16: (1 * 1 + 16 * 2) / 17.
    ones = np.ones((3, 4, 5), np.float32)
    grid = Geometry((5, 4, 3), (1.0, 1.0, 1.0))
    fused = LocalEnergy(selection="soft").build("cpu")([ones, 2 * ones], ["CT", "PET"], grid)
    assert fused == pytest.approx(33 / 17 * ones)
    # A weight of 3 against 1: energies 9 and 4, squared 81 and 16.
    weighted = LocalEnergy(selection="soft", weights={"CT": 3, "PET": 1}).build("cpu")
    assert weighted([ones, 2 * ones], ["CT", "PET"], grid) == pytest.approx((81 + 32) / 97 * ones)


def test_the_vote_overrules_a_winner_alone():
    most, spot = np.full((9, 12, 11), 0.5, np.float32), np.full((9, 12, 11), 0.4, np.float32)
    spot[4, 6, 5] = 0.8
    for vote_mm, expected in ((0.0, 0.8), (2.0, 0.5)):
        fuser = LocalEnergy(sigma_mm=0.3, vote_mm=vote_mm).build("cpu")
        assert fuser([most, spot], ["CT", "PET"], PAIR_GRID)[4, 6, 5] == np.float32(expected)


def in_focus(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A truth, and two views of it of which each is blurred on one side."""
    from scipy.ndimage import gaussian_filter

    truth = gaussian_filter(rng.uniform(0, 1, (20, 48, 41)), 0.7).astype(np.float32)
    blurred = gaussian_filter(truth, 2.0)
    far = np.arange(48)[:, np.newaxis] >= 24
    return truth, np.where(far, blurred, truth), np.where(far, truth, blurred)


def psnr(fused: np.ndarray, truth: np.ndarray) -> float:
    inner = (slice(4, -4),) * 3
    return float(10 * np.log10(1 / np.mean((fused[inner] - truth[inner]) ** 2)))


@pytest.mark.parametrize("method", ["laplacian", "swt3d", "dtcwt", "curvelet", "pcnn", "ratio_low_pass"])
def test_detail_comes_from_the_source_that_is_in_focus(method, rng):
    truth, near, far = in_focus(rng)
    grid = Geometry((41, 48, 20), (1.0, 1.0, 1.0))
    fused = FusionMethod.choose(method).build("cpu")([near, far], ["CT", "PET"], grid)
    average = Average().build("cpu")([near, far], ["CT", "PET"], grid)
    assert psnr(fused, truth) > psnr(average, truth) + 6


def test_the_laplacian_pyramid_by_hand():
    # One level of four voxels: halved under [1 3 3 1] / 8, the edge going on. (8, 0, 0, 0) gives (4, 0), expanded
    # 4, 3, 1, 0, so its details are 4, -3, -1, 0; the other is constant 2, without detail. Mean of the copies:
    # (3, 1), expanded 3, 2.5, 1.5, 1.
    fused = Laplacian(levels=1).build("cpu")([row(8, 0, 0, 0), row(2, 2, 2, 2)], ["CT", "PET"], ROW)
    assert fused.ravel() == pytest.approx([7, -0.5, 0.5, 1])


def test_ratios_prefer_the_stronger_contrast_and_differences_the_larger_step():
    # One voxel: 0.1 more on a dark 0.1 in the one source, 0.15 less on a bright 0.8 in the other.
    dark, bright = np.full((9, 12, 11), 0.1, np.float32), np.full((9, 12, 11), 0.8, np.float32)
    dark[4, 6, 5] += 0.1
    bright[4, 6, 5] -= 0.15
    steps = {}
    for method in (RatioLowPass(), Laplacian()):
        fused = method.build("cpu")([dark, bright], ["CT", "PET"], PAIR_GRID)
        steps[method.method] = fused[4, 6, 5] - fused[4, 10, 5]
    assert steps["ratio_low_pass"] > 0.05
    assert steps["laplacian"] < -0.05


def test_a_neuron_alone_fires_when_its_threshold_has_decayed():
    import torch

    # Stimulus 1/2, first threshold 0: it fires at step 1, which sets the threshold to 20. From then on the threshold
    # is 20 exp(-0.2 k) at step k + 2, below 1/2 when k > 5 ln 40 = 18.4: the second pulse is at step 21. Twice the
    # stimulus: k > 5 ln 20 = 14.98, step 17.
    def pulses(stimulus: float, steps: int) -> float:
        network = PulseCoupled(iterations=steps)
        return float(network.pulses(torch.full((1, 1, 1), stimulus), (1.0, 1.0, 1.0)))

    assert [pulses(0.5, steps) for steps in (1, 20, 21)] == [1, 1, 2]
    assert [pulses(1.0, steps) for steps in (1, 16, 17)] == [1, 1, 2]
    assert pulses(0.0, 50) == 0


def test_neighbours_make_a_faint_neuron_fire_with_them():
    import torch

    network = PulseCoupled(iterations=200)
    faint = torch.zeros(1, 5, 5)
    faint[0, 2, 2] = 0.3
    alone = network.pulses(faint, (1.0, 1.0, 1.0))[0, 2, 2]
    among = faint.clone()
    among[0, 1:4, 1] = 1.0
    assert network.pulses(among, (1.0, 1.0, 1.0))[0, 2, 2] > alone
    unlinked = PulseCoupled(iterations=200, linking=0.0)
    assert unlinked.pulses(among, (1.0, 1.0, 1.0))[0, 2, 2] == alone


def test_neighbours_are_linked_by_distance():
    import torch

    from radfuse.fuse.pcnn import _from_neighbours

    fired = torch.zeros(3, 3, 3)
    fired[1, 1, 1] = 1
    sent = _from_neighbours(fired, (1.0, 1.0, 1.0), [torch.empty_like(fired) for _ in range(3)])
    # Across a face, an edge and a corner, and nothing to itself.
    assert [float(sent[place]) for place in ((1, 1, 2), (1, 2, 2), (2, 2, 2), (1, 1, 1))] == pytest.approx(
        [1, 0.5**0.5, 0.5, 0], abs=1e-6
    )
    loose = _from_neighbours(fired, (3.0, 1.0, 1.0), [torch.empty_like(fired) for _ in range(3)])
    assert float(loose[0, 1, 1]) == pytest.approx(1 / 3)


def test_pulses_choose_the_detail_of_a_structure_over_a_larger_one_alone():
    # A plane in the one source, a single voxel as bright in the other, upon it: the voxel has the larger detail, but
    # the plane's neurons make each other fire.
    plane, spot = np.zeros((9, 12, 11), np.float32), np.zeros((9, 12, 11), np.float32)
    plane[4] = 0.5
    spot[4, 6, 5] = 0.5
    above = {}
    for method in (PulseCoupled(levels=1), Laplacian(levels=1)):
        fused = method.build("cpu")([plane, spot], ["CT", "PET"], PAIR_GRID)
        above[method.method] = float(fused[4, 6, 5] - fused[4, 2, 5])
    assert above["laplacian"] > 0.1
    assert abs(above["pcnn"]) < 0.02
