"""What every intensity scale keeps. A new member needs no new test here, only settings where it cannot do without."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from radfuse.align.intensity import Intensity
from radfuse.align.intensity.landmarks import DECILES, Landmarks
from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import write_volume
from radfuse.data.region import MAIN
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError

MEMBERS = sorted(Intensity.members())
GRID = Geometry((10, 9, 8), (1.0, 1.0, 2.0))
UNITS = {
    "histogram_match": "a.u.",
    "log1p": "ln(1+a.u.)",
    "n4": "a.u.",
    "nyul": "a.u.",
    "physical": "a.u.",
    "sqrt": "sqrt(a.u.)",
    "white_stripe": "z",
    "window": "a.u.",
    "zscore": "z",
}
"""What becomes of a volume in a.u."""


@pytest.fixture(params=MEMBERS)
def intensity(request: pytest.FixtureRequest, tmp_path: Path, mr: Volume) -> Intensity:
    settings: dict[str, object] = {"method": request.param}
    if request.param == "nyul":
        text = Landmarks(values=tuple(value**1.2 for value in DECILES)).model_dump_json()
        (tmp_path / "landmarks.json").write_text(text)
        settings |= {"landmarks": str(tmp_path / "landmarks.json"), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    if request.param == "histogram_match":
        path = tmp_path / "template.nii.gz"
        write_volume(path, mr.with_array(np.sqrt(mr.array)))
        settings |= {"template": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return Intensity.choose(settings)


@pytest.fixture
def mr(rng: np.random.Generator) -> Volume:
    array = np.abs(rng.normal(400, 100, GRID.shape)).astype(np.float32)
    array[:3] = 0  # air
    return Volume(array, GRID, "MR_T1", "a.u.")


@pytest.fixture
def tumour() -> Mask:
    array = np.zeros(GRID.shape, np.uint8)
    array[6:, 2:5, 2:5] = 1
    return Mask(array, GRID)


def test_every_member_is_named_by_its_file_and_its_unit_is_known() -> None:
    assert sorted(UNITS) == MEMBERS


def test_grid_order_and_input_stay(intensity: Intensity, mr: Volume) -> None:
    before = mr.array.copy()
    out = intensity.build()(mr)
    assert out.geometry == mr.geometry
    assert out.unit == UNITS[intensity.method]
    assert out.array.dtype == np.float32
    assert np.isfinite(out.array).all()
    np.testing.assert_array_equal(mr.array, before)
    order = np.argsort(mr.array, axis=None, kind="stable")
    assert (np.diff(out.array.ravel()[order]) >= 0).all() == intensity.monotone


def test_a_linear_member_is_one_gain_and_one_offset(intensity: Intensity, mr: Volume) -> None:
    x, y = mr.array.ravel().astype(float), intensity.build()(mr).array.ravel().astype(float)
    gain, offset = np.polyfit(x, y, 1)
    assert bool(np.allclose(y, gain * x + offset, atol=1e-4 * np.ptp(y))) == intensity.linear


def test_what_is_not_finite_is_refused(intensity: Intensity, mr: Volume) -> None:
    if intensity.method == "physical":
        pytest.skip("it looks at no voxel; the stage refuses them for all")
    array = mr.array.copy()
    array[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="1 voxels that are not finite"):
        intensity.build()(mr.with_array(array))


def test_repeats_exactly_and_survives_its_own_dump(intensity: Intensity, mr: Volume) -> None:
    again = Intensity.choose(intensity.model_dump())
    assert again == intensity
    np.testing.assert_array_equal(intensity.build()(mr).array, again.build()(mr).array)


def test_the_main_region_does_not_set_the_scale_of_a_member_told_to_stay_outside(
    intensity: Intensity, mr: Volume, tumour: Mask
) -> None:
    if "over" not in type(intensity).model_fields:
        pytest.skip("it looks at no tissue")
    told = intensity.model_copy(update={"over": "outside"})
    hot = np.where(tumour.inside, mr.array * 5, mr.array)
    plain, changed = (told.build()(mr.with_array(array), {MAIN: tumour}).array for array in (mr.array, hot))
    np.testing.assert_array_equal(changed[~tumour.inside], plain[~tumour.inside])
    with pytest.raises(DataError, match="no region 'muscle' for its intensity scale; there are: main"):
        intensity.model_copy(update={"over": "muscle"}).build()(mr, {MAIN: tumour})


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


def test_zscore_refuses_a_blank_scan() -> None:
    scale = Intensity.choose("zscore").build()
    for blank in (0.0, 1000.1):
        with pytest.raises(DataError, match="zero variance"):
            scale(Volume(np.full(GRID.shape, blank, np.float32), GRID, "MR", "a.u."))
