"""What a shift does to a region's mean, by the gradient and by trying it out."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from radfuse.align.sensitivity import changes, mean_gradient, sensitivity
from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError, GeometryError

SLOPE = np.array([2.0, -3.0, 6.0])  # unit per mm along LPS x, y, z; its length is 7


def oblique() -> Geometry:
    """Voxels of three lengths, turned by 30 degrees about z and mirrored along x."""
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    return Geometry((20, 18, 12), (1.0, 2.0, 3.0), (5.0, -7.0, 11.0), (-c, -s, 0.0, -s, c, 0.0, 0.0, 0.0, 1.0))


def ramp(grid: Geometry, unit: str = "HU") -> Volume:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)[..., ::-1]
    points = index @ grid.index_to_physical[:3, :3].T + grid.index_to_physical[:3, 3]
    return Volume((points @ SLOPE).astype(np.float64), grid, "CT", unit)


def block(grid: Geometry, border: int = 4) -> Mask:
    array = np.zeros(grid.shape, np.uint8)
    array[border:-border, border:-border, border:-border] = 1
    return Mask(array, grid)


def test_a_ramp_has_its_own_slope_and_a_shift_makes_exactly_slope_times_shift() -> None:
    volume, mask = ramp(oblique()), block(oblique())
    np.testing.assert_allclose(mean_gradient(volume, mask), SLOPE, rtol=1e-12)
    shifts = np.array([[0.7, 0.0, 0.0], [0.0, -1.1, 0.4], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(changes(volume, mask, shifts), shifts @ SLOPE, rtol=1e-10)
    found = sensitivity(volume, mask, 0.5)
    assert found["per_mm"] == pytest.approx(7.0)
    assert found["first_order"] == pytest.approx(3.5)
    assert found["worst"] == pytest.approx(3.5)  # along the gradient, which is among the directions tried
    assert found["of"] == "sd"
    assert found["share"] == pytest.approx(3.5 / volume.array[mask.inside].std())
    # A straight line reaches 5 % of the region's spread where it says.
    assert found["five_percent_mm"] == pytest.approx(0.05 * found["sd"] / 7.0)


def test_the_first_order_agrees_with_the_true_change_on_a_smooth_phantom_within_ten_per_cent() -> None:
    grid = Geometry((40, 40, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    z, y, x = np.indices(grid.shape)
    sphere = ((x - 20) ** 2 + (y - 20) ** 2 + (z - 20) ** 2 <= 8**2).astype(np.uint8)
    # A hot ball whose region lies 4 mm beside it: its border runs through the region.
    hot = gaussian_filter(5.0 * ((x - 24) ** 2 + (y - 20) ** 2 + (z - 20) ** 2 <= 8**2), 3.0) + 1.0
    volume, mask = Volume(hot.astype(np.float32), grid, "PET", "SUV"), Mask(sphere, grid)
    gradient = mean_gradient(volume, mask)
    assert gradient[0] > 0
    assert np.abs(gradient[1:]).max() < 1e-6
    for shift in (0.5, -0.5, 1.0):
        moved = hot[:, :, :-1] * (1 - shift) + hot[:, :, 1:] * shift if 0 < shift < 1 else None
        true = changes(volume, mask, [[shift, 0, 0]])[0]
        assert true == pytest.approx(gradient[0] * shift, rel=0.1)
        if moved is not None:  # by hand: the region over the image half a voxel on
            assert true == pytest.approx(moved[sphere[:, :, :-1] == 1].mean() - hot[sphere == 1].mean(), rel=1e-5)
    assert changes(volume, mask, [[2.0, 0, 0]])[0] == pytest.approx(
        hot[np.roll(sphere, 2, axis=2) == 1].mean() - hot[sphere == 1].mean(), rel=1e-5
    )


def test_a_region_on_a_peak_has_no_gradient_and_loses_all_the_same() -> None:
    grid = Geometry((41, 41, 41), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    z, y, x = np.indices(grid.shape) - 20
    ball = x**2 + y**2 + z**2 <= 6**2
    volume = Volume((1.0 + 9.0 * ball).astype(np.float32), grid, "PET", "SUV")
    found = sensitivity(volume, Mask(ball.astype(np.uint8), grid), 3.0)
    assert found["per_mm"] == pytest.approx(0.0, abs=1e-9)
    # By hand: a ball shifted by three voxels shares so many of its voxels with itself.
    lost = 1 - (ball & np.roll(ball, 3, axis=2)).sum() / ball.sum()
    assert found["worst"] >= 9.0 * lost * (1 - 1e-9)
    assert found["of"] == "mean"
    assert found["share"] == pytest.approx(found["worst"] / 10.0)
    assert 0.0 < found["five_percent_mm"] < 3.0


def test_an_even_image_never_changes_and_says_so() -> None:
    grid = Geometry((12, 12, 12), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    even = Volume(np.full(grid.shape, 3.0, np.float32), grid, "PET", "SUV")
    found = sensitivity(even, block(grid), 2.0)
    assert (found["per_mm"], found["worst"], found["share"], found["five_percent_mm"]) == (0.0, 0.0, 0.0, None)
    flat = sensitivity(Volume(even.array, grid, "CT", "HU"), block(grid), 2.0)
    assert flat["share"] is None


def test_a_slice_has_no_gradient_across() -> None:
    grid = Geometry((12, 12, 1), (1.0, 1.0, 5.0), (0.0, 0.0, 0.0))
    _, _, x = np.indices(grid.shape)
    mask = np.zeros(grid.shape, np.uint8)
    mask[:, 3:9, 3:9] = 1
    np.testing.assert_allclose(mean_gradient(Volume(x.astype(float), grid, "MR", "z"), Mask(mask, grid)), [1, 0, 0])


def test_what_does_not_fit_is_refused(ct: Volume, sphere: Mask) -> None:
    with pytest.raises(DataError, match="above zero"):
        sensitivity(ct, sphere, 0.0)
    with pytest.raises(DataError, match="is empty"):
        sensitivity(ct, Mask(np.zeros_like(sphere.array), sphere.geometry), 1.0)
    with pytest.raises(GeometryError, match="do not share a grid"):
        mean_gradient(ct, block(oblique()))
