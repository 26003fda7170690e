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
from radfuse.extract.regions.ring import Ring
from radfuse.extract.stage import Extract
from radfuse.extract.whole_shape import OF_INTENSITY

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


def cut(subject, half, padding):
    """The subject, whose PET covers a part and is padded beyond it."""
    pet = subject.volumes["PET"]
    padded = pet.with_array(np.where(half.inside, pet.array, padding).astype(pet.array.dtype))
    return replace(subject, volumes={**subject.volumes, "PET": padded}, seen={"PET": half})


WITH_SHAPE = {"featureClass": {"shape": ["MeshVolume"], "firstorder": ["Mean", "Minimum"]}, "setting": {"binWidth": 25}}


@pytest.mark.parametrize("method", ["fast", "pyradiomics"])
def test_what_a_scan_does_not_cover_is_not_measured_but_the_shape_is_whole(subject, pet, sphere, half, method):
    extract = Extract(parameters={"default": WITH_SHAPE}, extractor=method)
    row, whole = extract(cut(subject, half, -1000.0)), extract(subject)
    inside = pet.array[sphere.inside & half.inside].astype(float)
    assert row.values["PET.original_firstorder_Mean"] == pytest.approx(inside.mean(), rel=1e-12)
    assert row.values["PET.original_firstorder_Minimum"] == inside.min()
    assert {name: value for name, value in row.values.items() if "shape" in name or name.startswith("CT")} == {
        name: value for name, value in whole.values.items() if "shape" in name or name.startswith("CT")
    }
    assert "outside the field of view" in row.diagnostics["PET.diagnostics_radfuse_FieldOfView"]
    assert not any("FieldOfView" in name for name in whole.diagnostics)


EVERYTHING = {
    "imageType": {name: {} for name in ("Original", "Wavelet", "Square", "Logarithm", "Gradient", "LBP2D")}
    | {"LoG": {"sigma": [3.0]}},
    "setting": {"binCount": 8},
}


@pytest.mark.parametrize(
    ("method", "setting"),
    [
        ("fast", {}),
        ("fast", {"resampledPixelSpacing": [1.3, 1.3, 1.3]}),
        ("fast", {"normalize": True, "removeOutliers": 2}),
        ("fast", {"resegmentRange": [0.5, 20.0]}),
        ("pyradiomics", {"normalize": True}),
        ("ibsi", {}),
    ],
)
def test_no_number_depends_on_what_a_scan_was_padded_with(subject, half, method, setting):
    parameters = {**EVERYTHING, "setting": {**EVERYTHING["setting"], **setting}}
    regions = {"rim": {"method": "ring", "outer_mm": 4, "min_voxels": 5}}
    extract = Extract(parameters={"default": parameters}, extractor=method, regions=regions)
    low, high = (extract(cut(subject, half, padding)) for padding in (-1000.0, 3000.0))
    assert low.values == pytest.approx(high.values, rel=0, abs=0, nan_ok=True)
    assert low.problems == high.problems
    shapes = [name for name in low.values if name.startswith("PET.original_shape")]
    whole = extract(subject)
    told = [name for name in shapes if not name.endswith(OF_INTENSITY)]
    assert [low.values[name] for name in told] == [whole.values[name] for name in told]
    assert len(shapes) - len(told) == (4 if method == "ibsi" else 0)


def test_regions_that_are_derived_end_where_the_scan_ends(subject, pet, sphere, half):
    extract = Extract(
        parameters={"default": WITH_SHAPE},
        regions={"rim": {"method": "ring", "outer_mm": 3}, "zone": {"method": "habitats", "clusters": 2}},
    )
    row = extract(cut(subject, half, -1000.0))
    for region in ("rim", "zone1", "zone2"):
        assert row.values[f"PET:{region}.original_firstorder_Minimum"] >= pet.array.min()
    # Habitats are made of both images, so nothing of them lies where one of them has no values.
    assert not any("FieldOfView" in name for name in row.diagnostics if ":zone" in name)


def test_a_derived_region_that_a_scan_does_not_show_has_no_values_there(subject, sphere):
    rim = Ring(outer_mm=3).outline(sphere).voxels
    nothing = Mask(np.where(sphere.inside, 1, 0).astype(np.uint8), sphere.geometry)
    extract = Extract(parameters={"default": FEW}, regions={"rim": {"method": "ring", "outer_mm": 3}})
    row = extract(replace(subject, seen={"PET": nothing}))
    assert np.isnan(row.values["PET:rim.original_firstorder_Mean"])
    assert row.problems["PET:rim.original_firstorder_Mean"] == (
        f"no region rim: the field of view of PET holds 0 of its {rim} voxels, fewer than 27"
    )
    assert np.isfinite(row.values["CT:rim.original_firstorder_Mean"])
