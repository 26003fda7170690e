"""What every partial-volume correction keeps. A new member needs no new test here."""

import numpy as np
import pytest

from radfuse.align.partial_volume import PartialVolume
from radfuse.align.resolution import FWHM_PER_SIGMA, blur
from radfuse.data.geometry import Geometry
from radfuse.data.region import MAIN
from radfuse.data.volume import Mask, Volume

GRID = Geometry((48, 44, 40), (1.5, 1.5, 2.0))
FWHM_MM = (6.0, 6.0, 6.0)
RADIUS_MM = 10.0


@pytest.fixture(params=sorted(PartialVolume.members()))
def method(request: pytest.FixtureRequest) -> PartialVolume:
    return PartialVolume.choose(request.param)


@pytest.fixture(scope="module")
def lesion() -> Mask:
    z, y, x = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * s for n, s in zip(GRID.shape, GRID.spacing_mm[::-1], strict=True)),
        indexing="ij",
    )
    return Mask((x**2 + y**2 + z**2 <= RADIUS_MM**2).astype(np.uint8), GRID)


@pytest.fixture(scope="module")
def measured(lesion: Mask) -> Volume:
    """A lesion of SUV 8 on 1, as a scanner of 6 mm sees it."""
    truth = Volume(np.where(lesion.inside, 8.0, 1.0).astype(np.float32), GRID, "PET", "SUV")
    sigma = tuple(width / FWHM_PER_SIGMA for width in FWHM_MM)
    return blur(truth, sigma)  # type: ignore[arg-type]


def test_the_lesions_mean_comes_nearer_to_the_truth_and_what_is_far_stays(
    method: PartialVolume, measured: Volume, lesion: Mask
) -> None:
    before = measured.array.copy()
    out = method.build()(measured, {MAIN: lesion}, FWHM_MM)
    was, now = (float(each.array[lesion.inside].mean()) for each in (measured, out))
    assert was < 6.1
    assert abs(now - 8.0) < 0.5 * abs(was - 8.0)
    assert (out.geometry, out.unit, out.modality) == (GRID, "SUV", "PET")
    assert out.array.dtype == np.float32
    np.testing.assert_array_equal(measured.array, before)
    np.testing.assert_array_equal(out.array[0, 0], before[0, 0])


def test_a_flat_image_stays_flat_and_twice_the_activity_gives_twice_the_result(
    method: PartialVolume, measured: Volume, lesion: Mask
) -> None:
    correct = method.build()
    flat = correct(measured.with_array(np.full(GRID.shape, 3.0, np.float32)), {MAIN: lesion}, FWHM_MM)
    np.testing.assert_allclose(flat.array, 3.0, rtol=1e-5)
    once, twice = (correct(measured.with_array(f * measured.array), {MAIN: lesion}, FWHM_MM).array for f in (1, 2))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)


def test_repeats_exactly_and_survives_its_own_dump(method: PartialVolume, measured: Volume, lesion: Mask) -> None:
    again = PartialVolume.choose(method.model_dump())
    assert again == method
    one, other = (each.build()(measured, {MAIN: lesion}, FWHM_MM).array for each in (method, again))
    np.testing.assert_array_equal(one, other)
