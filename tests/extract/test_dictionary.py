"""What the data dictionary says of a column is true of its numbers."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from radiomics import imageoperations

from radfuse.extract.dictionary import data_dictionary
from radfuse.extract.fast import Fast
from radfuse.extract.feature_names import feature_names
from radfuse.extract.ibsi import Ibsi
from radfuse.extract.ibsi1.added import by_tag
from radfuse.extract.ibsi1.benchmark import digital_phantom
from radfuse.extract.ibsi1.catalogue import MERGING_CODES
from radfuse.extract.ibsi1.conformed import Processing, conform
from radfuse.extract.ibsi2.laws import Laws
from radfuse.extract.ibsi2.mean import Mean
from radfuse.extract.ibsi2.wavelet import Wavelet

ALL = {"imageType": {"Original": {}}}
MERGED = {code: merging for merging, code in MERGING_CODES.items()}


def meaning(column, setting=None, extractor=None, image_types=None):
    """The dictionary's row of one column, measured with these settings."""
    parameters = {"CT": {"imageType": image_types or {"Original": {}}, "setting": setting or {}}}
    return data_dictionary([f"CT.{column}"], extractor, parameters).loc[0]


def test_every_feature_of_pyradiomics_that_ibsi_has_carries_its_code():
    names = [f"CT.{name}" for name in feature_names(json.dumps(ALL))]
    table = data_dictionary(names).set_index("column")
    without = {name.partition("_")[2] for name in table.index[table["ibsi_code"] == ""]}
    planar = {f"shape_Maximum2DDiameter{plane}" for plane in ("Slice", "Row", "Column")}
    assert without == planar | {"firstorder_TotalEnergy", "glcm_MCC"}
    assert (table["ibsi_definition"] == "").equals(table["ibsi_code"] == "")
    assert table.loc["CT.original_shape_LeastAxisLength", "ibsi_definition"].startswith("differs")
    assert set(data_dictionary(names, Ibsi())["ibsi_definition"]) == {"same", ""}


def test_the_dictionary_knows_mergings_regions_and_the_added_families():
    names = ["CT:rim.original_glcm_Contrast_2_5D_comb", "PET.wavelet-LLH_glcm_ClusterTendency"]
    table = data_dictionary([*names, "CT.original_gldzm_ZonePercentage"], Ibsi()).set_index("column")
    first = table.loc[names[0]]
    assert (first["region"], first["ibsi_code"], first["ibsi_aggregation"]) == ("rim", "ACUI", "ZW7Z")
    assert table.loc[names[1], "ibsi_code"] == "OEEB DG8W"  # sum variance and cluster tendency are one number
    assert table.loc["CT.original_gldzm_ZonePercentage", "ibsi_code"] == "VIWW"
    assert table.loc["CT.original_gldzm_ZonePercentage", "ibsi_aggregation"] == "KOBO"


@pytest.mark.parametrize("setting", [{}, {"weightingNorm": "no_weighting"}], ids=["averaged", "merged"])
@pytest.mark.parametrize("flat", [False, True], ids=["in space", "in planes"])
def test_the_code_of_aggregation_is_that_of_the_value(setting, flat):
    # The right-hand side is what reproduces the manual's reference values under each of these codes.
    volume, mask = digital_phantom()
    parameters = {"setting": {"binWidth": 1, "force2D": flat, **setting}, "featureClass": TEXTURED}
    conformed = conform(volume, mask, Processing(bin_width=1))
    for name, value in Fast().build(parameters)(volume, mask).values.items():
        row = data_dictionary([f"CT.{name}"], Fast(), {"CT": parameters}).loc[0]
        tag = f"{row['ibsi_tag']}_{MERGED[row['ibsi_aggregation']]}"
        assert by_tag(conformed, [tag])[tag] == pytest.approx(value, rel=1e-9), tag
        assert tag.count("2_5D") == flat


TEXTURED = {
    "glcm": ["JointEntropy", "ClusterShade"],
    "glrlm": ["RunEntropy"],
    "glszm": ["ZoneEntropy"],
    "gldm": ["DependenceVariance"],
    "ngtdm": ["Busyness"],
}


@pytest.mark.parametrize(
    ("setting", "extractor", "codes"),
    [
        ({}, Ibsi(dimensionality="2D"), ["JJUI", "62GR"]),
        ({"force2D": True}, Ibsi(dimensionality="3D"), ["ITBB", "KOBO"]),
        ({"force2D": True, "force2Ddimension": 2}, Fast(), ["", ""]),
    ],
)
def test_the_aggregation_follows_the_extractor_and_knows_axial_slices_only(setting, extractor, codes):
    columns = ("original_glcm_Contrast", "original_glszm_ZoneEntropy")
    assert [meaning(column, setting, extractor)["ibsi_aggregation"] for column in columns] == codes
    assert meaning("original_firstorder_Mean", setting, extractor)["ibsi_aggregation"] == ""


def test_settings_of_an_image_type_go_before_those_of_the_file():
    types = {"LBP2D": {"force2D": True}, "LoG": {"sigma": [1.5], "force2D": True}, "SquareRoot": {"force2D": True}}
    for column in ("lbp-2D_glcm_Contrast", "log-sigma-1-5-mm-3D_glcm_Contrast", "squareroot_glcm_Contrast"):
        assert meaning(column, image_types=types)["ibsi_aggregation"] == "JJUI"
    assert meaning("original_glcm_Contrast", image_types=types)["ibsi_aggregation"] == "ITBB"


def changed(usual, other, feature_class, rng):
    """The features of a class that differ between two settings, on a region of noise."""
    volume, mask = digital_phantom()
    volume = volume.with_array(rng.normal(0, 4, volume.array.shape))
    values = [
        Fast().build({"setting": {"binWidth": 1, **setting}, "featureClass": {feature_class: None}})(volume, mask)
        for setting in (usual, other)
    ]
    return {name for name, value in values[0].values.items() if abs(values[1].values[name] / value - 1) > 1e-9}


@pytest.mark.parametrize(
    ("setting", "feature_class", "said"),
    [
        ({"voxelArrayShift": 500}, "firstorder", "differs: voxelArrayShift adds 500"),
        ({"symmetricalGLCM": False}, "glcm", "differs: pairs are counted one way"),
        ({"weightingNorm": "euclidean"}, "glcm", "differs: directions are weighted by their length"),
        ({"distances": [1, 2]}, "glcm", "differs: pairs of all distances in [1, 2] together"),
        ({"distances": [2]}, "gldm", "differs: neighbours at the distances [2] alone"),
        ({"distances": [2]}, "ngtdm", "differs: neighbours at the distances [2] alone"),
    ],
)
@pytest.mark.parametrize("extractor", [Fast(), Ibsi()], ids=["fast", "ibsi"])
def test_a_setting_that_changes_a_definition_is_told_of_the_features_that_it_changes(
    setting, feature_class, said, extractor, rng
):
    parameters = {"CT": {"setting": setting}}
    names = feature_names(json.dumps({"featureClass": {feature_class: None}}))
    table = data_dictionary([f"CT.{name}" for name in names], extractor, parameters)
    told = {c.removeprefix("CT.") for c in table["column"][table["ibsi_definition"].str.startswith(said)]}
    assert told
    found = changed({}, setting, feature_class, rng) - {"original_firstorder_TotalEnergy", "original_glcm_MCC"}
    assert told >= found
    if feature_class != "gldm":  # every feature of a class is told of, though a few may come out alike
        assert told == found


@pytest.mark.parametrize(
    ("column", "code", "said"),
    [
        ("original_glcm_Contrast", "", ""),
        ("gradient_glcm_Contrast", "", ""),
        ("wavelet-LLH_glcm_Contrast", "25BO", "same"),
        ("wavelet2-LLH_glcm_Contrast", "25BO", "differs: beyond the first level"),
        ("log-sigma-2-0-mm-3D_glcm_Contrast", "L6PA", "differs: recursive Gaussians, and times sigma squared"),
        (f"{Mean().name}_firstorder_Mean", "S60F", "same"),
        (f"{Laws().name}_firstorder_Mean", "JTXT", "same"),
    ],
)
def test_filters_carry_their_identity_in_the_second_manual(column, code, said):
    row = meaning(column, extractor=Ibsi(filters=(Mean(), Laws())))
    assert row["ibsi_filter"] == code
    assert row["ibsi_filter_definition"].startswith(said)
    assert bool(row["ibsi_filter_definition"]) == bool(said)


def test_pyradiomics_wavelet_is_ibsis_at_the_first_level_only(rng):
    array = rng.normal(size=(8, 10, 12))
    image, region = sitk.GetImageFromArray(array), sitk.GetImageFromArray(np.ones(array.shape, np.uint32))
    for result, name, _ in imageoperations.getWaveletImage(image, region, wavelet="db2", level=2):
        kind, _, band = name.partition("-")
        level = int(kind.removeprefix("wavelet") or 1)
        ours = Wavelet(wavelet="db2", band=band, level=level, pooling="none", boundary="periodic").build()
        same = np.allclose(ours(array, (1.0, 1.0, 1.0)), sitk.GetArrayFromImage(result), atol=1e-12)
        said = meaning(f"{name}_firstorder_Mean", image_types={"Wavelet": {"wavelet": "db2", "level": 2}})
        assert same == (said["ibsi_filter_definition"] == "same"), name
    deeper = {"Wavelet": {"start_level": 1}}
    assert meaning("wavelet-LLH_firstorder_Mean", image_types=deeper)["ibsi_filter_definition"].startswith("differs")
