"""How volumes and outlines are sampled on the common grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from radfuse.align.foresight import foresee
from radfuse.align.grid import carry, resample
from radfuse.align.stage import Align
from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume

HERE = Transform.identity()
COARSE = Geometry((24, 24, 24), (3.0, 3.0, 3.0), (-34.5, -34.5, -34.5))
FINE = COARSE.with_spacing_mm(1.0, 1.0, 1.0)


def wave(grid: Geometry) -> np.ndarray:
    """A smooth image, a whole wave in 24 mm along each axis."""
    axes = [o + s * np.arange(n) for o, s, n in zip(grid.origin_mm, grid.spacing_mm, grid.size, strict=True)]
    x, y, z = (np.sin(2 * np.pi * axis / 24.0) for axis in axes)
    return np.asarray(10 + z[:, None, None] + y[None, :, None] + x[None, None, :])


def ball(grid: Geometry, radius_mm: float, centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mask:
    axes = [o + s * np.arange(n) for o, s, n in zip(grid.origin_mm, grid.spacing_mm, grid.size, strict=True)]
    x, y, z = (axis - c for axis, c in zip(axes, centre_mm, strict=True))
    inside = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 <= radius_mm**2
    return Mask(inside.astype(np.uint8), grid)


def test_smoother_interpolation_is_nearer_to_a_smooth_image() -> None:
    array = wave(COARSE).astype(np.float32)
    array[0, 0, 0] = 0.0  # far off and lowest, so that no trough between voxels is cut off
    volume = Volume(array, COARSE, "PET", "SUV")
    deep = FINE.part((slice(30, 42), slice(30, 42), slice(30, 42)))  # Lanczos takes 60 us a voxel
    methods = ("nearest", "linear", "bspline", "lanczos")
    errors = {m: np.abs(resample(volume, deep, HERE, m).array - wave(deep)).max() for m in methods}  # type: ignore[arg-type]
    assert errors["nearest"] > 3 * errors["linear"] > 9 * max(errors["bspline"], errors["lanczos"])
    # Linear between two points of a wave is at most h^2/8 times its curvature off, along each of three axes.
    assert errors["linear"] <= 3 * (3.0**2 / 8) * (2 * np.pi / 24) ** 2 * 1.001
    np.testing.assert_array_equal(resample(volume, deep, HERE).array, resample(volume, deep, HERE, "linear").array)


@pytest.mark.parametrize("method", ["linear", "bspline", "lanczos", "nearest"])
def test_no_interpolation_goes_below_the_lowest_voxel(method: str) -> None:
    hot = Volume(np.where(ball(COARSE, 10.0).inside, 9.0, 0.0).astype(np.float32), COARSE, "PET", "SUV")
    part = FINE.part((slice(20, 52), slice(35, 37), slice(20, 52)))
    out = resample(hot, part, HERE, method).array  # type: ignore[arg-type]
    assert (out.dtype, out.min()) == (np.float32, 0.0)
    assert 9.0 <= out.max() < 9.0 * 1.25


def test_interpolation_is_chosen_for_all_or_by_modality() -> None:
    volumes = {m: Volume(wave(COARSE).astype(np.float32), COARSE, m, "SUV") for m in ("PET", "PET_late")}
    subject = Subject("S", volumes, {"PET": ball(COARSE, 15.0)})
    plain = {"registration": "none", "spacing_mm": 1.5, "reference": "PET"}

    def aligned(**more: object) -> list[np.ndarray]:
        return [each.array for each in Align.model_validate(plain | more)(subject).volumes.values()]

    default, linear, spline, mixed = (
        aligned(),
        aligned(interpolation="linear"),
        aligned(interpolation="bspline"),
        aligned(interpolation={"PET_late": "bspline"}),
    )
    np.testing.assert_array_equal(default, linear)
    np.testing.assert_array_equal(mixed[0], linear[0])
    np.testing.assert_array_equal(mixed[1], spline[1])
    assert np.abs(spline[0] - linear[0]).max() > 0.01
    with pytest.raises(ValidationError, match="interpolation"):
        Align.model_validate({"interpolation": "cubic"})


@settings(max_examples=15, deadline=None)
@given(centre=st.tuples(*[st.floats(-1.5, 1.5)] * 3))
def test_supersampling_keeps_the_volume_of_a_fine_outline_on_large_voxels(centre: tuple[float, float, float]) -> None:
    fine = ball(FINE, 7.0, centre)
    coarse = carry(fine, COARSE, HERE, supersampling=4)
    # A voxel is inside when half of it is: the oracle counts the fine voxels, 27 to a coarse one.
    share = fine.inside.reshape(24, 3, 24, 3, 24, 3).mean(axis=(1, 3, 5))
    sure = np.abs(share - 0.5) > 0.15  # what is nearly half in hangs on how the outline runs through fine voxels
    np.testing.assert_array_equal(coarse.inside[sure], (share >= 0.5)[sure])
    # Of some 53 voxels up to 33 are nearly half in, and where the ball lies evenly they fall to one side together.
    assert coarse.volume_ml == pytest.approx(fine.volume_ml, rel=0.2)


def test_supersampling_hears_what_lies_between_the_centres_and_one_is_as_ever() -> None:
    inside = np.zeros(FINE.shape, np.uint8)
    inside[30:33, 30:33, 30:33] = 1  # one coarse voxel of 27 fine ones ...
    inside[31, 31, 31] = 0  # ... whose centre is a hole
    hollow = Mask(inside, FINE)
    assert carry(hollow, COARSE, HERE, 3).inside.nonzero() == (10, 10, 10)
    assert carry(hollow, COARSE, HERE, 3).voxels == 1
    shifted = COARSE.part((slice(0, 24), slice(0, 24), slice(0, 24)))
    np.testing.assert_array_equal(carry(hollow, shifted, HERE, 1).array, carry(hollow, shifted, HERE).array)
    away = Transform.from_array([[1, 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert carry(hollow, COARSE, away, 3).voxels == 0


def test_what_is_foreseen_is_what_align_makes_when_supersampled() -> None:
    fine = ball(FINE, 7.0, (0.7, -0.4, 0.2))
    ct = Volume(np.zeros(FINE.shape, np.float32), FINE, "CT", "HU")
    align = Align.model_validate({"registration": "none", "spacing_mm": 3.0, "supersampling": 3})
    out = align(Subject("S", {"CT": ct}, {"CT": fine})).masks["CT"]
    assert out.voxels == foresee(fine, align.grid_of(FINE), supersampling=3).voxels
    assert out.voxels != foresee(fine, align.grid_of(FINE)).voxels
    with pytest.raises(ValidationError, match="less than or equal to 8"):
        Align.model_validate({"supersampling": 9})
