"""What makes the volumetric MdAFuse special: bounds, tiles, symmetry, precision."""

import logging
from itertools import permutations

import numpy as np
import pytest
import torch

from radfuse.data.geometry import Geometry
from radfuse.errors import DataError
from radfuse.fuse.mdafuse import MdAFuse
from radfuse.fuse.networks.inference import fuse_tiled, tiles
from radfuse.fuse.networks.mdafuse import HALO, ChannelAffine, MdAFuseNet, Symmetric
from radfuse.fuse.networks.recipe import FusionTraining
from radfuse.fuse.networks.room import Room
from radfuse.fuse.training import untrained

SHAPE = (22, 31, 27)


def fuse(member: MdAFuse, *volumes: np.ndarray) -> np.ndarray:
    z, y, x = volumes[0].shape
    names = [f"M{k}" for k in range(len(volumes))]
    return member.build("cpu")(volumes, names, Geometry((x, y, z), (1.0, 1.0, 1.0)))


@pytest.fixture
def pair(rng) -> list[np.ndarray]:
    return [rng.uniform(0, 1, SHAPE).astype(np.float32) for _ in range(2)]


def test_tiles_cover_every_voxel_once():
    covered = np.zeros((7, 10, 3), int)
    for box in tiles(covered.shape, 4):
        covered[box] += 1
        assert max(side.stop - side.start for side in box) <= 4
    assert (covered == 1).all()


def test_tiled_equals_whole(pair):
    assert fuse(MdAFuse(tile=11), *pair) == pytest.approx(fuse(MdAFuse(tile=64), *pair), abs=1e-5)


def test_the_number_of_threads_changes_no_bit(pair):
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(fuse(MdAFuse(tile=16), *pair).tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_the_result_leaves_the_range_of_the_sources_by_at_most_half_of_it(pair):
    # Random weights, large ones too, must be bounded as well: the bound is the construction's, not the training's.
    network = untrained(FusionTraining(seed=3)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    fused = fuse_tiled(network, pair, HALO, 64, "cpu", "float32")
    low, high = np.minimum(*pair), np.maximum(*pair)
    assert (fused >= low - 0.5 * (high - low) - 1e-6).all()
    assert (fused <= high + 0.5 * (high - low) + 1e-6).all()
    assert ((fused < low) | (fused > high)).any()


def test_the_reach_of_the_network_is_the_halo():
    network = untrained(FusionTraining()).eval()
    size = 4 * HALO + 1
    draw = torch.Generator().manual_seed(0)
    reach = []
    for _ in range(4):  # a unit that is off for one input hides what lies behind it
        volumes = [torch.rand(1, 1, size, size, size, generator=draw).requires_grad_() for _ in range(2)]
        centre = size // 2 - HALO
        network(volumes)[0, 0, centre, centre, centre].backward()
        reach.append(np.abs(np.argwhere(volumes[0].grad[0, 0].numpy() != 0) - size // 2).max())
    assert max(reach) <= HALO
    assert max(reach) >= HALO - 1


def test_kernels_have_the_symmetries_of_the_cube():
    kernel = Symmetric(2, 3, 5).kernel()
    assert kernel.std() > 0
    for axis in (2, 3, 4):
        assert torch.equal(kernel, kernel.flip(axis))
    for axes in permutations((2, 3, 4)):
        assert torch.allclose(kernel, kernel.permute(0, 1, *axes), atol=1e-7)


@pytest.mark.parametrize("axes", [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_turning_before_is_turning_after(pair, axes):
    turned = fuse(MdAFuse(), *(np.transpose(volume, axes) for volume in pair))
    assert turned == pytest.approx(np.transpose(fuse(MdAFuse(), *pair), axes), abs=1e-5)


def test_tiled_equals_whole_in_bfloat16_within_its_rounding(pair):
    # A tile rounds where the whole rounds, so that bfloat16 opens no seam; sums over taps may round apart.
    tiled, whole = (fuse(MdAFuse(tile=tile, precision="bfloat16"), *pair) for tile in (11, 64))
    assert np.abs(tiled - whole).max() < 5e-3


class OnlySmall(torch.nn.Module):
    """Like a network on a device with too little memory: refuses more than so many voxels a side."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.network = untrained(FusionTraining()).eval()

    def forward(self, volumes):
        if max(volumes[0].shape) - 2 * HALO > self.side:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return self.network(volumes)


def test_memory_that_runs_out_makes_smaller_tiles_and_is_said_once(pair, caplog):
    room, network = Room("cpu", 24, 8, "tiles of {} voxels"), OnlySmall(15)

    def work(device: str, tile: int) -> np.ndarray:
        return fuse_tiled(network, pair, HALO, tile, device, "float32")

    with caplog.at_level(logging.WARNING):
        found = [room.run(work) for _ in range(2)]
    assert room.portion == 12
    assert [record.message for record in caplog.records] == [
        "cpu ran out of memory; fusing goes on in tiles of 12 voxels on cpu"
    ]
    assert found[0] == pytest.approx(fuse_tiled(network.network, pair, HALO, 64, "cpu", "float32"), abs=1e-5)
    assert np.array_equal(found[0], found[1])


def test_a_gpu_without_room_is_given_up_for_the_cpu(caplog):
    tried = []

    def work(device: str, tile: int) -> np.ndarray:
        tried.append((device, tile))
        if device == "cuda":
            raise torch.OutOfMemoryError
        return np.ones(1, np.float32)

    room = Room("cuda", 48, 16, "tiles of {} voxels")
    with caplog.at_level(logging.WARNING):
        room.run(work)
        room.run(work)
    assert tried == [("cuda", 48), ("cuda", 24), ("cuda", 16), ("cpu", 48), ("cpu", 48)]
    assert [record.message for record in caplog.records] == [
        "cuda ran out of memory; fusing goes on in tiles of 48 voxels on cpu"
    ]


def test_no_room_anywhere_is_an_error_that_says_what_to_do(pair):
    room = Room("cpu", 20, 16, "tiles of {} voxels")
    with pytest.raises(DataError, match="not enough memory to fuse in tiles of 16 voxels on the CPU: CUDA") as refused:
        room.run(lambda device, tile: fuse_tiled(OnlySmall(3), pair, HALO, tile, device, "float32"))
    assert "spacing_mm" in refused.value.hint


def test_the_affine_map_scales_and_shifts_channels():
    affine = ChannelAffine(2)
    with torch.no_grad():
        affine.scale.copy_(torch.tensor([2.0, 3.0]))
        affine.shift.copy_(torch.tensor([0.0, 1.0]))
    out = affine(torch.ones(1, 2, 1, 1, 4))
    assert torch.equal(out[0, :, 0, 0, 0], torch.tensor([2.0, 4.0]))


def test_the_gate_depends_on_what_is_around_a_voxel():
    # Two voxels with the same two values in different surroundings are not fused alike: it is no point operation.
    rng = np.random.default_rng(0)
    one, other = np.full(SHAPE, 0.3, np.float32), np.full(SHAPE, 0.6, np.float32)
    one[:, :, :12] += rng.normal(0, 0.2, one[:, :, :12].shape).astype(np.float32)
    one[10, 15, 5] = 0.3
    fused = fuse(MdAFuse(), one, other)
    assert abs(fused[10, 15, 5] - fused[10, 15, 24]) > 1e-3


def test_bfloat16_stays_within_two_hundredths_of_the_range(pair):
    exact, rough = (fuse(MdAFuse(precision=precision), *pair) for precision in ("float32", "bfloat16"))
    assert rough.dtype == np.float32
    assert not np.array_equal(exact, rough)
    assert np.abs(exact - rough).max() < 2e-2 * np.ptp(np.stack(pair))


def test_four_modalities_are_fused(rng):
    volumes = [rng.uniform(0, 1, (6, 7, 8)).astype(np.float32) for _ in range(4)]
    fused = fuse(MdAFuse(), *volumes)
    assert np.isfinite(fused).all()
    assert fuse(MdAFuse(), *volumes[:3]) != pytest.approx(fused)


def test_building_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    MdAFuse().build("cpu")
    untrained(FusionTraining())
    assert torch.equal(torch.rand(1), expected)


def test_the_network_has_no_layer_with_statistics():
    kinds = {type(module).__name__ for module in MdAFuseNet().modules()}
    assert not any("Norm" in kind for kind in kinds)
