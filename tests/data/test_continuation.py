"""Going on with an image beyond what its scan covers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from radfuse.data.continuation import gone_on


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(0, 4)), min_size=3, max_size=3))
def test_around_a_box_the_border_is_repeated_as_numpy_pads(edges: list[tuple[int, int, int]]) -> None:
    shown = np.random.default_rng(0).normal(size=[size for _, size, _ in edges])
    pads = [(before, after) for before, _, after in edges]
    seen = np.pad(np.ones(shown.shape, bool), pads)
    array = np.pad(shown, pads, constant_values=-1000.0)
    assert np.array_equal(gone_on(array, seen), np.pad(shown, pads, mode="edge"))


def test_what_is_no_box_is_filled_line_by_line_along_x_then_y_then_z() -> None:
    rng = np.random.default_rng(0)
    array, seen = rng.normal(size=(7, 8, 9)), rng.random((7, 8, 9)) < 0.3
    filled = gone_on(array, seen)
    assert np.array_equal(filled[seen], array[seen])
    for z, y, x in np.argwhere(~seen & seen.any(axis=2, keepdims=True)):
        near = sorted(np.flatnonzero(seen[z, y]), key=lambda other: (abs(other - x), other))
        assert filled[z, y, x] == array[z, y, near[0]]


def test_a_gap_takes_its_nearest_neighbour_and_nothing_seen_changes_nothing() -> None:
    array = np.array([[[1.0, 0.0, 0.0, 0.0, 5.0]]])
    seen = np.array([[[True, False, False, False, True]]])
    assert gone_on(array, seen).ravel().tolist() == [1.0, 1.0, 1.0, 5.0, 5.0]
    assert gone_on(array, np.zeros_like(seen)) is array
