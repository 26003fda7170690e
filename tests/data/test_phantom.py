import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import kruskal, pearsonr
from sklearn.metrics import roc_auc_score

from radfuse.data.phantom import Phantom
from radfuse.data.phantom_body import MODALITIES, blur, refined
from radfuse.data.transform import Transform
from radfuse.data.volume import reference_image, transform_to_sitk
from radfuse.errors import ConfigError


@pytest.fixture(scope="module")
def cohort():
    return Phantom(subjects=30, seed=3).cohort()


@pytest.fixture(scope="module")
def alike():
    """The same patients, had every site had the same scanner."""
    return Phantom(subjects=30, seed=3, site_effect=0.0).cohort()


def inside(subject, modality):
    return subject.volumes[modality].array[subject.masks[modality].inside].astype(float)


def test_a_seed_is_a_cohort_and_another_seed_another():
    one, again, other = (Phantom(subjects=2, seed=seed).cohort() for seed in (4, 4, 5))
    for a, b, c in zip(one.subjects, again.subjects, other.subjects, strict=True):
        for name in ("CT", "PET"):
            np.testing.assert_array_equal(a.volumes[name].array, b.volumes[name].array)
            assert not np.array_equal(a.volumes[name].array, c.volumes[name].array)
    assert one.clinical.equals(again.clinical)


def test_a_subject_does_not_depend_on_how_many_there_are():
    few, many = Phantom(subjects=1, seed=9).cohort(), Phantom(subjects=3, seed=9).cohort()
    np.testing.assert_array_equal(few.subjects[0].volumes["PET"].array, many.subjects[0].volumes["PET"].array)
    assert few.clinical.iloc[0].equals(many.clinical.iloc[0])
    assert few.truth.iloc[0].equals(many.truth.iloc[0])


def test_scans_are_as_a_scanner_gives_them(cohort):
    subject = cohort.subjects[0]
    ct, pet = subject.volumes["CT"], subject.volumes["PET"]
    assert (ct.array.dtype, pet.array.dtype) == (np.int16, np.float32)
    assert (ct.unit, pet.unit) == ("HU", "SUV")
    assert ct.geometry.spacing_mm == (1.5, 1.5, 3.0)
    assert pet.geometry.spacing_mm == (4.0, 4.0, 4.0)
    assert pet.array.min() >= 0
    for name, volume in subject.volumes.items():
        assert subject.masks[name].geometry == volume.geometry
    assert list(cohort.clinical.columns) == ["outcome", "age", "sex", "grade", "scanner_ct", "scanner_pet"]
    assert list(cohort.clinical.index) == [s.id for s in cohort.subjects] == list(cohort.truth.index)


def test_every_lesion_has_voxels_enough_for_texture_on_a_grid_of_2_mm(cohort):
    assert min(subject.masks["CT"].volume_ml for subject in cohort.subjects) > 300 * 0.008


def test_only_ct_carries_one_signal_and_only_pet_the_other(alike):
    truth = alike.truth
    spread = [np.log(inside(subject, "CT").std()) for subject in alike.subjects]
    level = [np.log(inside(subject, "PET").mean()) for subject in alike.subjects]
    assert pearsonr(spread, truth["latent_ct"])[0] > 0.85  # noise adds to a weak texture, and grade is in it too
    assert pearsonr(level, truth["latent_pet"])[0] > 0.95
    # 30 unrelated pairs correlate by less than 0.46 with a chance of 99 %.
    assert abs(pearsonr(spread, truth["latent_pet"])[0]) < 0.46
    assert abs(pearsonr(level, truth["latent_ct"])[0]) < 0.46


def test_the_signals_together_predict_the_outcome_far_better_than_either():
    for seed in range(1, 6):
        phantom = Phantom(subjects=400, seed=seed)
        ct, pet, chance = np.array([phantom._design(number) for number in range(400)]).T
        predictor = phantom.strength * (ct + pet)
        outcome = chance < 1 / (1 + np.exp(-predictor))
        oracle, alone = roc_auc_score(outcome, ct + pet), [roc_auc_score(outcome, x) for x in (ct, pet)]
        assert 0.91 < oracle < 0.97  # 0.94 for two standard normals at 2.5 log odds each, by 10^6 draws
        assert max(alone) < oracle - 0.1
        assert abs(pearsonr(ct, pet)[0]) < 0.1
        assert abs(outcome.mean() - 0.5) < 0.05


def test_the_outcome_is_drawn_from_the_linear_predictor(cohort):
    assert set(cohort.clinical["outcome"]) == {0, 1}
    assert roc_auc_score(cohort.clinical["outcome"], cohort.truth["linear_predictor"]) > 0.85
    truth = cohort.truth
    np.testing.assert_allclose(truth["linear_predictor"], 2.5 * (truth["latent_ct"] + truth["latent_pet"]))


def test_without_strength_the_outcome_has_nothing_to_do_with_the_images():
    phantom = Phantom(subjects=400, seed=2, strength=0.0)
    ct, pet, chance = np.array([phantom._design(number) for number in range(400)]).T
    assert roc_auc_score(chance < 0.5, ct + pet) == pytest.approx(0.5, abs=0.06)
    assert phantom.subject(0).truth.linear_predictor == 0.0


def centre_mm(subject, modality):
    mask = subject.masks[modality]
    z, y, x = np.nonzero(mask.inside)
    return np.asarray(mask.geometry.origin_mm) + np.mean([x, y, z], axis=1) * np.asarray(mask.geometry.spacing_mm)


def test_the_planted_shift_moves_the_mask_of_pet_and_its_content(cohort):
    import SimpleITK as sitk

    for subject in cohort.subjects[:8]:
        shift = cohort.truth.loc[subject.id, ["shift_x_mm", "shift_y_mm", "shift_z_mm"]].to_numpy(dtype=float)
        assert 3.0 <= np.linalg.norm(shift) <= 8.0
        # A coarse mask knows its centre to a small part of a voxel.
        np.testing.assert_allclose(centre_mm(subject, "PET") - centre_mm(subject, "CT"), shift, atol=0.6)
        ct, pet = subject.volumes["CT"], subject.volumes["PET"]
        body = (gaussian_filter(ct.array.astype(float), 1) > -150).ravel()  # muscle, lesion and bone, without fat
        matrix = np.eye(4)
        found = []
        for offset in (np.zeros(3), shift):
            matrix[:3, 3] = offset
            move = transform_to_sitk(Transform.from_array(matrix))
            moved = sitk.Resample(pet.to_sitk(), reference_image(ct.geometry), move, sitk.sitkLinear, 0.0)
            found.append(pearsonr(sitk.GetArrayFromImage(moved).ravel(), body)[0])
        assert found[1] > found[0] + 0.01


def test_truth_gives_the_transform_that_registration_should_find():
    truth = Phantom(seed=1).subject(0).truth
    np.testing.assert_allclose(truth.transform.apply([[1.0, 2.0, 3.0]])[0], np.add([1.0, 2.0, 3.0], truth.shift_mm))


@pytest.mark.parametrize(("modality", "column"), [("CT", "scanner_ct"), ("PET", "scanner_pet")])
def test_sites_differ_in_the_voxels_and_not_in_the_patients(cohort, alike, modality, column):
    site = cohort.clinical[column]
    assert site.nunique() == len(MODALITIES[modality].sites)

    def p_value(subjects):
        values = np.array([inside(subject, modality).mean() for subject in subjects])
        if modality == "PET":  # what is left of the uptake when the planted signal is taken out
            values = np.log(values) - 0.4 * cohort.truth["latent_pet"].to_numpy()
        return kruskal(*(values[site == label] for label in site.unique())).pvalue

    assert p_value(cohort.subjects) < 1e-4
    assert p_value(alike.subjects) > 0.01


def test_sites_have_nothing_to_do_with_the_outcome():
    # Over 5 cohorts, the chance that a correct one gives 5 counts all on one side of this limit is below 1e-6.
    import pandas as pd
    from scipy.stats import chi2_contingency

    facts = pd.DataFrame([Phantom(seed=seed).facts(number) for seed in range(5) for number in range(60)])
    for column in ("scanner_ct", "scanner_pet", "sex", "grade"):
        assert chi2_contingency(pd.crosstab(facts[column], facts["outcome"])).pvalue > 1e-3
    assert facts["age"].corr(facts["scanner_pet"].map({"pet-a": 0, "pet-b": 1, "pet-c": 2})) > 0.2


def test_covariates_shift_the_images(alike):
    clinical, truth = alike.clinical, alike.truth
    residual = np.log([inside(s, "PET").mean() for s in alike.subjects]) - 0.4 * truth["latent_pet"].to_numpy()
    assert pearsonr(residual, clinical["grade"])[0] > 0.3
    assert pearsonr(residual, clinical["age"])[0] < -0.3
    level = np.array([inside(s, "CT").mean() for s in alike.subjects])
    assert level[clinical["sex"] == "F"].mean() > level[clinical["sex"] == "M"].mean() + 3.0


@pytest.mark.parametrize("name", ["CT", "PET"])
def test_the_point_spread_is_as_declared(name):
    modality = MODALITIES[name]
    fine = refined(modality)
    point = np.zeros(fine.shape)
    point[tuple(n // 2 for n in fine.shape)] = 1.0
    blurred = blur(point, fine, modality.fwhm_mm)
    assert Phantom().fwhm_mm[name] == modality.fwhm_mm
    for axis, (spacing, fwhm) in enumerate(zip(fine.spacing_mm, modality.fwhm_mm, strict=True)):
        profile = blurred.sum(axis=tuple(k for k in range(3) if k != 2 - axis))
        place = np.arange(len(profile)) * spacing
        variance = np.average((place - np.average(place, weights=profile)) ** 2, weights=profile)
        assert np.sqrt(8 * np.log(2) * variance) == pytest.approx(fwhm, rel=0.03)


def test_the_fine_grid_holds_the_voxel_centres():
    for modality in MODALITIES.values():
        fine, grid = refined(modality), modality.grid
        rx, ry, rz = modality.refine
        index = np.array([rx // 2, ry // 2, rz // 2, 1.0])
        np.testing.assert_allclose((fine.index_to_physical @ index)[:3], grid.origin_mm)
        assert fine.size == tuple(n * r for n, r in zip(grid.size, modality.refine, strict=True))


@pytest.mark.parametrize("settings", [{"subjects": 0}, {"seed": -1}])
def test_an_impossible_phantom_is_refused(settings):
    with pytest.raises(ConfigError, match="subjects >= 1 and seed >= 0"):
        Phantom(**settings)
