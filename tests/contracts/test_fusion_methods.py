"""Every fusion method keeps the contract of its family."""

from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.volume import Volume
from radfuse.errors import DataError, GeometryError
from radfuse.fuse import Fuser, FusionMethod
from radfuse.fuse.stage import Fuse

MEMBERS = sorted(FusionMethod.members())
SHAPE = (20, 26, 23)
NAMES = ("CT", "PET", "MR")


def grid_of(shape: tuple[int, int, int]) -> Geometry:
    return Geometry((shape[2], shape[1], shape[0]), (1.0, 1.0, 1.5))


def fuse(method: str, *volumes: np.ndarray, names: tuple[str, ...] = NAMES) -> np.ndarray:
    fuser = FusionMethod.choose(method).build("cpu")
    return fuser(volumes, names[: len(volumes)], grid_of(volumes[0].shape))


@pytest.fixture(scope="module")
def sources() -> tuple[np.ndarray, ...]:
    """Three normalised volumes of one ball, different in contrast and texture, on zero background."""
    rng = np.random.default_rng(11)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    inside = z**2 + y**2 + x**2 < 0.6
    levels = [0.5, np.where(x > 0, 0.8, 0.1), np.where(y > 0, 0.2, 0.6)]
    return tuple((inside * (level + rng.normal(0, 0.05, SHAPE))).astype(np.float32) for level in levels)


def test_the_family_has_the_members_that_the_stage_uses_by_default():
    assert {"average", "maximum", "dwt3d", "mdafuse"} <= set(MEMBERS)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("method", MEMBERS)
def test_two_or_three_volumes_make_one_of_the_same_shape_in_float32(method, count, sources):
    fused = fuse(method, *sources[:count])
    assert fused.shape == SHAPE
    assert fused.dtype == np.float32
    assert np.isfinite(fused).all()
    assert fused.std() > 0.01


@pytest.mark.parametrize("method", MEMBERS)
def test_the_order_of_the_modalities_does_not_matter(method, sources):
    fuser = FusionMethod.choose(method).build("cpu")
    part = [volume[4:15, 5:21, 4:19] for volume in sources]
    given = list(zip(part, NAMES, strict=True))
    results = [
        fuser([volume for volume, _ in order], [name for _, name in order], grid_of(part[0].shape))
        for order in permutations(given)
    ]
    assert all(np.array_equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("method", MEMBERS)
def test_the_same_input_gives_the_same_bytes(method, sources):
    assert fuse(method, *sources).tobytes() == fuse(method, *sources).tobytes()


@pytest.mark.parametrize("method", MEMBERS)
def test_inputs_are_left_as_they_were(method, sources):
    copies = [volume.copy() for volume in sources]
    fuse(method, *copies)
    assert all(np.array_equal(copy, volume) for copy, volume in zip(copies, sources, strict=True))


@pytest.mark.parametrize("method", MEMBERS)
def test_equal_sources_are_given_back_where_claimed(method, sources):
    if not FusionMethod.members()[method].keeps_equal_sources:
        pytest.skip(f"{method} makes an image of another kind")
    fused = fuse(method, *[sources[0]] * 3)
    assert np.abs(fused - sources[0]).max() < 1e-6


@pytest.mark.parametrize("method", MEMBERS)
def test_halved_sources_give_about_half_the_values_where_claimed_and_only_there(method, sources):
    pair = [volume[4:15, 5:21, 4:19] for volume in sources[:2]]
    whole, halved = (fuse(method, *(factor * volume for volume in pair)).sum() for factor in (1.0, 0.5))
    assert (0.4 < halved / whole < 0.6) == FusionMethod.members()[method].on_source_scale


@pytest.mark.parametrize("method", MEMBERS)
def test_constant_volumes_give_a_constant_between_them(method):
    if not FusionMethod.members()[method].keeps_constants:
        pytest.skip(f"{method} does not claim it")
    fused = fuse(method, np.full(SHAPE, 0.25, np.float32), np.full(SHAPE, 0.75, np.float32))
    assert np.isfinite(fused).all()
    assert np.ptp(fused) < 1e-5
    assert 0.0 <= fused.mean() <= 1.0


@pytest.mark.parametrize("method", MEMBERS)
def test_nothing_gives_nothing(method):
    assert np.abs(fuse(method, *[np.zeros(SHAPE, np.float32)] * 2)).max() < 1e-7


@pytest.mark.parametrize("method", MEMBERS)
def test_voxels_where_the_sources_agree_keep_their_value_where_claimed(method, sources):
    if not FusionMethod.members()[method].voxelwise_identity:
        pytest.skip(f"{method} does not claim it")
    agree = np.zeros(SHAPE, bool)
    agree[:, 8:14, ::2] = True
    other = np.where(agree, sources[0], sources[1])
    fused = fuse(method, sources[0], other)
    assert np.abs(fused - sources[0])[agree].max() < 1e-6
    outside = (sources[0] == 0) & (sources[1] == 0)
    assert outside.any()
    assert (fuse(method, *sources[:2])[outside] == 0).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("method", MEMBERS)
def test_flipping_before_is_flipping_after_where_claimed(method, axis, sources):
    if not FusionMethod.members()[method].flip_equivariant:
        pytest.skip(f"{method} does not claim it")
    flipped = fuse(method, *(np.flip(volume, axis) for volume in sources))
    assert np.abs(np.flip(flipped, axis) - fuse(method, *sources)).max() < 1e-5


def isotropic(shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Two volumes of one ball that brightens alike along every axis, each with a texture and a level of its own."""
    rng = np.random.default_rng(5)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    textures = [gaussian_filter(rng.normal(size=shape), 1.0) for _ in range(2)]
    inside = z**2 + y**2 + x**2 < 0.8
    return [
        (inside * (level + slope * (z + y + x) + 0.02 * texture / texture.std())).astype(np.float32)
        for level, slope, texture in zip((0.6, 0.4), (0.2, 0.1), textures, strict=True)
    ]


def fuse_isotropic(method: str, volumes: list[np.ndarray], names: tuple[str, ...] = NAMES[:2]) -> np.ndarray:
    z, y, x = volumes[0].shape
    return FusionMethod.choose(method).build("cpu")(volumes, names, Geometry((x, y, z), (2.0, 2.0, 2.0)))


@pytest.mark.parametrize("method", MEMBERS)
def test_exchanging_axes_before_is_exchanging_them_after_where_claimed(method):
    if not FusionMethod.members()[method].permutation_equivariant:
        pytest.skip(f"{method} does not claim it")
    pair = isotropic((16, 18, 17))
    fused = fuse_isotropic(method, pair)
    # These two make every order of the axes.
    for axes in ((1, 0, 2), (1, 2, 0)):
        exchanged = fuse_isotropic(method, [volume.transpose(axes) for volume in pair])
        assert np.abs(exchanged - fused.transpose(axes)).max() < 1e-5


def change_against(fused: np.ndarray, sources: list[np.ndarray]) -> tuple[float, float]:
    """Mean change from slice to slice inside the ball: in that of the sources, and in that within slices."""

    def change(volume: np.ndarray) -> np.ndarray:
        core = volume[tuple(slice(length // 4, -(length // 4)) for length in volume.shape)]
        return np.array([np.abs(np.diff(core, axis=axis)).mean() for axis in range(3)])

    ratio = change(fused) / np.mean([change(source) for source in sources], axis=0)
    return float(ratio[0]), float(2 * ratio[0] / (ratio[1] + ratio[2]))


@pytest.mark.parametrize("method", MEMBERS)
def test_slices_follow_each_other_as_in_the_sources(method):
    pair = isotropic((24, 24, 24))
    against_sources, against_plane = change_against(fuse_isotropic(method, pair), pair)
    assert 0.85 < against_plane < 1.15
    # What follows the weaker source changes less than the two do on average, what keeps the stronger detail more.
    if FusionMethod.members()[method].keeps_equal_sources:
        assert 0.7 < against_sources < 1.4


def test_scaling_slice_by_slice_is_what_the_test_of_slices_finds():
    pair = isotropic((24, 24, 24))
    scaled = np.mean(pair, axis=0)
    low, high = (edge(scaled, axis=(1, 2), keepdims=True) for edge in (np.min, np.max))
    scaled = (scaled - low) / np.maximum(high - low, 1e-6)
    _, against_plane = change_against(scaled, pair)
    assert against_plane < 0.7


@pytest.mark.parametrize("method", MEMBERS)
def test_two_modalities_of_equal_weight_may_change_places_unless_they_have_roles(method):
    if "functional" in FusionMethod.members()[method].model_fields:
        pytest.skip(f"{method} treats uptake and anatomy differently")
    pair = isotropic((12, 14, 13))
    assert np.abs(fuse_isotropic(method, pair) - fuse_isotropic(method, pair[::-1])).max() < 1e-5


@pytest.mark.parametrize("method", MEMBERS)
def test_a_crop_with_context_is_fused_like_the_whole_where_claimed(method, rng):
    context = FusionMethod.members()[method].context_voxels
    if context is None:
        pytest.skip(f"{method} depends on where the grid begins")
    # Odd corners: a network that strides would pass only at even ones. What lies outside the crop is of another scale,
    # so that any statistic taken over the field of view would show.
    shape = tuple(2 * context + n for n in (12, 13, 14))
    pair = [rng.uniform(0, 1, shape).astype(np.float32) for _ in range(2)]
    for volume in pair:
        volume[:, :, -3:] *= 20
    box = tuple(slice(start, start + 2 * context + 8) for start in (3, 1, 2))
    kept = tuple(slice(context, context + 8) for _ in shape)
    cropped = fuse(method, *(volume[box] for volume in pair))[kept]
    assert np.abs(cropped - fuse(method, *pair)[box][kept]).max() < 1e-5


@pytest.mark.parametrize("shape", [(1, 18, 17), (5, 1, 1), (1, 1, 1), (2, 3, 2)])
@pytest.mark.parametrize("method", MEMBERS)
def test_thin_and_tiny_volumes_are_fused(method, shape, rng):
    pair = [rng.uniform(0, 1, shape).astype(np.float32) for _ in range(2)]
    fused = fuse(method, *pair)
    assert fused.shape == shape
    assert np.isfinite(fused).all()
    if FusionMethod.members()[method].keeps_equal_sources:
        assert np.abs(fuse(method, pair[0], pair[0]) - pair[0]).max() < 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("method", MEMBERS)
def test_voxels_that_are_no_numbers_are_refused(method, bad, sources):
    broken = sources[0].copy()
    broken[3, 4, 5] = bad
    with pytest.raises(DataError, match="CT holds 1 voxels that are not finite"):
        fuse(method, broken, sources[1])


@pytest.mark.parametrize("method", MEMBERS)
def test_volumes_of_other_shapes_are_refused(method, sources):
    with pytest.raises(GeometryError, match=r"PET has shape \(19, 26, 23\)"):
        FusionMethod.choose(method).build("cpu")([sources[0], sources[1][1:]], ["CT", "PET"], grid_of(SHAPE))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"origin_mm": (0.0, 3.0, 0.0)}, r"origin shifted by \(?0(\.0+)?, 3(\.0+)?, 0(\.0+)?\)? mm \(3\.00 voxels\)"),
        ({"spacing_mm": (1.0, 1.0, 2.0)}, r"spacing .*1\.5.* against .*2.* mm"),
        ({"direction": (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0)}, "direction cosines differ"),
        ({"size": (23, 26, 19)}, r"size \(23, 26, 20\) against \(23, 26, 19\) voxels"),
    ],
)
def test_the_stage_refuses_two_grids_and_says_how_they_differ(change, said, sources):
    grid = grid_of(SHAPE)
    other = replace(grid, **change)
    x, y, z = other.size
    volumes = {
        # A volume locks its array; the sources are shared with other tests.
        "CT": Volume(sources[0].copy(), grid, "CT", "HU"),
        "PET": Volume(sources[1][:z, :y, :x].copy(), other, "PET", "SUV"),
    }
    with pytest.raises(GeometryError, match=f"CT image and PET image do not share a grid: {said}") as caught:
        Fuse(methods=("average",))(Subject("p1", volumes, {}))
    assert "radfuse align" in caught.value.hint


@pytest.mark.parametrize("method", MEMBERS)
def test_one_volume_is_refused(method, sources):
    with pytest.raises(DataError, match="two or more"):
        fuse(method, sources[0])


def test_no_two_members_give_the_same_output(sources):
    made = {method: fuse(method, *sources[:2]) for method in MEMBERS}
    for one, other in combinations(MEMBERS, 2):
        assert np.abs(made[one] - made[other]).max() > 0.01, f"{one} and {other} are one method"


@pytest.mark.gpu
@pytest.mark.parametrize("method", MEMBERS)
def test_cpu_and_gpu_agree(method, sources):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    fuser: Fuser = FusionMethod.choose(method).build("cuda")
    assert np.abs(fuser(sources, NAMES, grid_of(SHAPE)) - fuse(method, *sources)).max() < 1e-4
