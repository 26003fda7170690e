"""The fast extractor against PyRadiomics itself, on the same input."""

import csv

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import yaml
from extract.agreement import assert_agree
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError
from radfuse.extract.fast import Fast
from radfuse.extract.parameters import BUILT_IN
from radfuse.extract.pyradiomics import PyRadiomics

EVERY_FILTER = {
    "Original": {},
    "LoG": {"sigma": [1.0, 2.5], "binCount": 16},
    "Wavelet": {"binCount": 16},
    "Square": {"binCount": 16},
    "SquareRoot": {"binWidth": 10},
    "Logarithm": {"binWidth": 20},
    "Exponential": {"binCount": 12},
    "Gradient": {"binWidth": 5},
}
# All but 2-D shape, which wants a region of one slice.
CLASSES = dict.fromkeys(["shape", "firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm"])
GRID = Geometry((17, 14, 11), (0.9, 1.1, 2.7), (-10.0, 5.0, 30.0))


@pytest.fixture(scope="module")
def lesion():
    """An anisotropic image of int16 with a region of two parts, one of them at the border."""
    rng = np.random.default_rng(5)
    from scipy.ndimage import gaussian_filter

    array = (gaussian_filter(rng.normal(size=GRID.shape), (0.4, 1, 1)) * 300).astype(np.int16)
    z, y, x = np.meshgrid(*(np.arange(n) for n in GRID.shape), indexing="ij")
    inside = ((z - 5) ** 2 * 4 + (y - 6) ** 2 + (x - 7) ** 2 < 30) | ((x > 14) & (y < 3) & (z < 2))
    return Volume(array, GRID, "CT", "HU"), Mask(inside.astype(np.uint8), GRID)


def test_every_filter_and_class(lesion):
    assert_agree({"imageType": EVERY_FILTER, "setting": {"binWidth": 25}}, *lesion, native=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float64])
def test_every_pixel_type(lesion, dtype):
    volume, mask = lesion
    array = (volume.array - volume.array.min()) / (6.0 if dtype == np.uint8 else 2.3)
    parameters = {"imageType": EVERY_FILTER, "setting": {"binWidth": 7.5, "resampledPixelSpacing": [1, 1, 1]}}
    assert_agree(parameters, volume.with_array(array.astype(dtype)), mask, native=True)


SETTINGS = {
    "counted bins": {"binCount": 8},
    "whole width": {"binWidth": 20},
    "resampled finer": {"resampledPixelSpacing": [0.7, 0.7, 1.3], "binWidth": 20},
    "resampled in plane": {"resampledPixelSpacing": [2, 2, 0], "binWidth": 20},
    "resampled onto voxel centres": {"resampledPixelSpacing": [2.7, 3.3, 2.7], "binWidth": 20},
    "resampled linearly": {"resampledPixelSpacing": [1, 1, 1], "interpolator": "sitkLinear", "binWidth": 20},
    "nearest": {"resampledPixelSpacing": [1, 1, 1], "interpolator": "sitkNearestNeighbor", "padDistance": 2},
    "interpolator by number": {"resampledPixelSpacing": [1, 1, 1], "interpolator": 2},
    "same spacing": {"resampledPixelSpacing": [0.9, 1.1, 2.7], "padDistance": 1, "binWidth": 20},
    "wide pad": {"resampledPixelSpacing": [1, 1, 2], "padDistance": 30, "binWidth": 20},
    "normalised": {"normalize": True, "normalizeScale": 100, "removeOutliers": 1.5, "binWidth": 10},
    "normalised and resampled": {"normalize": True, "resampledPixelSpacing": [1, 1, 1], "binWidth": 0.2},
    "cropped first": {"preCrop": True, "padDistance": 3, "binWidth": 20},
    "resegmented": {"resegmentRange": [-50, 80], "binWidth": 10},
    "resegmented from below": {"resegmentRange": [-10], "binWidth": 10, "resegmentShape": True},
    "resegmented relatively": {"resegmentRange": [0.1, 0.9], "resegmentMode": "relative", "binWidth": 10},
    "resegmented by sigma": {"resegmentRange": [-1, 1], "resegmentMode": "sigma", "binWidth": 10},
    "in planes": {"force2D": True, "binWidth": 20},
    "in sagittal planes": {"force2D": True, "force2Ddimension": 2, "binWidth": 20},
    "far pairs": {"distances": [1, 2, 3], "binWidth": 20},
    "weighted": {"weightingNorm": "manhattan", "binWidth": 20},
    "one-sided": {"symmetricalGLCM": False, "binWidth": 20, "gldm_a": 1},
    "shifted": {"voxelArrayShift": 500, "binWidth": 20, "minimumROISize": 10, "minimumROIDimensions": 3},
    "no diagnostics": {"additionalInfo": False, "binWidth": 20},
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_every_setting(lesion, setting):
    filters = {"Original": {}, "LoG": {"sigma": [1.5]}, "Wavelet": {}, "SquareRoot": {}}
    parameters = {"imageType": filters, "featureClass": CLASSES, "setting": {"binWidth": 15, **setting}}
    assert_agree(parameters, *lesion, native=True)


@pytest.mark.parametrize(
    "own",
    [{"wavelet": "haar"}, {"wavelet": "bior2.4", "level": 2}, {"start_level": 1, "level": 2}, {"force2D": True}],
    ids=["haar", "two levels", "from the second", "in planes"],
)
def test_every_wavelet(lesion, own):
    parameters = {"imageType": {"Wavelet": own}, "setting": {"binWidth": 25}, "featureClass": {"firstorder": None}}
    assert_agree(parameters, *lesion, native=True)


@pytest.mark.parametrize("norm", ["infinity", "euclidean", "manhattan", "no_weighting"])
def test_every_weighting(lesion, norm):
    classes = {"glcm": None, "glrlm": None}
    assert_agree({"featureClass": classes, "setting": {"binWidth": 9, "weightingNorm": norm}}, *lesion, native=True)


def test_old_features_are_given_or_left_out_as_pyradiomics_does(lesion):
    parameters = {
        "featureClass": {
            "shape": ["Compactness1", "Compactness2", "SphericalDisproportion"],
            "firstorder": ["StandardDeviation", "Mean"],
            "glcm": ["Dissimilarity", "Contrast", "SumAverage"],
            "gldm": ["DependencePercentage"],
        }
    }
    found = assert_agree(parameters, *lesion, native=True)
    assert np.isnan(found.values["original_glcm_Dissimilarity"])
    assert "deprecated" in found.problems["original_glcm_Dissimilarity"]


def test_a_region_of_another_label(lesion):
    volume, mask = lesion
    labels = mask.array * np.uint8(3) + (mask.array == 0)
    assert_agree({"setting": {"binWidth": 25, "label": 3}}, volume, Mask(labels, GRID, 3), native=True)


@pytest.mark.parametrize(
    "parameters",
    [
        {"featureClass": {"shape2D": None, "firstorder": None}, "setting": {"force2D": True, "force2Ddimension": 2}},
        {"imageType": {"Original": {"label": 1}}},
    ],
    ids=["2-D shape", "label of an image type"],
)
def test_what_is_not_native_is_pyradiomics_own_and_says_so(lesion, parameters):
    volume, mask = lesion
    inside = mask.array.copy()
    inside[:, :, :] = 0
    inside[3:7, 3:9, 8] = 1
    found = assert_agree(parameters, volume, Mask(inside, GRID), native=False)
    assert not found.diagnostics["diagnostics_radfuse_HandedOver"].startswith("0 of")


def test_a_region_on_a_line_askew_is_pyradiomics_own(lesion):
    """Its width is the root of what rounding left, and PyRadiomics may give that as a complex number."""
    volume, _ = lesion
    inside = np.zeros(GRID.shape, np.uint8)
    inside[4, 5, 6] = inside[5, 7, 7] = 1
    parameters = {"featureClass": {"shape": None, "firstorder": None}, "setting": {"binWidth": 20}}
    assert_agree(parameters, volume, Mask(inside, GRID), native=False)


def test_a_mask_on_another_grid_is_pyradiomics_own(lesion):
    volume, mask = lesion
    inside = mask.array.copy()
    inside[..., 14:] = 0
    moved = Mask(inside, Geometry(GRID.size, GRID.spacing_mm, (-9.0, 5.0, 30.0)))
    assert_agree({"setting": {"correctMask": True}}, volume, moved, native=False)


def test_a_flat_region(lesion):
    volume, mask = lesion
    flat = volume.with_array(np.where(mask.inside, 7, volume.array))
    assert_agree({"imageType": {"Original": {}, "Wavelet": {}}, "setting": {"binCount": 4}}, flat, mask)


@pytest.mark.parametrize(
    "setting",
    [
        {"minimumROISize": 10**6},
        {"resegmentRange": [9000, 9001]},
        {"binWidth": 0.01},
    ],
)
def test_what_pyradiomics_refuses_is_refused_in_the_same_words(lesion, setting):
    with pytest.raises(DataError) as expected:
        PyRadiomics().build({"setting": setting})(*lesion)
    with pytest.raises(DataError) as found:
        Fast().build({"setting": setting})(*lesion)
    assert str(found.value) == str(expected.value)


def test_the_margin_of_log_is_pyradiomics_own_or_full(lesion):
    parameters = {
        "imageType": {"LoG": {"sigma": [3.0]}},
        "featureClass": {"firstorder": None},
        "setting": {"preCrop": True, "padDistance": 1},
    }
    volume, mask = lesion
    cut = Fast().build(parameters)(volume, mask).values
    full = Fast(log_margin="full").build(parameters)(volume, mask).values
    uncut = PyRadiomics().build({**parameters, "setting": {"preCrop": False}})(volume, mask).values
    name = "log-sigma-3-0-mm-3D_firstorder_Mean"
    assert full[name] == pytest.approx(uncut[name], rel=1e-9)
    assert abs(cut[name] / uncut[name] - 1) > 0.005


def test_log_far_from_the_edge_sees_only_a_part_of_the_image(rng):
    # The cropped filter starts 24 sigma away, where nothing is left of how it starts.
    grid = Geometry((90, 80, 70), (1.0, 1.0, 1.0))
    volume = Volume((rng.normal(size=grid.shape) * 100).astype(np.int16), grid, "CT", "HU")
    inside = np.zeros(grid.shape, np.uint8)
    inside[30:40, 36:44, 40:50] = 1
    parameters = {"imageType": {"LoG": {"sigma": [1.0]}, "Wavelet": {}}, "setting": {"binWidth": 5}}
    assert_agree(parameters, volume, Mask(inside, grid), native=True)


RESAMPLED = [
    {"resampledPixelSpacing": [1.3, 1.3, 1.3], "padDistance": 2},
    {"resampledPixelSpacing": [2, 0.8, 0], "interpolator": "sitkLinear"},
]


@st.composite
def cases(draw):
    """A small volume and parameters for it.

    Any shape, spacing, region (scattered, flat, at the border) and number of grey levels; any filter, resampled or not.
    """
    resampled = draw(st.sampled_from([{}, *RESAMPLED]))
    # ITK's spline reads beyond an axis of two voxels: PyRadiomics' own numbers are chance there.
    sizes = st.sampled_from([1, 3, 4, 5, 6, 7, 8, 9]) if resampled else st.integers(1, 9)
    shape = tuple(draw(sizes) for _ in range(3))
    spacing = tuple(draw(st.sampled_from([0.5, 1.0, 1.7, 4.0])) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 2, 3, 7, 30, 500]))
    array = rng.integers(-levels // 2, levels // 2 + 1, shape).astype(draw(st.sampled_from([np.int16, np.float32])))
    inside = (rng.random(shape) < draw(st.sampled_from([0.1, 0.4, 0.8, 1.0]))).astype(np.uint8)
    inside.flat[rng.integers(inside.size)] = 1
    setting = {"binWidth": 1, "minimumROIDimensions": draw(st.sampled_from([1, 2]))}
    setting |= draw(st.sampled_from([{}, {"distances": [2]}, {"force2D": True}, {"symmetricalGLCM": False}]))
    setting |= draw(st.sampled_from([{}, {"weightingNorm": "euclidean"}, {"gldm_a": 2}, {"binCount": 6}]))
    setting |= resampled
    setting |= draw(st.sampled_from([{}, {}, {"resegmentRange": [-levels // 4, levels // 4]},
                                     {"resegmentRange": [0], "resegmentShape": True},
                                     {"resegmentRange": [-1.5, 1.5], "resegmentMode": "sigma"}]))  # fmt: skip
    name = draw(st.sampled_from(["Original", *EVERY_FILTER, "LBP2D"]))
    grid = Geometry(shape[::-1], spacing)
    parameters = {"imageType": {name: {**EVERY_FILTER.get(name, {})}}, "featureClass": CLASSES, "setting": setting}
    return Volume(array, grid, "CT", "HU"), Mask(inside, grid), parameters


@settings(
    max_examples=80, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(cases())
def test_any_small_region(case):
    volume, mask, parameters = case
    answers = [answer(extractor, parameters, volume, mask) for extractor in (PyRadiomics(), Fast())]
    if isinstance(answers[0], str):
        assert answers[0] == answers[1]
    else:
        assert_agree(parameters, volume, mask)


def answer(extractor, parameters, volume, mask):
    try:
        return extractor.build(parameters)(volume, mask)
    except DataError as refused:
        return str(refused)


def test_the_shape_of_a_mask_is_measured_once_for_all_modalities(lesion, monkeypatch):
    from radfuse.extract.native import shape as module

    asked = []
    original = module.shape_features
    monkeypatch.setattr(module, "shape_features", lambda *given: asked.append(1) or original(*given))
    module._remembered.cache_clear()
    volume, mask = lesion
    answers = [Fast().build({"featureClass": {"shape": None}})(volume, mask).values for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(asked) == 1
    larger = Mask(mask.array, Geometry(GRID.size, (0.9, 1.1, 3.0), GRID.origin_mm))
    other = Volume(volume.array, larger.geometry, "PET", "SUV")
    assert Fast().build({"featureClass": {"shape": None}})(other, larger).values != answers[0]
    assert len(asked) == 2


def cohort_scan(sts, patient, modality):
    image, mask = (sitk.ReadImage(str(sts / patient / f"{modality}_{part}.nii.gz")) for part in ("image", "mask"))
    return Volume.from_sitk(image, modality, ""), Mask.from_sitk(mask)


@pytest.mark.cohort
@pytest.mark.parametrize("modality", ["CT", "PET", "MR_T1"])
def test_the_built_in_parameters_on_a_patient(sts, modality):
    parameters = BUILT_IN[modality.partition("_")[0]]
    if modality == "MR_T1":  # in units of fat, not yet standardised
        parameters = {**parameters, "setting": {"binWidth": 20}}
    assert_agree(parameters, *cohort_scan(sts, "STS_035", modality), native=True)


@pytest.mark.cohort
@pytest.mark.parametrize("name", ["ct", "pet", "mr"])
def test_the_parameter_files_on_a_patient(sts, name):
    from conftest import REPOSITORY

    parameters = yaml.safe_load((REPOSITORY / "configs" / "pyradiomics" / f"{name}.yaml").read_text())
    volume, mask = cohort_scan(sts, "STS_008", {"ct": "CT", "pet": "PET", "mr": "MR_T1"}[name])
    if name == "mr":
        volume = volume.with_array((volume.array / 200).astype(np.float32))
    assert_agree(parameters, volume, mask, native=True)


@pytest.mark.cohort
@pytest.mark.parametrize("case", ["brain1", "brain2", "breast1"])
def test_the_published_baselines_of_pyradiomics(data_root, case):
    root = data_root / "pyradiomics" / "data"
    volume = Volume.from_sitk(sitk.ReadImage(str(root / f"{case}_image.nrrd")), "MR", "a.u.")
    mask = Mask.from_sitk(sitk.ReadImage(str(root / f"{case}_label.nrrd")))
    setting = {"binWidth": 25, "minimumROIDimensions": 1, "voxelArrayShift": 2000}
    found = assert_agree({"setting": setting}, volume, mask, native=True)
    stale = {"MeshVolume", "SurfaceArea", "SurfaceVolumeRatio", "Sphericity"} if case == "brain1" else set()
    compared = 0
    for feature_class in ("firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm", "shape"):
        with (root / "baseline" / f"baseline_{feature_class}.csv").open(encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                name = row["featureName"]
                if name in found.values and name.rpartition("_")[2] not in stale:
                    assert found.values[name] == pytest.approx(float(row[case]), rel=1e-6, abs=1e-12)
                    compared += 1
    assert compared == 107 - len(stale)


@pytest.mark.parametrize("image_type", ["Exponential", "Logarithm", "Square", "SquareRoot"])
def test_an_image_of_nothing_but_zeros(lesion, image_type):
    volume, mask = lesion
    parameters = {"imageType": {image_type: {}}, "featureClass": {"firstorder": None, "glcm": None}}
    empty = volume.with_array(np.zeros_like(volume.array))
    expected, found = (answer(extractor, parameters, empty, mask) for extractor in (PyRadiomics(), Fast()))
    if isinstance(expected, str):
        assert found == expected
    else:
        assert_agree(parameters, empty, mask)


def test_the_command_line_chooses_the_extractor(lesion, tmp_path):
    from conftest import radfuse

    from radfuse.data.reading.images import write_mask, write_volume

    volume, mask = lesion
    write_volume(tmp_path / "ct.nii.gz", volume)
    write_mask(tmp_path / "mask.nii.gz", mask)
    (tmp_path / "manifest.csv").write_text("subject,modality,image,mask,label\nA,CT,ct.nii.gz,mask.nii.gz,1\n")
    (tmp_path / "ct.yaml").write_text(yaml.safe_dump({"setting": {"binWidth": 20}}))
    given = ["--manifest", tmp_path / "manifest.csv", "-p", tmp_path / "ct.yaml", "-q", "-o", tmp_path / "out.csv"]
    done = radfuse("extract", *given, "--method", "fast")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out.csv").open(encoding="utf-8") as lines:
        row = next(csv.DictReader(lines))
    expected = PyRadiomics().build({"setting": {"binWidth": 20}})(volume, mask).values
    assert float(row["CT.original_glcm_Contrast"]) == pytest.approx(expected["original_glcm_Contrast"], rel=1e-9)
    meaning = pd.read_csv(tmp_path / "out.dictionary.csv").set_index("column")
    assert [*meaning.index] == [*row][1:]
    assert meaning.loc["CT.original_glcm_Contrast", "ibsi_code"] == "ACUI"
    assert "diagnostics_radfuse_HandedOver" in "".join(path.read_text() for path in tmp_path.glob("*diagnostics*"))
    refused = radfuse("extract", *given, "--method", "slow")
    assert refused.returncode == 2
    assert "Known: fast, ibsi, pyradiomics" in refused.stderr


@pytest.mark.parametrize("own", [{}, {"lbp2DRadius": 2.5, "lbp2DSamples": 9, "lbp2DMethod": "default"}])
def test_local_binary_patterns_which_scikit_image_finds_for_pyradiomics(lesion, own):
    parameters = {"imageType": {"LBP2D": own}, "featureClass": CLASSES, "setting": {"binWidth": 1}}
    assert_agree(parameters, *lesion, native=True)
