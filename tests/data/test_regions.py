from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radfuse.config import Config
from radfuse.data.cohort import Cohort, Columns
from radfuse.data.geometry import Geometry
from radfuse.data.names import FeatureName, column, modality_of, region_of
from radfuse.data.reading.images import write_mask, write_volume
from radfuse.data.reading.tables import read_manifest
from radfuse.data.region import EVERY, label_text, labels_of
from radfuse.data.table import FeatureTable
from radfuse.data.volume import Mask, Volume
from radfuse.errors import CohortError, ConfigError, DataError
from radfuse.run.ledger import scans_digest
from radfuse.run.subjects import from_files

GRID = Geometry((6, 5, 4), (1.0, 1.0, 2.0))


@pytest.fixture
def label_map() -> Mask:
    """Three labels: 12 voxels of 1, 6 of 2, 4 of 5."""
    array = np.zeros(GRID.shape, np.uint8)
    array[0, :3, :4], array[1, :2, :3], array[3, :2, :2] = 1, 2, 5
    return Mask(array, GRID)


# Labels


@pytest.mark.parametrize("written", ["1+2", "2+1", "1 2", "1,2", "2; 1", "[1, 2]", "1|2", "1+2+2", [2, 1], (1.0, 2.0)])
def test_a_union_reads_alike_however_it_is_written(written):
    assert labels_of(written) == (1, 2)
    assert label_text(labels_of(written)) == "1+2"


@pytest.mark.parametrize("written", ["", "one", "1.5", "1+", "0+1", 0, "0", 0.0, "-1", [], True, None, [1, "x"]])
def test_what_is_no_label_is_refused(written):
    if written == "1+":
        assert labels_of(written) == (1,)
        return
    with pytest.raises(ConfigError, match="labels must be whole numbers"):
        labels_of(written)


def test_a_union_is_the_mask_of_the_union_in_any_order(label_map):
    expected = np.isin(label_map.array, [1, 5])
    np.testing.assert_array_equal(label_map.of((1, 5)).inside, expected)
    np.testing.assert_array_equal(label_map.of((5, 1)).inside, expected)
    assert label_map.of((1, 5)).voxels == 12 + 4
    assert label_map.of(EVERY).voxels == 12 + 6 + 4
    assert label_map.of((2, 7)).voxels == 6
    one = label_map.of((5,))
    assert one.voxels == 4
    assert one.array is label_map.array  # a single label keeps the map, as PyRadiomics hashes it


# Columns


def test_a_column_names_its_region_and_the_main_one_does_not():
    assert column("CT", "original_glcm_Contrast") == "CT.original_glcm_Contrast"
    name = column("fused-dwt3d-CT_PET", "original_glcm_Contrast", "rim-5")
    assert name == "fused-dwt3d-CT_PET:rim-5.original_glcm_Contrast"
    assert (modality_of(name), region_of(name)) == ("fused-dwt3d-CT_PET", "rim-5")
    parsed = FeatureName.parse(name)
    assert (parsed.modality, parsed.region, parsed.feature) == ("fused-dwt3d-CT_PET", "rim-5", "Contrast")
    assert parsed.place == "fused-dwt3d-CT_PET:rim-5"
    assert region_of("CT.original_glcm_Contrast") == ""
    assert FeatureName.parse("CT.original_glcm_Contrast").place == "CT"


def test_regions_of_a_modality_are_one_block_with_one_batch():
    ids = pd.Index(["a", "b"], name="subject")
    values = pd.DataFrame({"CT.f": [1.0, 2], "PET.f": [1.0, 2], "CT:node.f": [1.0, np.nan]}, index=ids)
    facts = pd.DataFrame({"outcome": [0, 1], "batch.CT": ["x", "y"]}, index=ids)
    table = FeatureTable(values, facts)
    assert table.modalities == ["CT", "PET"]
    assert table.columns_of("CT") == ["CT.f", "CT:node.f"]
    assert [name for name in table.rows() if name.startswith("@")] == ["@batch.CT"]


# Manifest


@pytest.fixture
def files(tmp_path: Path, label_map: Mask) -> Path:
    for subject in ("s1", "s2"):
        for modality in ("CT", "PET"):
            volume = Volume(np.zeros(GRID.shape, np.float32), GRID, modality, "a.u.")
            write_volume(tmp_path / f"{subject}_{modality}.nii.gz", volume)
            write_mask(tmp_path / f"{subject}_{modality}_all.nii.gz", label_map)
            node = Mask((label_map.array == 5).astype(np.uint8) * 3, GRID)
            write_mask(tmp_path / f"{subject}_{modality}_node.nii.gz", node)
    return tmp_path


def row(subject: str, modality: str, mask: str = "all", **more: object) -> dict[str, object]:
    name = f"{subject}_{modality}_{mask}.nii.gz" if mask else ""
    return {"subject": subject, "modality": modality, "image": f"{subject}_{modality}.nii.gz", "mask": name, **more}


def cohort_of(folder: Path, rows: list[dict[str, object]], **settings: object) -> Cohort:
    pd.DataFrame(rows).to_csv(folder / "m.csv", index=False)
    return Cohort.assemble(read_manifest(folder / "m.csv"), {}, Columns(), folder, **settings)


def test_rows_of_one_image_are_its_regions(files: Path):
    rows = [
        row("s1", "CT", region="tumour", label="2+1"),
        row("s1", "CT", "node", region="node", label=3),
        row("s1", "PET", region="tumour", label=1),
        row("s2", "CT", region="tumour", label=1),
    ]
    cohort = cohort_of(files, rows)
    assert [p for p in cohort.problems if p.fatal] == []
    assert cohort.regions == ("tumour", "node")
    assert len(cohort.scans) == 3
    subject = from_files("s1", cohort.scans_of("s1"))
    assert {name: mask.voxels for name, mask in subject.masks.items()} == {"CT": 18, "PET": 12}
    assert {name: mask.voxels for name, mask in subject.regions["node"].items()} == {"CT": 4}
    other = from_files("s2", cohort.scans_of("s2"))
    assert other.regions == {}
    assert other.absent == {"node": "node is not drawn"}


def test_the_config_names_the_labels_of_every_mask(files: Path):
    rows = [row("s1", "CT"), row("s1", "PET")]
    regions = {"tumour": (1,), "nodes": (2, 5), "all": EVERY, "metastasis": (9,)}
    cohort = cohort_of(files, rows, regions=regions)
    assert cohort.problems == ()
    subject = from_files("s1", cohort.scans_of("s1"))
    assert subject.masks["CT"].voxels == 12
    assert {name: own["PET"].voxels for name, own in subject.regions.items()} == {"nodes": 10, "all": 22}
    assert subject.absent == {
        "metastasis": "metastasis: no voxel of label 9 in s1_CT_all.nii.gz; "
        "metastasis: no voxel of label 9 in s1_PET_all.nii.gz"
    }


def test_the_main_region_is_the_first_unless_it_is_named(files: Path):
    regions = {"nodes": (2, 5), "tumour": (1,)}
    cohort = cohort_of(files, [row("s1", "CT")], regions=regions, region="tumour")
    assert cohort.regions == ("tumour", "nodes")
    assert from_files("s1", cohort.scans_of("s1")).masks["CT"].voxels == 12
    named = [row("s1", "CT", region="nodes", label="2+5"), row("s1", "CT", region="tumour")]
    assert cohort_of(files, named).regions == ("nodes", "tumour")
    by_name = cohort_of(files, named, region="tumour")
    assert from_files("s1", by_name.scans_of("s1")).regions["nodes"]["CT"].voxels == 10
    wrong = cohort_of(files, named, region="lesion")
    assert [p.what for p in wrong.fatal] == ["cohort.region is 'lesion'; the regions are nodes, tumour"]


def test_the_main_region_has_to_be_there(files: Path):
    cohort = cohort_of(files, [row("s1", "CT", label="7+9")])
    with pytest.raises(DataError, match=r"no voxel of label 7\+9; labels present: 1, 2, 5"):
        from_files("s1", cohort.scans_of("s1"))


@pytest.mark.parametrize(
    ("change", "regions", "expected"),
    [
        ({"region": ["a", "a"]}, {}, "CT lists the region 'a' twice"),
        ({"region": ["a.b", "c"]}, {}, "region 'a.b' must be a letter"),
        ({"region": ["a", "b"], "image": ["s1_CT.nii.gz", "s1_PET.nii.gz"]}, {}, "CT is listed 2 times"),
        ({"region": ["a", "b"]}, {"tumour": (1,)}, "the manifest's column `region` both say"),
        ({"label": [1, 2]}, {"tumour": (1,)}, "the manifest's column `label` both say"),
        ({}, {}, "CT is listed 2 times"),
    ],
)
def test_what_contradicts_itself_is_fatal(files: Path, change, regions, expected):
    rows = pd.DataFrame([row("s1", "CT"), row("s1", "CT")]).assign(**change).to_dict("records")
    cohort = cohort_of(files, rows, regions=regions)
    assert any(expected in problem.what for problem in cohort.fatal)


def test_a_subject_without_the_main_region_is_left_out_by_name(files: Path):
    cohort = cohort_of(files, [row("s1", "CT", region="thigh"), row("s2", "CT", region="arm")])
    assert [(p.subject, p.what, p.fatal) for p in cohort.problems] == [
        ("s2", "has no mask of the main region 'thigh'", False)
    ]


def test_a_mask_of_a_further_region_that_is_not_on_the_disk_leaves_its_subject_out(files: Path):
    cohort = cohort_of(files, [row("s1", "CT", region="a"), row("s1", "CT", "gone", region="b")])
    assert ["CT mask not found" in p.what and not p.fatal for p in cohort.problems] == [True]


def test_a_label_that_is_no_label_is_refused_and_not_taken_for_1(files: Path):
    with pytest.raises(CohortError, match="labels must be whole numbers"):
        cohort_of(files, [row("s1", "CT", label="tumour")])


def test_keys_of_a_study_with_one_region_stay_and_every_further_region_counts(files: Path):
    plain = scans_digest(cohort_of(files, [row("s1", "CT", label=1)]), "s1")
    assert [len(entry) for entry in plain] == [4]
    assert plain[0][:2] == ("CT", 1)
    union = scans_digest(cohort_of(files, [row("s1", "CT", label="1+2")]), "s1")
    assert union[0][1] == "1+2"
    node = [row("s1", "CT", region="t", label=1), row("s1", "CT", "node", region="node", label=3)]
    further = scans_digest(cohort_of(files, node), "s1")
    assert further[0][:4] == plain[0]
    assert further[0][4][:2] == ("node", "3")
    # Somebody without the node has its columns all the same, empty: that is another result too.
    lacking = scans_digest(cohort_of(files, [*node, row("s2", "CT", region="t", label=1)]), "s2")
    assert lacking[0][4] == ("node", "1", "")


def test_regions_of_the_config_are_read_and_written_alike():
    given = {"cohort": {"outcome": "y", "regions": {"tumour": 1, "nodes": "3+2", "both": "all"}}}
    config = Config.model_validate(given)
    assert config.cohort.regions == {"tumour": (1,), "nodes": (2, 3), "both": EVERY}
    assert Config.model_validate(config.model_dump(mode="json")).cohort.regions == config.cohort.regions
    for regions, message in (({"a.b": 1}, "must be a letter"), ({"a": "x"}, "labels must be whole numbers")):
        with pytest.raises(ValueError, match=message):
            Config.model_validate({"cohort": {"outcome": "y", "regions": regions}})
    rim = {"regions": {"nodes": "ring"}}
    with pytest.raises(ValueError, match="a second region 'nodes'"):
        Config.model_validate({**given, "extract": rim})
