"""Every way to fuse a grey and a coloured picture keeps the contract of its family."""

from itertools import combinations

import numpy as np
import pytest

from radfuse.errors import DataError
from radfuse.fuse.pictures import PictureFusion

MEMBERS = sorted(PictureFusion.members())
SHAPE = (40, 33)


def fuse(method: str, grey: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return PictureFusion.choose(method).build()(grey, colour)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A grey disc with texture, and a hot spot in colour on part of it, both on black."""
    rng = np.random.default_rng(5)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    grey = (y**2 + x**2 < 0.7) * np.clip(0.5 + 0.2 * np.sin(9 * x) + rng.normal(0, 0.05, SHAPE), 0, 1)
    uptake = np.exp(-((y - 0.2) ** 2 + x**2) / 0.05)
    colour = np.stack([np.clip(1.3 * uptake, 0, 1), uptake**2, 0.4 * uptake**4], axis=-1)
    return grey.astype(np.float32), colour.astype(np.float32)


def test_the_family_has_the_methods_of_the_field() -> None:
    assert MEMBERS == ["atsif", "ihs", "ycbcr"]


@pytest.mark.parametrize("method", MEMBERS)
def test_the_result_is_a_coloured_picture_in_range(method, pair) -> None:
    fused = fuse(method, *pair)
    assert fused.shape == (*SHAPE, 3)
    assert fused.dtype == np.float32
    assert fused.min() >= 0
    assert fused.max() <= 1
    assert np.abs(fused - pair[1]).max() > 0.1
    assert np.abs(fused - pair[0][..., None]).max() > 0.1


@pytest.mark.parametrize("method", MEMBERS)
def test_the_hue_is_kept(method, pair) -> None:
    """Every difference between two channels is the old one, times one number in [0, 1] for all three."""
    fused = fuse(method, *pair)
    now, before = (np.diff(x.astype(float), axis=-1, append=x[..., :1]) for x in (fused, pair[1]))
    assert (now * before >= -1e-6).all()
    assert (np.abs(now) <= np.abs(before) + 1e-6).all()
    # Parallel: cross products vanish.
    assert np.abs(np.cross(now, before)).max() < 1e-6


@pytest.mark.parametrize("method", MEMBERS)
def test_a_picture_without_colour_gives_one_without_colour(method, pair) -> None:
    fused = fuse(method, pair[0], np.repeat(pair[1][..., :1], 3, axis=-1))
    assert np.ptp(fused, axis=-1).max() < 1e-6


@pytest.mark.parametrize("method", MEMBERS)
def test_nothing_gives_nothing(method) -> None:
    assert fuse(method, np.zeros(SHAPE, np.float32), np.zeros((*SHAPE, 3), np.float32)).max() == 0


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("method", MEMBERS)
def test_flipping_before_is_flipping_after(method, axis, pair) -> None:
    flipped = fuse(method, *(np.flip(picture, axis) for picture in pair))
    assert np.abs(np.flip(flipped, axis) - fuse(method, *pair)).max() < 1e-5


@pytest.mark.parametrize("method", MEMBERS)
def test_inputs_stay_and_the_same_input_gives_the_same_bytes(method, pair) -> None:
    copies = [picture.copy() for picture in pair]
    assert fuse(method, *copies).tobytes() == fuse(method, *pair).tobytes()
    assert all(np.array_equal(copy, picture) for copy, picture in zip(copies, pair, strict=True))


@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (2, 3)])
@pytest.mark.parametrize("method", MEMBERS)
def test_tiny_pictures_are_fused(method, shape, rng) -> None:
    grey, colour = (rng.uniform(0, 1, s).astype(np.float32) for s in (shape, (*shape, 3)))
    fused = fuse(method, grey, colour)
    assert fused.shape == (*shape, 3)
    assert np.isfinite(fused).all()


@pytest.mark.parametrize("method", MEMBERS)
def test_what_cannot_be_fused_is_refused(method, pair) -> None:
    grey, colour = pair
    with pytest.raises(DataError, match=r"grey \(39, 33\), colour \(40, 33\)"):
        fuse(method, grey[1:], colour)
    with pytest.raises(DataError, match=r"found \(40, 33, 3\) and \(40, 33, 3\)"):
        fuse(method, colour, colour)
    for bad in (np.nan, 1.5, -0.1):
        broken = grey.copy()
        broken[3, 4] = bad
        with pytest.raises(DataError, match="grey picture holds values outside"):
            fuse(method, broken, colour)


def test_no_two_members_give_the_same_output(pair) -> None:
    made = {method: fuse(method, *pair) for method in MEMBERS}
    for one, other in combinations(MEMBERS, 2):
        assert np.abs(made[one] - made[other]).max() > 0.01, f"{one} and {other} are one method"
