"""What every intensity scale keeps. A new member needs no new test here."""

import numpy as np
import pytest

from radfuse.align.intensity import Intensity
from radfuse.data.geometry import Geometry
from radfuse.data.volume import Volume
from radfuse.errors import DataError

MEMBERS = sorted(Intensity.members())
GRID = Geometry((10, 9, 8), (1.0, 1.0, 2.0))


@pytest.fixture(params=MEMBERS)
def intensity(request: pytest.FixtureRequest) -> Intensity:
    return Intensity.choose(request.param)


@pytest.fixture
def mr(rng: np.random.Generator) -> Volume:
    array = rng.normal(400, 100, GRID.shape).astype(np.float32)
    array[:3] = 0  # air
    return Volume(array, GRID, "MR_T1", "a.u.")


def test_every_member_is_named_by_its_file() -> None:
    assert MEMBERS == ["physical", "zscore"]


def test_grid_order_and_input_stay(intensity: Intensity, mr: Volume) -> None:
    before = mr.array.copy()
    out = intensity.build()(mr)
    assert out.geometry == mr.geometry
    assert out.unit
    assert np.isfinite(out.array).all()
    np.testing.assert_array_equal(mr.array, before)
    order = np.argsort(mr.array, axis=None, kind="stable")
    assert (np.diff(out.array.ravel()[order]) >= 0).all()


def test_repeats_exactly_and_survives_its_own_dump(intensity: Intensity, mr: Volume) -> None:
    again = Intensity.choose(intensity.model_dump())
    assert again == intensity
    np.testing.assert_array_equal(intensity.build()(mr).array, again.build()(mr).array)


def test_physical_keeps_every_number_and_the_unit() -> None:
    ct = Volume(np.arange(720, dtype=np.int16).reshape(GRID.shape), GRID, "CT", "HU")
    assert Intensity.choose("physical").build()(ct) is ct


def test_zscore_is_over_the_body_and_worked_by_hand() -> None:
    array = np.zeros(GRID.shape, np.int16)
    array[4:6], array[6:] = 300, 500  # equal numbers: mean 400, standard deviation 100
    out = Intensity.choose("zscore").build()(Volume(array, GRID, "MR", "a.u."))
    assert out.unit == "z"
    assert out.array.dtype == np.float32
    np.testing.assert_allclose(np.unique(out.array), [-4.0, -1.0, 1.0], rtol=1e-6)


def test_zscore_does_not_depend_on_gain_or_on_how_much_air_is_around(mr: Volume) -> None:
    scale = Intensity.choose("zscore").build()
    louder = scale(mr.with_array(mr.array * 7.5)).array
    np.testing.assert_allclose(louder, scale(mr).array, atol=1e-5)


def test_zscore_refuses_a_blank_scan_and_numbers_that_are_not() -> None:
    scale = Intensity.choose("zscore").build()
    for blank in (0.0, 1000.1):
        with pytest.raises(DataError, match="zero variance"):
            scale(Volume(np.full(GRID.shape, blank, np.float32), GRID, "MR", "a.u."))
    array = np.ones(GRID.shape, np.float32)
    array[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="1 voxels that are not finite"):
        scale(Volume(array, GRID, "MR", "a.u."))
