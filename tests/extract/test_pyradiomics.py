import csv
import logging
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import yaml

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError, GeometryError
from radfuse.extract.measurement import _real
from radfuse.extract.pyradiomics import PyRadiomics

TEXTURE = {"featureClass": {"glcm": ["Contrast", "Correlation"]}, "setting": {"binWidth": 1}}
RICH = {
    "imageType": {"Original": {}, "LoG": {"sigma": [3.0]}, "Wavelet": {"binCount": 16}},
    "setting": {"binWidth": 25, "minimumROIDimensions": 1},
}
SLICEWISE = {
    "featureClass": {"firstorder": None, "glcm": None, "glszm": ["ZonePercentage"], "ngtdm": []},
    "setting": {"binWidth": 0.5, "force2D": True, "force2Ddimension": 0},
}
RESAMPLED = {
    "imageType": {"Original": {}},
    "setting": {"binWidth": 10, "resampledPixelSpacing": [2, 2, 2], "interpolator": "sitkBSpline"},
}


def measure(parameters, volume, mask, **settings):
    return PyRadiomics(**settings).build(parameters)(volume, mask)


def by_hand(values, label=1):
    """A 3 x 2 x 1 image whose six voxels are the region."""
    grid = Geometry((3, 2, 1), (1.0, 1.0, 1.0))
    array = np.asarray(values, dtype=np.int16).reshape(1, 2, 3)
    return Volume(array, grid, "CT", "HU"), Mask(np.full(array.shape, label, np.uint8), grid, label)


def test_glcm_contrast_of_a_worked_example():
    # Rows 1 2 2 / 1 2 1. Of the 4 directions in the slice: along x 1-2 2-2 1-2 2-1; along y 1-1 2-2 2-1;
    # the two diagonals 1-2 2-1 and 2-1 2-2. Contrast is the share of unequal pairs in each, here 3/4, 1/3, 1, 1/2.
    found = measure(TEXTURE, *by_hand([1, 2, 2, 1, 2, 1]))
    assert found.values["original_glcm_Contrast"] == pytest.approx(np.mean([3 / 4, 1 / 3, 1, 1 / 2]), abs=1e-12)


@pytest.mark.parametrize(
    ("setting", "values"),
    [({"binWidth": 25}, [1, 2, 2, 1, 2, 1]), ({"binCount": 8}, [1.5] * 6)],
    ids=["width", "count"],
)
def test_a_region_of_one_grey_level_has_no_texture_and_says_so(setting, values):
    volume, mask = by_hand(values)
    found = measure({"setting": setting}, volume.with_array(np.reshape(np.float32(values), (1, 2, 3))), mask)
    assert np.isnan(found.values["original_glcm_Correlation"])  # PyRadiomics says 1
    assert np.isnan(found.values["original_ngtdm_Coarseness"])  # PyRadiomics says 1e6
    assert "one grey level" in found.problems["original_glcm_Correlation"]
    assert found.values["original_firstorder_Mean"] == pytest.approx(1.5)


def test_features_that_a_small_image_cannot_give_are_there_as_missing_with_the_reason(grid, ct, sphere):
    parameters = {"imageType": {"LoG": {"sigma": [2.0, 40.0]}}, "featureClass": {"firstorder": ["Mean"]}}
    found = measure(parameters, ct, sphere)
    assert list(found.values) == ["log-sigma-2-0-mm-3D_firstorder_Mean", "log-sigma-40-0-mm-3D_firstorder_Mean"]
    assert np.isnan(found.values["log-sigma-40-0-mm-3D_firstorder_Mean"])
    assert "sigma(40.0)" in found.problems["log-sigma-40-0-mm-3D_firstorder_Mean"]


def test_names_are_listed_in_pyradiomics_order_before_anything_is_measured(ct, sphere):
    parameters = {
        "imageType": {"Original": {}, "LoG": {"sigma": [2.0, 3.5]}, "Wavelet": {"level": 2}, "Gradient": {}},
        "setting": {"binWidth": 50},
        "featureClass": {"firstorder": None, "shape": [], "glcm": ["Contrast", "Id", "Contrast"]},
    }
    measured = PyRadiomics().build(parameters)
    found = measured(ct, sphere)
    assert list(found.values) == list(measured.names)
    assert set(found.problems) == set()
    assert len(measured.names) == 14 + 19 * (18 + 2)  # shape; of 1 + 2 + 15 + 1 images first order and two of glcm


@pytest.mark.parametrize(
    ("value", "number", "problem"),
    [
        (2.5 + 1e-12j, 2.5, ""),
        (2.5 + 0.1j, np.nan, "complex number 2.5\\+0.1j"),
        (np.inf, np.nan, "gave inf"),
        (np.array(3), 3.0, ""),
    ],
)
def test_a_feature_is_a_real_finite_number_or_missing_with_a_reason(value, number, problem):
    found, reason = _real(value)
    np.testing.assert_equal(found, number)
    assert bool(reason) == bool(problem)
    assert re.search(problem, reason)


def test_nan_inside_the_region_is_refused(ct, sphere):
    array = ct.array.copy()
    array[tuple(np.argwhere(sphere.inside)[0])] = np.nan
    with pytest.raises(DataError, match=f"NaN or infinite values in 1 of {sphere.voxels} voxels of the region"):
        measure(TEXTURE, ct.with_array(array), sphere)


def test_nan_outside_the_region_is_refused_only_where_a_filter_would_spread_it(ct, sphere):
    array = ct.array.copy()
    array[0, 0, 0] = np.inf
    spoilt = ct.with_array(array)
    with pytest.raises(DataError, match="1 voxels outside it"):
        measure({"imageType": {"Wavelet": {}}, "setting": {"binWidth": 25}}, spoilt, sphere)
    kept = measure({"setting": {"binWidth": 25}}, spoilt, sphere)
    assert kept.values == measure({"setting": {"binWidth": 25}}, ct, sphere).values


def test_an_empty_region_is_refused_with_the_labels_there_are(ct, sphere):
    with pytest.raises(DataError, match="label 3 does not occur in the mask, found 1"):
        measure(TEXTURE, ct, Mask(sphere.array, sphere.geometry, 3))


@pytest.mark.parametrize(("setting", "message"), [({"minimumROISize": 10**6}, "too small"), ({}, "1 segmented voxel")])
def test_a_region_below_the_minimum_is_refused(ct, sphere, setting, message):
    array = sphere.array.copy()
    if not setting:
        array[:] = 0
        array[5, 5, 5] = 1
    with pytest.raises(DataError, match=message):
        measure({"setting": {"binWidth": 25, **setting}}, ct, Mask(array, sphere.geometry))


def test_a_mask_on_another_grid_is_refused_in_words(ct, sphere):
    moved = Mask(sphere.array, Geometry(ct.geometry.size, ct.geometry.spacing_mm, (0.0, 5.0, 30.0)))
    with pytest.raises(GeometryError, match="origin shifted by \\(10, 0, 0\\) mm"):
        measure(TEXTURE, ct, moved)


def test_a_mask_off_by_rounding_is_taken_as_it_is(ct, sphere):
    x, y, z = ct.geometry.origin_mm
    rounded = Mask(sphere.array, Geometry(ct.geometry.size, ct.geometry.spacing_mm, (x + 1e-4, y, z)))
    assert measure(TEXTURE, ct, rounded).values == measure(TEXTURE, ct, sphere).values


def test_correct_mask_is_left_to_pyradiomics(ct, sphere):
    moved = Mask(sphere.array, Geometry(ct.geometry.size, ct.geometry.spacing_mm, (-9.0, 5.0, 30.0)))
    found = measure({"setting": {"binWidth": 25, "correctMask": True}}, ct, moved)
    assert "Mask-corrected_VoxelNum" in " ".join(found.diagnostics)


def test_a_label_said_in_two_ways_is_refused(ct, sphere):
    with pytest.raises(ConfigError, match="measure label 2, the manifest measures label 1"):
        measure({"setting": {"label": 2}}, ct, sphere)


def test_too_fine_a_bin_width_is_refused_before_hours_are_spent(ct, sphere):
    with pytest.raises(DataError, match=r"binWidth 0.01 cuts the region of the original image into \d{4,} grey levels"):
        measure({"setting": {"binWidth": 0.01}}, ct, sphere)
    assert measure(TEXTURE, *by_hand([1, 2, 2, 1, 2, 1]), max_bins=2).values
    with pytest.raises(DataError, match="3 grey levels, at most 2"):
        measure(TEXTURE, *by_hand([1, 2, 2, 1, 3, 1]), max_bins=2)


def test_the_library_is_heard_in_the_diagnostics_and_nowhere_else(ct, sphere, capfd, caplog):
    logger = logging.getLogger("radiomics")
    before = (list(logger.handlers), logger.level, logger.propagate)
    with caplog.at_level(logging.DEBUG):
        found = measure({"setting": {"binCount": 8}}, ct, sphere)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert "Fixed bin" not in str(found.values)
    assert "GLCM is symmetrical" in found.diagnostics["diagnostics_radfuse_Messages"]
    assert found.diagnostics["diagnostics_radfuse_GreyLevels"] == "{'original': 8}"
    assert (list(logger.handlers), logger.level, logger.propagate) == before


def test_the_process_wide_settings_of_itk_are_put_back(ct, sphere):
    process = sitk.ProcessObject
    before = process.GetGlobalDefaultNumberOfThreads(), process.GetGlobalDefaultCoordinateTolerance()
    with pytest.raises(DataError):
        measure({"setting": {"geometryTolerance": 0.5, "minimumROISize": 10**6}}, ct, sphere)
    assert (process.GetGlobalDefaultNumberOfThreads(), process.GetGlobalDefaultCoordinateTolerance()) == before


def test_parameters_given_are_not_changed_by_the_library(ct, sphere):
    given = {"imageType": {"Original": {}}, "setting": {"binWidth": 25}}
    measure(given, ct, sphere)
    assert given == {"imageType": {"Original": {}}, "setting": {"binWidth": 25}}


def command_line(image, mask, parameters, folder):
    """What `pyradiomics -p` writes for two files: every column as text."""
    file, out = folder / "parameters.yaml", folder / "out.csv"
    file.write_text(yaml.safe_dump(parameters, sort_keys=False), encoding="utf-8")
    call = [sys.executable, "-W", "ignore", "-c", "from radiomics.scripts import parse_args; parse_args()", image, mask]
    subprocess.run(
        [*map(str, call), "-p", str(file), "-o", str(out), "-f", "csv", "-v", "5"],
        check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    with out.open(encoding="utf-8") as lines:
        return next(csv.DictReader(lines))


@pytest.mark.cohort
@pytest.mark.parametrize(
    ("case", "parameters"),
    [("brain1", RICH), ("breast1", SLICEWISE), ("brain1", RESAMPLED), ("sts/CT", RICH), ("sts/PET", SLICEWISE)],
    ids=["brain1 filters", "breast1 slicewise", "brain1 resampled", "CT int16 filters", "PET slicewise"],
)
def test_numbers_equal_the_command_line_to_the_last_digit(data_root, tmp_path, case, parameters):
    modality = case.partition("/")[2]
    if modality:
        image, mask = (data_root / "sts" / "STS_035" / f"{modality}_{part}.nii.gz" for part in ("image", "mask"))
    else:
        image, mask = (data_root / "pyradiomics" / "data" / f"{case}_{part}.nrrd" for part in ("image", "label"))
    volume = Volume.from_sitk(sitk.ReadImage(str(image)), modality or "MR", "HU")
    found = measure(parameters, volume, Mask.from_sitk(sitk.ReadImage(str(mask))))
    expected = command_line(image, mask, parameters, tmp_path)
    names = [name for name in expected if "_" in name and not name.startswith("diagnostics")]
    assert list(found.values) == names
    assert {n: found.values[n] for n in names} == {n: float(expected[n]) for n in names}
    assert found.diagnostics["diagnostics_Image-original_Hash"] == expected["diagnostics_Image-original_Hash"]


# The stored mesh of brain1 is 1e-3 away from what PyRadiomics gives today, on its own command line as here.
MESH = {"MeshVolume", "SurfaceArea", "SurfaceVolumeRatio", "Sphericity"}


@pytest.mark.cohort
@pytest.mark.parametrize("case", ["brain1", "brain2", "breast1"])
def test_published_baselines_of_pyradiomics_are_met(data_root, case):
    root = data_root / "pyradiomics" / "data"
    volume = Volume.from_sitk(sitk.ReadImage(str(root / f"{case}_image.nrrd")), "MR", "a.u.")
    mask = Mask.from_sitk(sitk.ReadImage(str(root / f"{case}_label.nrrd")))
    found = measure({"setting": {"binWidth": 25, "minimumROIDimensions": 1, "voxelArrayShift": 2000}}, volume, mask)
    compared = 0
    for feature_class in ("firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm", "shape"):
        with (root / "baseline" / f"baseline_{feature_class}.csv").open(encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                stale = case == "brain1" and row["featureName"].rpartition("_")[2] in MESH
                if row["featureName"] in found.values and not stale:
                    assert found.values[row["featureName"]] == pytest.approx(float(row[case]), rel=1e-9, abs=1e-12)
                    compared += 1
    assert compared == (103 if case == "brain1" else 107)
