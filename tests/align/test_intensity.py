"""What makes each intensity scale special; what all keep is in tests/contracts/test_intensity.py."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from radfuse.align.intensity import Intensity
from radfuse.align.intensity.landmarks import Landmarks, learn, piecewise
from radfuse.align.scales import Drawn
from radfuse.align.stage import Align
from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import write_volume
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError

GRID = Geometry((4, 3, 2), (1.0, 1.0, 1.0))
CUBE = Geometry((40, 40, 24), (2.0, 2.0, 3.0), (-40.0, -40.0, -36.0))


def volume(values: list[float], unit: str = "SUV") -> Volume:
    array = np.zeros(GRID.shape, np.float32)
    array.ravel()[: len(values)] = values
    return Volume(array, GRID, "PET", unit)


def rescale(method: object, given: Volume, **regions: Mask) -> Volume:
    return Intensity.choose(method).build()(given, regions)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def brain(rng: np.random.Generator, white: float = 800.0, grey: float = 500.0) -> tuple[Volume, Mask]:
    """A head: grey matter on the left, white on the right (half as much), a bright scalp that is no brain."""
    array = rng.normal(20, 5, CUBE.shape)
    inside = np.zeros(CUBE.shape, np.uint8)
    array[4:20, 8:32, 8:24] = rng.normal(grey, 40, (16, 24, 16))
    array[4:20, 8:32, 24:32] = rng.normal(white, 30, (16, 24, 8))
    inside[4:20, 8:32, 8:32] = 1
    array[:, :3] = rng.normal(1500, 50, (24, 3, 40))
    return Volume(array.astype(np.float32), CUBE, "MR_T1", "a.u."), Mask(inside, CUBE)


def test_a_window_in_hu_stays_in_hu_and_scales_when_told() -> None:
    ct = volume([-1000, -160, 40, 240, 3000], "HU")
    out = rescale("window", ct)
    assert out.unit == "HU"
    assert out.array.ravel()[:5].tolist() == [-160, -160, 40, 240, 240]
    scaled = rescale({"method": "window", "low": -160, "high": 240, "scaled": True}, ct)
    assert scaled.unit == "a.u."
    np.testing.assert_allclose(scaled.array.ravel()[:5], [0, 0, 0.5, 1, 1], rtol=1e-6)
    with pytest.raises(ValueError, match="low must be below high, found low 40 and high 40"):
        Intensity.choose({"method": "window", "low": 40, "high": 40})


def test_logarithm_and_root_go_on_below_zero_as_odd_functions() -> None:
    pet = volume([-1.0, 0.0, 1.0, np.e - 1, 8.0])
    logarithm = rescale("log1p", pet)
    np.testing.assert_allclose(logarithm.array.ravel()[:5], [-np.log(2), 0, np.log(2), 1, np.log(9)], rtol=1e-6)
    halved = rescale({"method": "log1p", "unit_value": 2.0}, pet)
    assert (logarithm.unit, halved.unit) == ("ln(1+SUV)", "ln(1+SUV/2)")
    np.testing.assert_allclose(halved.array.ravel()[4], np.log(5), rtol=1e-6)
    root = rescale("sqrt", volume([-4.0, 0.0, 9.0]))
    assert root.unit == "sqrt(SUV)"
    assert root.array.ravel()[:3].tolist() == [-2, 0, 3]


def test_zscore_in_a_reference_tissue_is_worked_by_hand() -> None:
    mr = volume([10, 20, 100, 300, 500], "a.u.")
    muscle = Mask((np.arange(24).reshape(GRID.shape) < 2).astype(np.uint8), GRID)  # 10 and 20: mean 15, deviation 5
    out = rescale({"method": "zscore", "over": "muscle"}, mr, muscle=muscle)
    np.testing.assert_allclose(out.array.ravel()[:5], [-1, 1, 17, 57, 97], rtol=1e-6)


def test_nyul_training_and_mapping_are_worked_by_hand() -> None:
    # Images 0, 10, 20 and 100, 130, 200: middle landmarks at 50 and 30 of 100, so 40.
    standard = learn([np.array([0.0, 10.0, 20.0]), np.array([100.0, 130.0, 200.0])])
    assert standard.tolist() == [0, 40, 100]
    # An image 5, 6, 9: slope 40 below 6, 20 above, and on beyond the ends.
    mapped = piecewise(np.array([4.0, 5.0, 5.5, 6.0, 7.5, 9.0, 10.0]), np.array([5.0, 6.0, 9.0]), standard)
    assert mapped.tolist() == [-40, 0, 20, 40, 70, 100, 120]
    # Landmarks that coincide share their mean value.
    tied = piecewise(np.array([5.0, 9.0]), np.array([5.0, 5.0, 9.0]), standard)
    assert tied.tolist() == [20, 100]


def test_nyul_brings_two_gains_of_one_patient_together(rng: np.random.Generator, tmp_path: Path) -> None:
    mr, _ = brain(rng)
    path = tmp_path / "landmarks.json"
    path.write_text(Landmarks(percentiles=(1, 50, 99), values=(0, 30, 100), images=("ab",)).model_dump_json())
    member = Intensity.choose({"method": "nyul", "landmarks": str(path), "sha256": digest(path)})
    louder = mr.with_array(mr.array * 3)
    one, other = (member.build()(each).array for each in (mr, louder))
    np.testing.assert_allclose(other, one, atol=1e-3)
    tissue = one[mr.array > mr.array.min() + 0.1 * (np.percentile(mr.array, 99) - mr.array.min())]
    np.testing.assert_allclose(np.percentile(tissue, [1, 50, 99]), [0, 30, 100], atol=0.05)
    assert member.looked_at() == {"ab"}


def test_a_file_of_landmarks_that_is_not_the_one_meant_is_one_config_error(tmp_path: Path) -> None:
    path = tmp_path / "landmarks.json"
    member = {"method": "nyul", "landmarks": str(path), "sha256": "0" * 64}
    align = Align.model_validate({"intensity": {"MR": ["n4", member]}})
    with pytest.raises(ConfigError, match="landmarks not found"):
        align.require()
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"SHA-256 \w+, expected 0000"):
        align.require()
    damaged = Intensity.choose(member | {"sha256": digest(path)})
    with pytest.raises(ConfigError, match="holds no landmarks: values: must be given"):
        damaged.build()
    for bad in (
        {"values": (0, 1)},
        {"percentiles": (1, 99), "values": (1, 0)},
        {"percentiles": (-1, 9), "values": (0, 1)},
    ):
        with pytest.raises(ValidationError):
            Landmarks.model_validate(bad)
    for method in ("nyul", "histogram_match"):
        with pytest.raises(ValueError, match=f"{method} needs .* `sha256`"):
            Intensity.choose(method)


def test_histogram_matching_agrees_with_scikit_image(rng: np.random.Generator, tmp_path: Path) -> None:
    from skimage.exposure import match_histograms

    image = Volume(rng.gamma(4.0, 100.0, CUBE.shape).astype(np.float32) + 500, CUBE, "MR_T1", "a.u.")
    template = image.with_array(rng.normal(3000, 250, CUBE.shape).astype(np.float32))
    path = tmp_path / "template.nii.gz"
    write_volume(path, template)
    member = {"method": "histogram_match", "template": str(path), "sha256": digest(path), "threshold": 0.0}
    out = rescale(member, image).array
    oracle = match_histograms(image.array, template.array)
    inner = (image.array > np.percentile(image.array, 2)) & (image.array < np.percentile(image.array, 98))
    # 99 landmarks against every voxel's rank: a tenth of a deviation of the template apart at most.
    assert np.abs(out - oracle)[inner].max() < 25
    with pytest.raises(ConfigError, match=r"template .*: the file has SHA-256"):
        Align.model_validate({"intensity": {"MR": member | {"sha256": "0" * 64}}}).require()
    assert Intensity.choose(member).looked_at() == {digest(path)}


@pytest.mark.parametrize(("contrast", "matter", "deviation"), [("T1", 800.0, 30.0), ("T2", 500.0, 40.0)])
def test_the_white_stripe_is_the_last_mode_of_t1_and_the_largest_of_t2(
    rng: np.random.Generator, contrast: str, matter: float, deviation: float
) -> None:
    mr, mask = brain(rng)  # the smaller half has the higher mode; the scalp beyond is no brain
    out = rescale({"method": "white_stripe", "contrast": contrast, "over": "brain"}, mr, brain=mask)
    assert out.unit == "z"
    gain, offset = np.polyfit(mr.array.ravel().astype(float), out.array.ravel().astype(float), 1)
    assert -offset / gain == pytest.approx(matter, abs=0.35 * deviation)  # where z is 0
    louder = rescale(
        {"method": "white_stripe", "contrast": contrast, "over": "brain"}, mr.with_array(mr.array * 4), brain=mask
    )
    np.testing.assert_allclose(louder.array, out.array, atol=2e-3)


def test_n4_takes_a_planted_field_away_and_no_thread_changes_a_bit(rng: np.random.Generator) -> None:
    import SimpleITK as sitk

    flat, mask = brain(rng)
    tissue = mask.inside
    x = np.linspace(-1, 1, CUBE.shape[2])[None, None, :] + np.linspace(-0.5, 0.5, CUBE.shape[1])[None, :, None]
    biased = flat.with_array((flat.array * np.exp(0.4 * x)).astype(np.float32))
    member = Intensity.choose({"method": "n4", "over": "brain", "shrink_mm": 4.0, "iterations": [30, 30]})
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        found = []
        for count in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
            found.append(member.build()(biased, {"brain": mask}).array)
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == count
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    np.testing.assert_array_equal(*found)

    def unevenness(array: np.ndarray) -> float:
        """Spread of the logarithmic gain left over inside the brain."""
        return float(np.std(np.log(array[tissue] / flat.array[tissue])))

    assert unevenness(found[0]) < 0.4 * unevenness(biased.array)
    with pytest.raises(DataError, match="no voxel above 0 over body, and N4 works on logarithms"):
        rescale("n4", flat.with_array(flat.array - 5000))


def test_steps_follow_one_another_and_one_step_is_written_as_it_was_given(rng: np.random.Generator) -> None:
    mr, mask = brain(rng)
    window = {"method": "window", "low": 0, "high": 900}
    align = Align.model_validate({"registration": "none", "spacing_mm": 3, "intensity": {"MR_T1": [window, "zscore"]}})
    assert Align.model_validate(align.model_dump(mode="json")) == align
    out = align(Subject("S", {"MR_T1": mr}, {"MR_T1": mask}))
    assert out.findings["align"]["intensity"] == {"MR_T1": {"method": "window+zscore", "unit": "z"}}
    clipped = mr.with_array(np.clip(mr.array, 0, 900))
    other = align.model_copy(update={"intensity": {"MR_T1": (Intensity.choose("zscore"),)}})
    same = other(Subject("S", {"MR_T1": clipped}, {"MR_T1": mask}))
    np.testing.assert_array_equal(out.volumes["MR_T1"].array, same.volumes["MR_T1"].array)
    one = Align.model_validate({"intensity": {"CT": "physical"}})
    assert one.model_dump(mode="json")["intensity"] == {"CT": {"method": "physical"}}
    with pytest.raises(ValidationError, match="at least one step"):
        Align.model_validate({"intensity": {"CT": []}})


def test_a_unit_that_is_no_longer_the_modalitys_is_said_for_the_stages_after(rng: np.random.Generator) -> None:
    mr, mask = brain(rng)
    subject = Subject("S", {"PET": Volume(mr.array / 100, CUBE, "PET", "SUV")}, {"PET": mask})
    plain, logarithm = (
        Align.model_validate({"registration": "none", "spacing_mm": 3} | more)(subject).findings["align"]["warnings"]
        for more in ({}, {"intensity": {"PET": "log1p"}})
    )
    assert not any("no longer" in line for line in plain)
    assert any("PET is in ln(1+SUV) and no longer in SUV: bin widths" in line for line in logarithm)


def test_a_reference_tissue_drawn_on_another_scan_is_carried_over(rng: np.random.Generator) -> None:
    mr, mask = brain(rng)
    fine = CUBE.with_spacing_mm(1.0, 1.0, 1.5)
    ct = Volume(np.zeros(fine.shape, np.float32), fine, "CT", "HU")
    tissue = np.zeros(fine.shape, np.uint8)
    tissue[12:36, 30:50, 30:50] = 1
    subject = Subject("S", {"CT": ct, "MR_T1": mr}, {"MR_T1": mask}, regions={"muscle": {"CT": Mask(tissue, fine)}})
    shift = np.eye(4)
    shift[:3, 3] = (4.0, 0.0, 0.0)  # a point of the common space is 4 mm further along x in the MR
    transforms = {"CT": Transform.identity(), "MR_T1": Transform.from_array(shift)}
    drawn = Drawn(subject, "MR_T1", subject.masks, transforms)
    still = Drawn(subject, "MR_T1", subject.masks, {name: Transform.identity() for name in transforms})
    assert sorted(drawn) == ["main", "muscle"]
    assert len(drawn) == 2
    assert drawn["main"] is mask
    assert drawn["muscle"].geometry == CUBE
    np.testing.assert_array_equal(drawn["muscle"].inside, np.roll(still["muscle"].inside, 2, axis=2))  # voxels of 2 mm
    assert drawn["muscle"].volume_ml == pytest.approx(24 * 20 * 20 * 1.5e-3, rel=0.15)
    align = Align.model_validate(
        {"registration": "none", "reference": "MR_T1", "intensity": {"MR_T1": {"method": "zscore", "over": "muscle"}}}
    )
    assert align(subject).volumes["MR_T1"].unit == "z"
    away = np.eye(4)
    away[:3, 3] = (500.0, 0.0, 0.0)
    with pytest.raises(DataError, match="'muscle' has no voxel on MR_T1"):
        Drawn(subject, "MR_T1", subject.masks, transforms | {"MR_T1": Transform.from_array(away)})["muscle"]
