"""What makes the region-based correction special: it recovers known means, and outlines limit it."""

import numpy as np
import pytest
from pydantic import ValidationError

from radfuse.align.partial_volume import PartialVolume
from radfuse.align.partial_volume.spill import parted, true_means
from radfuse.align.resolution import FWHM_PER_SIGMA, blur
from radfuse.align.stage import Align
from radfuse.data.geometry import Geometry
from radfuse.data.region import MAIN
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError

GRID = Geometry((50, 40, 40), (1.5, 1.5, 1.5))


def ball(radius_mm: float, centre_mm: float = 0.0) -> Mask:
    z, y, x = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * 1.5 for n in GRID.shape), indexing="ij")
    return Mask(((x - centre_mm) ** 2 + y**2 + z**2 <= radius_mm**2).astype(np.uint8), GRID)


def seen(truth: np.ndarray, fwhm_mm: tuple[float, float, float], noise: float = 0.0) -> Volume:
    sigma = tuple(width / FWHM_PER_SIGMA for width in fwhm_mm)
    volume = blur(Volume(truth.astype(np.float32), GRID, "PET", "SUV"), sigma)  # type: ignore[arg-type]
    grains = Volume(np.random.default_rng(3).normal(0, noise, GRID.shape).astype(np.float32), GRID, "PET", "SUV")
    return volume.with_array(volume.array + blur(grains, (1.5, 1.5, 1.5)).array)


@pytest.mark.parametrize(
    ("radius_mm", "fwhm_mm"), [(5.0, (6.0, 6.0, 6.0)), (8.0, (5.0, 6.0, 8.0)), (12.0, (6.0, 6.0, 6.0))]
)
def test_a_noisy_lesions_mean_is_recovered_to_five_percent(
    radius_mm: float, fwhm_mm: tuple[float, float, float]
) -> None:
    lesion = ball(radius_mm)
    pet = seen(np.where(lesion.inside, 8.0, 1.0), fwhm_mm, noise=2.0)
    out = PartialVolume.choose("rbv").build()(pet, {MAIN: lesion}, fwhm_mm)
    assert float(pet.array[lesion.inside].mean()) < 0.85 * 8
    assert float(out.array[lesion.inside].mean()) == pytest.approx(8.0, rel=0.05)


def test_a_hot_neighbour_that_is_drawn_does_not_spill_into_the_lesion() -> None:
    lesion, bladder = ball(9.0, -10.0), ball(9.0, 10.0)
    truth = np.where(lesion.inside, 4.0, np.where(bladder.inside, 20.0, 1.0))
    pet, width = seen(truth, (7.0, 7.0, 7.0)), (7.0, 7.0, 7.0)
    names, parts = parted({MAIN: lesion, "bladder": bladder}, width, None)
    assert names == [MAIN, "bladder", "near tissue", "the rest"]
    assert sum(int(part.sum()) for part in parts) == pet.array.size
    means, _ = true_means(pet, names, parts, width)
    np.testing.assert_allclose(means, [4.0, 20.0, 1.0, 1.0], rtol=1e-3)
    correct = PartialVolume.choose("rbv").build()
    alone, both = (correct(pet, regions, width) for regions in ({MAIN: lesion}, {MAIN: lesion, "bladder": bladder}))
    errors = [abs(float(each.array[lesion.inside].mean()) - 4.0) for each in (alone, both)]
    assert errors[1] < 0.02 * 4
    assert errors[1] < errors[0] / 3


def test_an_outline_drawn_a_voxel_off_limits_what_is_recovered() -> None:
    lesion = ball(8.0)
    pet = seen(np.where(lesion.inside, 8.0, 1.0), (6.0, 6.0, 6.0))
    correct = PartialVolume.choose("rbv").build()
    found = [float(correct(pet, {MAIN: ball(r)}, (6.0, 6.0, 6.0)).array[lesion.inside].mean()) for r in (6.5, 8.0, 9.5)]
    assert abs(found[1] - 8) < 0.25
    assert max(found[0], found[2]) < 7.0  # still above the 5.4 that the scanner saw
    assert min(found) > 1.1 * float(pet.array[lesion.inside].mean())


def test_what_the_scanner_cannot_see_or_cannot_have_seen_is_refused() -> None:
    pet = seen(np.where(ball(6.0).inside, 8.0, 1.0), (6.0, 6.0, 6.0))
    correct = PartialVolume.choose("rbv").build()
    with pytest.raises(DataError, match=r"main keeps \d+ % of its own activity"):
        correct(pet, {MAIN: ball(1.5)}, (12.0, 12.0, 12.0))
    with pytest.raises(DataError, match="near tissue would have a mean of -"):
        correct(seen(np.where(ball(6.0).inside, 8.0, 0.0), (6.0, 6.0, 6.0)), {MAIN: ball(6.0)}, (9.0, 9.0, 9.0))


def test_align_corrects_pet_alone_and_leaves_it_out_of_the_matching() -> None:
    lesion = ball(10.0)
    pet = seen(np.where(lesion.inside, 8.0, 1.0), (6.0, 6.0, 6.0))
    ct = Volume(np.where(lesion.inside, 40.0, -50.0).astype(np.float32), GRID, "CT", "HU")
    subject = Subject("S", {"CT": ct, "PET": pet}, {"CT": lesion}, regions={"other": {"CT": ball(5.0, 25.0)}})
    plain = {"registration": "none", "spacing_mm": 1.5, "fwhm_mm": {"PET": 6.0, "CT": 1.0}, "target_fwhm_mm": 5.0}
    before, after = (Align.model_validate(plain | more)(subject) for more in ({}, {"partial_volume": {"PET": "rbv"}}))
    inside = after.masks["PET"].inside
    assert float(before.volumes["PET"].array[inside].mean()) < 6.5
    assert float(after.volumes["PET"].array[inside].mean()) == pytest.approx(8.0, rel=0.03)
    np.testing.assert_array_equal(after.volumes["CT"].array, before.volumes["CT"].array)
    assert list(after.matched) == ["CT"]
    assert after.findings["align"]["resolution"]["PET"] == "corrected by rbv"
    with pytest.raises(ValidationError, match=r"partial_volume.PET is rbv, which needs fwhm_mm.PET"):
        Align.model_validate({"partial_volume": {"PET": "rbv"}})
    with pytest.raises(ValidationError, match="margin_mm cuts the grid at 10 mm; set it to 12 or more"):
        Align.model_validate(plain | {"partial_volume": {"PET": "rbv"}, "margin_mm": 10})
    alone = {"fwhm_mm": {"PET": ["estimate", "estimate", 5.0]}, "partial_volume": {"PET": "rbv"}}
    assert Align.model_validate(alone).target_fwhm_mm is None, "what is corrected is not matched, so it needs no target"
    with pytest.raises(ValidationError, match=r"intensity\.PET has log1p"):
        Align.model_validate(plain | {"partial_volume": {"PET": "rbv"}, "intensity": {"PET": "log1p"}})


def test_what_pet_does_not_cover_spills_nothing_into_what_it_does() -> None:
    lesion, grid = ball(10.0), GRID
    pet = seen(np.where(lesion.inside, 8.0, 1.0), (6.0, 6.0, 6.0))
    ct = Volume(np.where(lesion.inside, 40.0, -50.0).astype(np.float32), grid, "CT", "HU")
    middle = grid.shape[0] // 2 + 2
    part = (slice(0, middle), *(slice(0, n) for n in grid.shape[1:]))
    half = Volume(pet.array[part].copy(), grid.part(part), "PET", "SUV")
    align = Align.model_validate(
        {"registration": "none", "spacing_mm": grid.spacing_mm, "fwhm_mm": {"PET": 6.0, "CT": 1.0},
         "target_fwhm_mm": 5.0, "partial_volume": {"PET": "rbv"}}
    )  # fmt: skip
    whole, cut = (align(Subject("S", {"CT": ct, "PET": each}, {"CT": lesion})) for each in (pet, half))
    shown = cut.cut("PET", cut.masks["PET"]).inside
    assert float(cut.volumes["PET"].array[shown].mean()) == pytest.approx(
        float(whole.volumes["PET"].array[shown].mean()), rel=0.02
    )
    assert not cut.volumes["PET"].array[middle:].any() or np.ptp(cut.volumes["PET"].array[middle:]) == 0
