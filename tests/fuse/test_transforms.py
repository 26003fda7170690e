"""The transforms behind the multi-scale methods: reconstruction, shifts, flips and reference values."""

from itertools import product

import numpy as np
import pytest
import pywt
import torch
from scipy.ndimage import gaussian_filter

from radfuse.data.geometry import Geometry
from radfuse.fuse import FusionMethod
from radfuse.fuse.average import Average
from radfuse.fuse.curvelet import Curvelet
from radfuse.fuse.dtcwt import DualTree
from radfuse.fuse.dual_tree import merge, split, to_complex, to_real
from radfuse.fuse.pyramid import axes_by_level, expand, reduce
from radfuse.fuse.swt3d import WaveletStationary, stationary_merge, stationary_split

Bands = dict[tuple[int, ...], torch.Tensor]


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1)


def cube(*shape: int) -> Geometry:
    return Geometry(shape[::-1], (1.0, 1.0, 1.0))


def test_reducing_and_expanding_by_hand():
    # Odd: [1 4 6 4 1] / 16 about every other voxel. Even: [1 3 3 1] / 8 about every pair; the edge goes on.
    assert reduce(column(0, 0, 16, 0, 0), [0]).ravel().tolist() == [1, 6, 1]
    assert reduce(column(0, 8, 0, 0), [0]).ravel().tolist() == [3, 1]
    assert expand(column(0, 8), [0], (3, 1, 1)).ravel().tolist() == [1, 4, 7]
    assert expand(column(0, 8), [0], (4, 1, 1)).ravel().tolist() == [0, 2, 6, 8]


@pytest.mark.parametrize("length", [2, 5, 8])
def test_pyramids_turn_with_the_volume(length, rng):
    volume = torch.from_numpy(rng.uniform(0, 1, (length, 3, 4)))
    small = reduce(volume, [0, 2])
    assert torch.equal(reduce(volume.flip(0), [0, 2]), small.flip(0))
    back = expand(small, [0, 2], volume.shape)
    assert torch.equal(expand(small.flip(2), [0, 2], volume.shape), back.flip(2))


def test_long_voxels_wait_until_the_others_have_caught_up():
    assert axes_by_level(Geometry((64, 64, 20), (0.98, 0.98, 3.27)), 4) == [(1, 2), (1, 2), (0, 1, 2), (0, 1, 2)]
    assert axes_by_level(Geometry((1, 3, 1), (1.0, 1.0, 1.0)), 4) == [(1,), (1,)]


def test_one_level_of_the_stationary_transform_after_another_is_the_librarys(rng):
    volume = rng.normal(size=(8, 16, 12))
    deep, fine = pywt.swtn(volume, "db2", level=2, norm=True)
    first = stationary_split(volume, "db2", (0, 1, 2), (0, 0, 0))
    second = stationary_split(first["aaa"], "db2", (0, 1, 2), (1, 1, 1))
    for name, band in fine.items():
        assert first[name] == pytest.approx(band, abs=1e-12)
    for name, band in deep.items():
        assert second[name] == pytest.approx(band, abs=1e-12)


def test_axes_of_the_stationary_transform_may_be_at_different_levels(rng):
    volume = rng.normal(size=(8, 16, 16))
    bands = stationary_split(volume, "sym4", (0, 2), (0, 2, 1))
    assert set(bands) == {"aa", "ad", "da", "dd"}
    assert stationary_merge(bands, "sym4", (0, 2), (0, 2, 1)) == pytest.approx(volume, abs=1e-9)


def shifted_error(method: str, rng: np.random.Generator) -> float:
    """How far fusing volumes moved by one voxel is from moving the fused volume, away from the edges."""
    pair = [rng.uniform(0, 1, (40, 44, 42)).astype(np.float32) for _ in range(2)]
    fuser = FusionMethod.choose({"method": method, "levels": 1}).build("cpu")
    still = fuser(pair, ["CT", "PET"], cube(40, 44, 42))
    moved = fuser([np.roll(volume, (1, 1, 1), (0, 1, 2)) for volume in pair], ["CT", "PET"], cube(40, 44, 42))
    inner = (slice(14, -14),) * 3
    return float(np.abs(np.roll(still, (1, 1, 1), (0, 1, 2)) - moved)[inner].max())


def test_the_stationary_transform_moves_with_the_volume_and_the_discrete_one_does_not(rng):
    assert shifted_error("swt3d", rng) < 1e-6
    assert shifted_error("dwt3d", rng) > 0.1


def test_an_unknown_wavelet_is_refused():
    with pytest.raises(ValueError, match="unknown wavelet 'db99'"):
        WaveletStationary(wavelet="db99")


def dual_tree_bands(volume: torch.Tensor, levels: int) -> tuple[torch.Tensor, list[Bands]]:
    low, found = volume, []
    for level in range(levels):
        bands: Bands = {(): low}
        for axis in range(3):
            halves = {name: split(band, axis, level == 0) for name, band in bands.items()}
            bands = {(*name, high): pair[high] for name, pair in halves.items() for high in (0, 1)}
        low = bands.pop((0, 0, 0))
        found.append({name: to_complex(band, (0, 1, 2)) for name, band in bands.items()})
    return low, found


# Energies of the 28 bands of each level as given by the package dtcwt 0.14.0 (near_sym_a, qshift_a, ext_mode 4) for the
# volume of the test, and the energy of its low band.
REFERENCE = [
    [3.264906, 3.80663, 2.079863, 4.976856, 13.82628, 8.556293, 8.556297, 13.80781, 0.561774, 0.467345, 0.467318,
     0.562491, 36.393084, 94.459147, 36.381359, 94.509321, 1.014328, 2.591258, 1.010378, 2.597113, 0.403268, 0.403268,
     0.411362, 0.408617, 0.650894, 0.650894, 0.654804, 0.651425],
    [6.999507, 3.852413, 5.32045, 7.330446, 59.775871, 20.822225, 21.333927, 60.023258, 4.130065, 1.023707, 1.020375,
     4.277063, 10.115898, 83.858567, 9.776554, 84.314193, 1.505411, 13.209967, 1.461078, 13.266355, 0.51929, 0.519289,
     0.523025, 0.523806, 0.106013, 0.106013, 0.106791, 0.106295],
]  # fmt: skip
REFERENCE_LOW = 261.252356


def test_the_dual_tree_gives_the_reference_implementations_bands():
    z, y, x = np.meshgrid(np.arange(8.0), np.arange(16.0), np.arange(8.0), indexing="ij")
    volume = np.sin(0.9 * z + 0.4 * y * y / 16) + np.cos(1.7 * x - 0.6 * y)
    volume += (z - 3) ** 2 + (y - 8) ** 2 + (x - 4) ** 2 < 9
    low, levels = dual_tree_bands(torch.from_numpy(volume), 2)
    for bands, expected in zip(levels, REFERENCE, strict=True):
        energies = [float((direction.abs() ** 2).sum()) for band in bands.values() for direction in band]
        assert sorted(energies) == pytest.approx(sorted(expected), abs=1e-6)
    assert float((low**2).sum()) == pytest.approx(REFERENCE_LOW, abs=1e-6)


@pytest.mark.parametrize("first", [True, False])
def test_the_dual_tree_reconstructs_perfectly(first, rng):
    volume = torch.from_numpy(rng.normal(size=(8, 4, 6)))
    for axis in (0, 1):
        low, high = split(volume, axis, first)
        assert torch.allclose(merge(low, high, axis, first), volume, atol=1e-12)
    assert torch.allclose(to_real(to_complex(volume, (0, 1, 2)), (0, 1, 2)), volume, atol=1e-12)
    energy = float((to_complex(volume, (0, 1, 2)).abs() ** 2).sum())
    assert energy == pytest.approx(float((volume**2).sum()))


@pytest.mark.parametrize("level", [2, 3, 4])
def test_complex_wavelets_see_frequencies_of_one_sign_only(level):
    waves = []
    for tree in (0, 1):
        high = torch.zeros(128 // 2 ** (level - 1), 1, 1, dtype=torch.float64)
        high[len(high) // 2 + tree] = 1
        wave = merge(torch.zeros_like(high), high, 0, level == 1)
        for above in range(level - 1, 0, -1):
            wave = merge(wave, torch.zeros_like(wave), 0, above == 1)
        waves.append(wave.ravel())
    power = torch.fft.fft(torch.complex(*waves)).abs() ** 2
    sides = sorted((float(power[1:64].sum()), float(power[65:].sum())))
    assert sides[0] < 0.005 * sum(sides)


def test_subband_energies_hardly_change_under_a_shift_where_those_of_the_discrete_transform_do():
    z, y, x = np.meshgrid(*(np.arange(32) - 16.0 for _ in range(3)), indexing="ij")

    def energies(shift: int) -> tuple[np.ndarray, np.ndarray]:
        ball = 1 / (1 + np.exp(2 * (np.sqrt(z**2 + y**2 + (x - shift) ** 2) - 6)))
        _, levels = dual_tree_bands(torch.from_numpy(ball), 3)
        complex_ = [float((band.abs() ** 2).sum()) for band in levels[-1].values()]
        _, details, *_ = pywt.wavedecn(ball, "db2", mode="symmetric", level=3)
        return np.array(complex_), np.array([(band**2).sum() for band in details.values()])

    dual, discrete = (np.array(found) for found in zip(*(energies(shift) for shift in range(8)), strict=True))
    # Standard deviation over the eight shifts after which the third level repeats itself, relative to the mean, of the
    # three bands with the most energy: 0.11 and 0.47.
    spread = []
    for found in (dual, discrete):
        strongest = found[:, np.argsort(found.mean(axis=0))[-3:]]
        spread.append(float((strongest.std(axis=0) / strongest.mean(axis=0)).max()))
    assert spread[0] < 0.15
    assert spread[1] > 3 * spread[0]


def test_dual_tree_fusion_changes_far_less_under_a_shift_than_discrete_wavelet_fusion(rng):
    pair = [gaussian_filter(rng.normal(size=(40, 40, 40)), 1.5).astype(np.float32) for _ in range(2)]
    moved = [np.roll(volume, 1, axis=2) for volume in pair]
    changed = {}
    for method in ("dtcwt", "dwt3d"):
        fuser = FusionMethod.choose({"method": method, "levels": 3}).build("cpu")
        still, shifted = (fuser(volumes, ["CT", "PET"], cube(40, 40, 40)) for volumes in (pair, moved))
        changed[method] = np.std((np.roll(still, 1, axis=2) - shifted)[10:-10, 10:-10, 10:-10])
    assert changed["dtcwt"] < 0.4 * changed["dwt3d"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_dual_tree_turns_with_volumes_that_need_no_padding(axis, rng):
    pair = [rng.uniform(0, 1, (16, 24, 8)).astype(np.float32) for _ in range(2)]
    fuser = DualTree().build("cpu")
    fused = fuser(pair, ["CT", "PET"], cube(16, 24, 8))
    flipped = fuser([np.flip(volume, axis) for volume in pair], ["CT", "PET"], cube(16, 24, 8))
    assert np.flip(flipped, axis) == pytest.approx(fused, abs=1e-5)


@pytest.mark.parametrize("method", ["swt3d", "dtcwt", "curvelet", "laplacian"])
def test_local_energy_chooses_otherwise_than_magnitude(method, rng):
    pair = [rng.uniform(0, 1, (12, 14, 13)).astype(np.float32) for _ in range(2)]
    fused = [
        FusionMethod.choose({"method": method, "detail": detail}).build("cpu")(pair, ["CT", "PET"], cube(12, 14, 13))
        for detail in ("max_abs", "energy")
    ]
    assert np.abs(fused[0] - fused[1]).max() > 0.05


@pytest.mark.parametrize("shape", list(product((9, 12), (13,), (14, 16))))
def test_curvelets_reconstruct_lengths_that_the_library_alone_gets_wrong(shape, rng):
    volume = rng.uniform(0, 1, shape).astype(np.float32)
    fused = Curvelet().build("cpu")([volume, volume], ["CT", "PET"], cube(*shape))
    assert fused == pytest.approx(volume, abs=1e-6)


@pytest.mark.parametrize("scales", [2, 4, 5])
@pytest.mark.parametrize("shape", [(9, 14, 11), (1, 27, 31)])
def test_curvelets_reconstruct_with_other_scales(scales, shape, rng):
    volume = rng.uniform(0, 1, shape).astype(np.float32)
    fused = Curvelet(scales=scales).build("cpu")([volume, volume], ["CT", "PET"], cube(*shape))
    assert fused == pytest.approx(volume, abs=1e-6)


def test_curvelets_of_a_line_are_its_weighted_mean():
    # There is no direction to tell apart on a line.
    line = np.array([1, 5, 2, 0], np.float32).reshape(1, 4, 1)
    fused = Curvelet(weights={"CT": 1, "PET": 3}).build("cpu")([line, 0 * line], ["CT", "PET"], cube(1, 4, 1))
    assert fused.ravel() == pytest.approx([0.25, 1.25, 0.5, 0])


def test_curvelets_keep_a_curved_edge():
    # The surface of a ball in the one source, faint stripes in the other: near the surface the fine part of the fused
    # volume is the ball's, where that of the average is half of it. (One level of dwt3d: 0.66.)
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (32, 36, 34)), indexing="ij")
    distance = np.sqrt(z**2 + y**2 + x**2)
    ball = (1 / (1 + np.exp(3 * (distance - 10)))).astype(np.float32)
    stripes = (0.5 + 0.05 * np.sin(1.5 * x)).astype(np.float32)
    pair, grid = [ball, stripes], cube(32, 36, 34)
    surface = np.abs(distance - 10) < 1
    kept = {}
    for method in (Curvelet(), Average()):
        fused = method.build("cpu")(pair, ["CT", "PET"], grid)
        found, expected = ((volume - gaussian_filter(volume, 1.5))[surface] for volume in (fused, ball))
        kept[method.method] = float((found * expected).sum() / (expected**2).sum())
        assert np.corrcoef(found, expected)[0, 1] > 0.97
    assert kept["average"] == pytest.approx(0.5, abs=0.02)
    assert kept["curvelet"] > 0.8
