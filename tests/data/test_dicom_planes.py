import numpy as np
import pytest

from radfuse.data.reading.dicom.planes import Plane, axes, grid_of
from radfuse.errors import GeometryError

UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def stack(heights: list[float], *, drift: float = 0.0, orientation: tuple[float, ...] = UPRIGHT) -> list[Plane]:
    _, column, normal = axes(orientation)
    places = [z * normal + drift * i * column for i, z in enumerate(heights)]
    return [Plane((float(x), float(y), float(z)), orientation, (2.0, 1.5), 20, 30) for x, y, z in places]


def refused(planes: list[Plane], match: str) -> None:
    with pytest.raises(GeometryError, match=match):
        grid_of(planes)


def test_slices_are_put_in_order_along_their_normal() -> None:
    order, grid = grid_of(stack([6.0, 0.0, 9.0, 3.0]))
    assert order == [1, 3, 0, 2]
    assert (grid.size, grid.spacing_mm, grid.origin_mm) == ((30, 20, 4), (1.5, 2.0, 3.0), (0.0, 0.0, 0.0))


def test_a_coronal_series_keeps_its_own_axes_and_a_right_handed_normal() -> None:
    coronal = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    _, grid = grid_of(stack([0.0, 4.0, 8.0], orientation=coronal))
    np.testing.assert_allclose(np.reshape(grid.direction, (3, 3))[:, 2], (0, 1, 0), atol=1e-12)
    assert np.linalg.det(np.reshape(grid.direction, (3, 3))) == pytest.approx(1)


def test_positions_rounded_to_a_tenth_are_still_regular() -> None:
    for step in (0.625, 1.25):
        _, grid = grid_of(stack([round(step * i, 1) for i in range(40)]))
        assert grid.spacing_mm[2] == pytest.approx(step, rel=1e-3)


def test_a_missing_slice_is_counted_and_placed() -> None:
    refused(stack([0.0, 3.0, 9.0, 12.0]), r"missing slices: 1 of 5, the first between 3.00 and 9.00 mm")


def test_duplicate_slices_and_whole_phases_are_told_apart() -> None:
    refused(stack([0.0, 3.0, 3.0, 6.0]), "duplicate slices: 4 slices on 3 positions")
    refused(stack([0.0, 3.0, 6.0] * 4), "each of 3 positions occurs 4 times")


def test_uneven_steps_are_refused_with_their_range() -> None:
    refused(stack([0.0, 3.0, 6.0, 10.3, 13.3]), r"unevenly spaced slices: steps of 3.000 to 4.300 mm")


def test_a_tilted_gantry_is_refused_with_its_angle() -> None:
    refused(stack([3.0 * i for i in range(10)], drift=3.0 * np.tan(np.radians(12.0))), r"gantry tilt.*12.0 degrees")


def test_mixed_orientations_sizes_and_pixels_are_refused() -> None:
    planes = stack([0.0, 3.0, 6.0])
    refused(
        [*planes[:2], Plane((0, 0, 6), (1.0, 0.0, 0.0, 0.0, 0.0, -1.0), (2.0, 1.5), 20, 30)], "mixed orientations: 1 of"
    )
    refused([*planes[:2], Plane((0, 0, 6), UPRIGHT, (2.0, 1.5), 20, 31)], "slices of mixed size")
    refused([*planes[:2], Plane((0, 0, 6), UPRIGHT, (2.0, 1.6), 20, 30)], "slices of mixed pixel spacing")
    refused([Plane((0, 0, z), UPRIGHT, (0.0, 1.6), 20, 30) for z in (0, 3)], "expected positive")
    refused(planes[:1], "1 slice, expected a volume")
    refused([Plane((0, 0, z), (1.0, 0.0, 0.0, 0.5, 0.5, 0.0), (2.0, 1.6), 20, 30) for z in (0, 3)], "right angles")
