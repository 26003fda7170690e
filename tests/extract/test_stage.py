from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from radfuse.component import describe
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask
from radfuse.errors import ConfigError, DataError
from radfuse.extract.parameters import BUILT_IN, faults, parameters_for
from radfuse.extract.stage import Extract

CONFIGS = Path(__file__).parents[2] / "configs" / "pyradiomics"
FEW = {"featureClass": {"firstorder": ["Mean", "Maximum"]}, "setting": {"binWidth": 25}}


@pytest.fixture
def subject(ct, pet, sphere):
    return Subject("one", {"CT": ct, "PET": pet}, {"CT": sphere, "PET": sphere})


def test_a_row_holds_what_numpy_finds_in_each_region_behind_the_modality(subject, ct, pet, sphere):
    row = Extract(parameters={"default": FEW})(subject)
    assert list(row.values) == [
        "CT.original_firstorder_Mean",
        "CT.original_firstorder_Maximum",
        "PET.original_firstorder_Mean",
        "PET.original_firstorder_Maximum",
    ]
    for name, volume in (("CT", ct), ("PET", pet)):
        inside = volume.array[sphere.inside].astype(float)
        assert row.values[f"{name}.original_firstorder_Mean"] == pytest.approx(inside.mean(), rel=1e-12)
        assert row.values[f"{name}.original_firstorder_Maximum"] == inside.max()
    assert row.subject == "one"
    assert row.problems == {}


def test_diagnostics_stay_apart_as_text_under_the_same_prefixes(subject, sphere):
    row = Extract(parameters={"default": FEW})(subject)
    assert not any("diagnostics" in name for name in row.values)
    assert row.diagnostics["PET.diagnostics_Mask-original_VoxelNum"] == str(sphere.voxels)
    assert all(isinstance(text, str) for text in row.diagnostics.values())


def test_a_fused_volume_is_measured_with_the_parameters_for_fused_ones(subject, pet, sphere):
    name = "fused-average-CT_PET"
    fused = Subject("one", {name: pet}, {name: sphere})
    only_mean = {**FEW, "featureClass": {"firstorder": ["Mean"]}}
    row = Extract(parameters={"fused": only_mean, "default": FEW})(fused)
    assert list(row.values) == [f"{name}.original_firstorder_Mean"]


@pytest.mark.parametrize(
    ("modality", "expected"),
    [
        ("MR_T1", "exact"),
        ("MR_T2", "kind"),
        ("SPECT", "rest"),
        ("fused-dwt3d-CT_PET", "fused"),
        ("fused-a-CT_MR", "own"),
    ],
)
def test_parameters_are_found_by_name_then_kind_then_default(modality, expected):
    names = {"MR_T1": "exact", "MR": "kind", "default": "rest", "fused": "fused", "fused-a-CT_MR": "own"}
    assert parameters_for(modality, {key: {"is": value} for key, value in names.items()}) == {"is": expected}


def test_a_modality_without_parameters_is_named_with_those_there_are(subject):
    with pytest.raises(ConfigError, match="no PyRadiomics parameters for PET; there are some for CT"):
        Extract(parameters={"CT": FEW})(subject)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"setting": {"binWdith": 25}}, "setting.binWdith: PyRadiomics does not know it; did you mean 'binWidth'?"),
        ({"settings": {}}, "did you mean 'setting'?"),
        ({"imageType": {"Orignal": {}}}, "did you mean 'Original'?"),
        ({"imageType": {"LoG": {"sigmas": [2.0]}}}, "imageType.LoG.sigmas: .*did you mean 'sigma'?"),
        ({"featureClass": {"firstOrder": None}}, "did you mean 'firstorder'?"),
        ({"featureClass": {"glcm": ["Contarst"]}}, "did you mean 'Contrast'?"),
        ({"setting": {"binWidth": -1}}, "Path: '/setting/binWidth'"),
        ({"setting": {"weightingNorm": "round"}}, "round"),
        ({"imageType": {"LoG": {}}}, "would measure nothing: no sigma is given"),
        ({}, "parameters are empty"),
    ],
)
def test_parameters_that_pyradiomics_would_refuse_or_ignore_are_named_with_the_place(parameters, message):
    with pytest.raises(ValidationError, match=message) as caught:
        Extract(parameters={"CT": parameters})
    assert describe(caught.value, Extract)[0].startswith("parameters: CT: ")


def test_the_built_in_parameters_are_valid():
    assert {name: faults(given) for name, given in BUILT_IN.items()} == {name: [] for name in BUILT_IN}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_parameter_file_is_valid_and_resamples_nothing(path):
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert faults(given) == []
    assert not {"resampledPixelSpacing", "normalize", "label"} & set(given["setting"])


@pytest.mark.parametrize("modality", ["ct", "pet", "mr", "fused"])
def test_a_shipped_file_and_the_built_in_parameters_agree_on_the_bin_width(modality):
    given = yaml.safe_load((CONFIGS / f"{modality}.yaml").read_text(encoding="utf-8"))
    built_in = BUILT_IN["fused" if modality == "fused" else modality.upper()]
    assert given["setting"]["binWidth"] == built_in["setting"]["binWidth"]


def test_a_volume_without_a_region_is_refused_by_name(ct):
    with pytest.raises(DataError, match="CT of one has no region to measure"):
        Extract()(Subject("one", {"CT": ct}))


def test_an_error_says_which_volume_of_whom(subject, ct):
    broken = Subject("one", {"CT": ct.with_array(np.full_like(ct.array, np.nan))}, subject.masks)
    with pytest.raises(DataError, match="NaN or infinite values in") as caught:
        Extract()(broken)
    assert caught.value.__notes__ == ["while measuring CT of one"]


def test_every_setting_of_the_stage_is_in_its_dump():
    # The dump is the cache key: a setting that is not in it would let an old result pass for a new one.
    dump = Extract(parameters={"CT": FEW}).model_dump(mode="json")
    assert dump["parameters"] == {"CT": FEW}
    assert dump["extractor"] == {"method": "fast", "max_bins": 1000, "log_margin": "pyradiomics"}
    assert Extract.model_validate(dump) == Extract(parameters={"CT": FEW})


@pytest.fixture
def half(sphere):
    """What a scan covers whose last slices are missing, through the middle of the sphere."""
    inside = np.ones(sphere.geometry.shape, np.uint8)
    inside[int(np.argwhere(sphere.inside)[:, 0].mean()) :] = 0
    return Mask(inside, sphere.geometry)


WITH_SHAPE = {"featureClass": {"shape": ["MeshVolume"], "firstorder": ["Mean", "Minimum"]}, "setting": {"binWidth": 25}}


@pytest.mark.parametrize("method", ["fast", "pyradiomics"])
def test_what_a_scan_does_not_cover_is_not_measured_but_the_shape_is_whole(subject, ct, pet, sphere, half, method):
    padded = pet.with_array(np.where(half.inside, pet.array, -1000.0))
    extract = Extract(parameters={"default": WITH_SHAPE}, extractor=method)
    row = extract(Subject("one", {"CT": ct, "PET": padded}, subject.masks, seen={"PET": half}))
    whole = extract(subject)
    inside = pet.array[sphere.inside & half.inside].astype(float)
    assert row.values["PET.original_firstorder_Mean"] == pytest.approx(inside.mean(), rel=1e-12)
    assert row.values["PET.original_firstorder_Minimum"] == inside.min()
    assert {name: value for name, value in row.values.items() if "shape" in name or name.startswith("CT")} == {
        name: value for name, value in whole.values.items() if "shape" in name or name.startswith("CT")
    }
    assert "outside the field of view" in row.diagnostics["PET.diagnostics_radfuse_FieldOfView"]
    assert not any("FieldOfView" in name for name in whole.diagnostics)


def test_regions_that_are_derived_end_where_the_scan_ends(subject, pet, sphere, half):
    extract = Extract(
        parameters={"default": WITH_SHAPE},
        regions={"rim": {"method": "ring", "outer_mm": 3}, "zone": {"method": "habitats", "clusters": 2}},
    )
    padded = pet.with_array(np.where(half.inside, pet.array, -1000.0))
    row = extract(replace(subject, volumes={**subject.volumes, "PET": padded}, seen={"PET": half}))
    for region in ("rim", "zone1", "zone2"):
        assert row.values[f"PET:{region}.original_firstorder_Minimum"] >= pet.array.min()
    # Habitats are made of both images, so nothing of them lies where one of them has no values.
    assert not any("FieldOfView" in name for name in row.diagnostics if ":zone" in name)


def test_a_derived_region_that_a_scan_does_not_show_has_no_values_there(subject, sphere):
    nothing = Mask(np.where(sphere.inside, 1, 0).astype(np.uint8), sphere.geometry)
    extract = Extract(parameters={"default": FEW}, regions={"rim": {"method": "ring", "outer_mm": 3}})
    row = extract(replace(subject, seen={"PET": nothing}))
    assert np.isnan(row.values["PET:rim.original_firstorder_Mean"])
    assert row.problems["PET:rim.original_firstorder_Mean"] == (
        "no region rim: the field of view of PET holds nothing of it"
    )
    assert np.isfinite(row.values["CT:rim.original_firstorder_Mean"])
