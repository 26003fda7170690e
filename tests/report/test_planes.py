"""Planes stand as in the clinic, whatever the order and direction of the voxels."""

import numpy as np
import pytest
import SimpleITK as sitk

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, geometry_of
from radfuse.report.planes import PLANES, Place, Upright

SIZE = (7, 6, 5)
SPACING = (1.0, 2.0, 3.0)


def landmark(orientation: str) -> tuple[np.ndarray, Geometry]:
    """A volume in LPS with a ramp towards left, back and head, stored in another orientation by SimpleITK."""
    z, y, x = np.indices(SIZE[::-1])
    image = sitk.GetImageFromArray((x + 100 * y + 10_000 * z).astype(np.float32))
    image.SetSpacing(SPACING)
    stored = sitk.DICOMOrient(image, orientation)
    return sitk.GetArrayFromImage(stored), geometry_of(stored)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LPI", "PIR", "SLA", "ASL"])
def test_every_orientation_is_turned_to_the_same_view(orientation: str) -> None:
    array, geometry = landmark(orientation)
    turned = Upright.of(geometry)
    shown = turned.turn(array)
    z, y, x = np.indices(SIZE[::-1])
    # From head to feet, front to back, right to left: z falls, y and x grow.
    np.testing.assert_array_equal(shown, x + 100 * y + 10_000 * (SIZE[2] - 1 - z))
    assert turned.spacing_mm == SPACING[::-1]
    assert [turned.aspect(plane) for plane in PLANES] == [2.0, 3.0, 1.5]


def test_a_tilted_grid_is_turned_to_the_nearest_order() -> None:
    angle = np.deg2rad(20)
    tilted = (1, 0, 0, 0, np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle))
    assert Upright.of(Geometry(SIZE, SPACING, direction=tilted)).order == (0, 1, 2)


@pytest.mark.parametrize("orientation", ["LPS", "RAI", "SLA"])
def test_planes_meet_the_regions_centre_and_say_where(orientation: str) -> None:
    _, geometry = landmark(orientation)
    stored = np.zeros(SIZE[::-1], np.uint8)
    stored[1:4, 2:5, 3:6] = 1  # its centre is (2, 3, 4)
    image = sitk.GetImageFromArray(stored)
    image.SetSpacing(SPACING)
    array = sitk.GetArrayFromImage(sitk.DICOMOrient(image, orientation))
    place = Place.of(geometry, Mask(array, geometry))
    for axis, plane in enumerate(PLANES):
        own = place.turned.order[axis]
        cut = np.take(array, place.stored_index(plane, array.shape), own)
        assert cut.sum() == 9
        assert place.cut(array, plane).sum() == 9
    assert place.centre == (2, 3, 4)


def test_a_margin_is_in_millimetres_and_stops_at_the_border() -> None:
    geometry = Geometry((30, 30, 30), (1.0, 2.0, 4.0))
    array = np.zeros(geometry.shape, np.uint8)
    array[15, 15, 2] = 1
    place = Place.of(geometry, Mask(array, geometry), margin_mm=8.0)
    assert place.box == (slice(12, 18), slice(11, 21), slice(0, 12))
    assert place.size_mm("axial") == (20.0, 12.0)
    assert place.cut(array, "coronal").shape == (6, 12)


def test_a_hollow_region_is_met_and_without_one_the_middle_is_cut() -> None:
    geometry = Geometry((9, 9, 9), (1.0, 1.0, 1.0))
    shell = np.ones(geometry.shape, np.uint8)
    shell[1:-1, 1:-1, 1:-1] = 0
    place = Place.of(geometry, Mask(shell, geometry))
    assert all(place.cut(shell, plane).any() for plane in PLANES)
    assert shell[tuple(place.stored_index(plane, shell.shape) for plane in PLANES)] == 1
    assert Place.of(geometry, None).centre == (4, 4, 4)
