"""Boxes around regions, and the grids of boxes."""

import numpy as np
import pytest

from radfuse.data.box import box_of, size_of, touches_border, widened
from radfuse.data.geometry import Geometry

TURNED = Geometry((6, 5, 4), (1.0, 2.0, 3.0), (7.0, -2.0, 1.0), (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))


def region(*places: tuple[int, int, int]) -> np.ndarray:
    inside = np.zeros(TURNED.shape, bool)
    for place in places:
        inside[place] = True
    return inside


@pytest.mark.parametrize("seed", range(5))
def test_the_least_box_holds_every_voxel_and_each_of_its_sides_one(seed: int) -> None:
    inside = np.random.default_rng(seed).random(TURNED.shape) < 0.05
    where = np.argwhere(inside)
    box = box_of(inside)
    assert [(part.start, part.stop - 1) for part in box] == list(zip(where.min(0), where.max(0), strict=True))


def test_a_margin_ends_with_the_array() -> None:
    box = box_of(region((1, 2, 3), (2, 2, 3)))
    assert size_of(box) == (1, 1, 2)
    assert widened(box, (1, 1, 1), TURNED.shape) == (slice(0, 4), slice(1, 4), slice(2, 5))
    assert widened(box, (9, 0, 3), TURNED.shape) == (slice(0, 4), slice(2, 3), slice(0, 6))
    assert size_of(box_of(region())) == (0, 0, 0)


def test_the_grid_of_a_box_puts_its_voxels_where_they_were() -> None:
    box = (slice(1, 4), slice(2, 3), slice(3, 6))
    part = TURNED.part(box)
    assert part.size == size_of(box)
    assert (part.spacing_mm, part.direction) == (TURNED.spacing_mm, TURNED.direction)
    for index in ([0, 0, 0, 1], [2, 0, 2, 1]):
        old = np.add(index, [3, 2, 1, 0])
        np.testing.assert_allclose(part.index_to_physical @ index, TURNED.index_to_physical @ old)
    assert TURNED.part(tuple(slice(0, n) for n in TURNED.shape)) == TURNED


@pytest.mark.parametrize(
    ("place", "touches"), [((1, 2, 3), False), ((0, 2, 3), True), ((1, 4, 3), True), ((1, 2, 5), True)]
)
def test_a_region_on_an_outer_voxel_touches_the_border(place: tuple[int, int, int], touches: bool) -> None:
    assert touches_border(region(place)) is touches
