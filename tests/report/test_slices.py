"""Where an example is cut, how it is windowed, and what its parts look like."""

import numpy as np
import pytest

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.report.slices import SOFT_TISSUE_HU, cut, window


@pytest.fixture
def region(grid: Geometry) -> Mask:
    """Nine voxels in slice 3, one in slice 7."""
    array = np.zeros(grid.shape, np.uint8)
    array[3, 10:13, 4:7] = 1
    array[7, 0, 0] = 1
    return Mask(array, grid)


def test_the_slice_is_the_one_with_the_largest_region(region: Mask) -> None:
    where = cut(region)
    assert where.index == 3
    assert where.region.sum() == 9
    assert where.region.shape == region.array.shape[1:]


def test_a_margin_is_in_millimetres_and_stops_at_the_border() -> None:
    grid = Geometry((20, 20, 4), (2.0, 1.0, 3.0), (0.0, 0.0, 0.0))
    array = np.zeros(grid.shape, np.uint8)
    array[1, 10, 2] = 1
    where = cut(Mask(array, grid), margin_mm=6.0)
    assert (where.rows, where.columns) == (slice(4, 18), slice(0, 7))  # 6 voxels of 1 mm, 3 of 2 mm, one for the end
    assert where.aspect == 0.5
    assert where.region.sum() == 1


def test_ct_has_a_soft_tissue_window_and_pet_begins_at_zero(ct: Volume, pet: Volume, sphere: Mask) -> None:
    where = cut(sphere)
    assert window(ct, sphere, where.of(ct)) == SOFT_TISSUE_HU
    low, high = window(pet, sphere, where.of(pet))
    assert low == 0.0
    assert high == pytest.approx(float(pet.array[sphere.inside].max()))


def test_a_constant_image_still_has_a_window(grid: Geometry, sphere: Mask) -> None:
    flat = Volume(np.full(grid.shape, 3.0, np.float32), grid, "MR", "a.u.")
    assert window(flat, sphere, cut(sphere).of(flat)) == (3.0, 4.0)


def test_other_units_span_their_percentiles(grid: Geometry, sphere: Mask) -> None:
    ramp = Volume(np.arange(np.prod(grid.shape), dtype=np.float32).reshape(grid.shape), grid, "MR", "a.u.")
    shown = cut(sphere).of(ramp)
    low, high = window(ramp, sphere, shown)
    assert (shown < low).mean() == pytest.approx(0.01, abs=0.005)
    assert (shown > high).mean() == pytest.approx(0.01, abs=0.005)
