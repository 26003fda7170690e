import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
import yaml
from conftest import radfuse
from radiomics import imageoperations

from radfuse.config import Config, read_config
from radfuse.data.box import box_of, size_of
from radfuse.data.geometry import Geometry
from radfuse.data.phantom import Phantom
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask
from radfuse.errors import CohortError, ConfigError
from radfuse.extract.minimum import refusal, region_measured
from radfuse.run.demo import write_cohort
from radfuse.run.preflight import Foreseen
from radfuse.run.progress import Silent
from radfuse.run.session import Session
from radfuse.run.study import run_study
from radfuse.run.subjects import load_aligned
from radfuse.run.tables import extract_table
from radfuse.run.validate import problems_of, regions_of

FIRST_ORDER = {
    "imageType": {"Original": {}},
    "featureClass": {"firstorder": ["Mean", "Entropy", "Range", "Energy"], "shape": ["MeshVolume", "Sphericity"]},
    "setting": {"binWidth": 10, "additionalInfo": False},
}


def with_node(mask: Mask, radius_mm: float) -> Mask:
    """Draw a second ball, label 2, behind the lesion."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in mask.geometry.shape), indexing="ij")
    points = np.stack([x, y, z, np.ones_like(x)], axis=-1) @ mask.geometry.index_to_physical.T
    centre = points[mask.inside].mean(axis=0)[:3] + np.array([22.0, 0.0, 0.0])
    node = np.linalg.norm(points[..., :3] - centre, axis=-1) <= radius_mm
    return Mask(np.where(node & ~mask.inside, 2, mask.array).astype(np.uint8), mask.geometry)


def study_of(folder: Path, radii_mm: list[float], **settings: object) -> Path:
    """Phantom patients with a lesion (1) and a node (2) of the given radii; 0 is a patient without one."""
    cohort = Phantom(subjects=len(radii_mm), seed=5).cohort()
    for subject, radius in zip(cohort.subjects, radii_mm, strict=True):
        masks = {name: with_node(mask, radius) if radius else mask for name, mask in subject.masks.items()}
        object.__setattr__(subject, "masks", masks)
    write_cohort(folder, cohort)
    config = {
        "cohort": {
            "tables": ["clinical.csv"],
            "outcome": "outcome",
            "batches": {"CT": "scanner_ct"},
            "regions": {"tumour": 1, "node": 2},
        },
        "align": {"spacing_mm": 3.0, "registration": "none"},
        "fuse": {"methods": ["average"]},
        "extract": {"parameters": {"default": FIRST_ORDER}},
        "harmonize": {"harmonizer": "none"},
        "train": {
            "fusions": ["early"],
            "splits": {"folds": 2, "repeats": 1},
            "bootstrap": 50,
        },
        "report": {"examples": 1},
        "tracking": {"models": False},
    }
    for key, value in settings.items():
        section, _, name = key.partition("__")
        config[section][name] = value
    (folder / "radfuse.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder


def foreseen(folder: Path) -> dict[tuple[str, str], Foreseen]:
    return {(each.subject[-3:], each.region): each for each in regions_of(read_config(folder / "radfuse.yaml"))}


def aligned(folder: Path, subject: str) -> Subject:
    with Session(read_config(folder / "radfuse.yaml"), folder, only=(subject,)) as session:
        session.align()
        return load_aligned(session.store, subject)


def test_what_is_foreseen_is_what_align_makes(tmp_path: Path) -> None:
    folder = study_of(tmp_path, [8.0, 3.0, 0.0], extract__regions={"rim": {"method": "ring", "outer_mm": 6}})
    found = foreseen(folder)
    for number, node in (("001", True), ("003", False)):
        subject = aligned(folder, f"phantom-{number}")
        tumour = found[number, "tumour"]
        assert tumour.voxels_aligned == tumour.voxels_measured == subject.masks["CT"].voxels
        assert tumour.measured_in == "CT, PET, fused-average-CT_PET"
        assert (tumour.drawn_on, tumour.labels, tumour.verdict) == ("CT", "1", "")
        assert ("node" in subject.regions) == node
        if node:
            assert found[number, "node"].voxels_aligned == subject.regions["node"]["CT"].voxels
    ring = found["001", "rim"]
    assert ring.voxels_drawn is None
    assert ring.voxels_aligned > found["001", "tumour"].voxels_aligned
    small, gone = found["002", "node"], found["003", "node"]
    assert small.verdict == "no value"
    assert small.why.endswith("voxels on the common grid, expected at least 27")
    assert (gone.verdict, gone.why) == ("no value", "node: no voxel of label 2 in PET_mask.nii.gz")


def see_less(folder: Path, subject: str, name: str, planes: int) -> None:
    """Let a scan end so many planes after the lesion begins, along x."""
    image, mask = (folder / "images" / subject / f"{name}{part}.nii.gz" for part in ("", "_mask"))
    first = int(np.argwhere(sitk.GetArrayFromImage(sitk.ReadImage(str(mask))) == 1)[:, 2].min())
    for path in (image, mask):
        sitk.WriteImage(sitk.ReadImage(str(path))[: first + planes], str(path))


def test_what_a_scan_does_not_show_is_foreseen_as_align_finds_it(tmp_path: Path) -> None:
    folder = study_of(tmp_path, [8.0] * 3, extract__regions={"rim": {"method": "ring", "outer_mm": 6}})
    see_less(folder, "phantom-001", "PET", 3)
    see_less(folder, "phantom-002", "PET", 1)
    found = {(each.subject[-3:], each.region, each.measured_in): each
             for each in regions_of(read_config(folder / "radfuse.yaml"))}  # fmt: skip
    subject, main = aligned(folder, "phantom-001"), found["001", "tumour", "PET, fused-average-CT_PET"]
    shown = subject.cut("PET", subject.masks["PET"]).voxels
    assert 27 <= shown == main.voxels_measured < main.voxels_aligned == subject.masks["PET"].voxels
    assert main.outside == pytest.approx(1 - shown / main.voxels_aligned, abs=1e-6)
    assert main.verdict == ""
    assert found["001", "tumour", "CT"].outside == found["003", "tumour", "CT, PET, fused-average-CT_PET"].outside == 0
    node = found["001", "node", "PET"]
    assert (node.verdict, node.outside) == ("no value", 1)
    assert node.why.endswith(" voxels are in the field of view of PET, expected at least 27")
    assert set(subject.regions["node"]) == {"CT"}
    assert found["001", "rim", "CT"].voxels_measured > found["001", "rim", "PET, fused-average-CT_PET"].voxels_measured
    failing = found["002", "tumour", "PET"]
    assert failing.verdict == "fails"
    assert failing.why.startswith(f"by the headers {failing.voxels_measured} of its {failing.voxels_aligned} voxels")
    assert "another part of the body" in failing.problem.hint
    registered = regions_of(read_config(folder / "radfuse.yaml", ["align.registration=rigid"]))
    by_headers = [each.why for each in registered if each.why.startswith("by the headers")]
    assert by_headers
    assert all(why.endswith("; registration may still move it") for why in by_headers)
    with Session(read_config(folder / "radfuse.yaml"), folder, only=("phantom-002",)) as session:
        (failed,) = session.align()
    left = f"holds {failing.voxels_measured} of the region's {failing.voxels_aligned} voxels"
    assert f"the field of view of PET {left}" in failed.what


def test_a_main_region_that_would_fail_does_so_before_hours_are_spent(tmp_path: Path) -> None:
    folder = study_of(tmp_path, [8.0] * 4)
    mask = folder / "images" / "phantom-002" / "CT_mask.nii.gz"
    tiny = sitk.GetArrayFromImage(sitk.ReadImage(str(mask)))
    lesion = np.argwhere(tiny == 1)
    tiny[tiny == 1] = 0
    tiny[tuple(lesion[0])] = 1
    whole = sitk.ReadImage(str(mask))
    image = sitk.GetImageFromArray(tiny)
    image.CopyInformation(whole)
    sitk.WriteImage(image, str(mask))
    done = radfuse("validate", "--regions", tmp_path / "regions.csv", cwd=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "phantom-002: region tumour:" in done.stdout
    assert "expected at least 27 [leaves the subject out]" in done.stdout
    table = pd.read_csv(tmp_path / "regions.csv").set_index(["subject", "region"])
    assert table.loc[("phantom-002", "tumour"), "voxels_drawn"] == 1
    assert (table["verdict"] == "fails").sum() == 1
    assert not (folder / "runs").exists()
    found = json.loads(radfuse("validate", "--json", cwd=folder).stdout)
    assert [problem["subject"] for problem in found if problem["subject"]] == ["phantom-002"]


def test_few_voxels_are_a_warning_and_no_failure(tmp_path: Path) -> None:
    folder = study_of(tmp_path, [8.0] * 4, cohort__few_voxels=100_000)
    found = foreseen(folder)
    assert {each.verdict for each in found.values()} == {"few"}
    brought = {"align__template": {"image": "mni.nii.gz", "sha256": "0" * 64}}
    on_template = foreseen(study_of(tmp_path / "brought", [8.0] * 4, cohort__few_voxels=100_000, **brought))
    assert {each.why.partition(" (")[2] for each in on_template.values()} == {
        "in the patient's space; on the template it will be larger or smaller)"
    }
    assert [p.what for p in problems_of(read_config(folder / "radfuse.yaml")) if p.subject] == []
    done = radfuse("validate", cwd=folder)
    assert done.returncode == 0, done.stdout
    assert "fewer than 100000" in done.stdout.replace("\n", " ")


def test_every_modality_follows_its_own_parameters(tmp_path: Path) -> None:
    coarse = {**FIRST_ORDER, "setting": {**FIRST_ORDER["setting"], "resampledPixelSpacing": [6, 6, 6]}}
    large = {**FIRST_ORDER, "setting": {**FIRST_ORDER["setting"], "minimumROISize": 10_000}}
    parameters = {"CT": FIRST_ORDER, "PET": coarse, "fused": large}
    folder = study_of(tmp_path, [8.0] * 4, extract__parameters=parameters)
    rows = [each for each in regions_of(read_config(folder / "radfuse.yaml")) if each.subject == "phantom-001"]
    tumour = {each.measured_in: each for each in rows if each.region == "tumour"}
    assert set(tumour) == {"CT", "PET", "fused-average-CT_PET"}
    assert tumour["PET"].voxels_measured < tumour["CT"].voxels_measured / 6
    assert tumour["fused-average-CT_PET"].verdict == "fails"
    assert "are not more than minimumROISize (10000)" in tumour["fused-average-CT_PET"].why


@pytest.mark.parametrize(
    ("regions", "align", "message", "fatal"),
    [
        ({"rim": {"method": "ring", "of": "nodes"}}, {}, "names the region 'nodes'; beside the main region", True),
        ({"rim": {"method": "ring", "avoid": ["x"]}}, {}, "names the region 'x'", True),
        ({"h": {"method": "habitats", "modalities": ["CT", "MR"], "order_by": "MR"}}, {}, "needs MR, which is", True),
        ({"rim": {"method": "ring", "above_hu": -300, "ct": "CT_late"}}, {}, "needs CT_late", True),
        ({"rim": {"method": "ring", "outer_mm": 12}}, {"margin_mm": 5}, "reaches 12 mm, but align.margin_mm", False),
    ],
)
def test_derived_regions_that_cannot_be_are_named(tmp_path: Path, regions, align, message, fatal) -> None:
    folder = study_of(tmp_path, [8.0] * 4, extract__regions=regions)
    config = read_config(folder / "radfuse.yaml", [f"align.{name}={value}" for name, value in align.items()])
    said = [problem for problem in problems_of(config) if message in problem.what]
    assert [problem.fatal for problem in said] == [fatal]
    if fatal:
        assert regions_of(config) == []
        with Session(config, folder) as session, pytest.raises(CohortError, match=message):
            run_study(session)
        assert not (folder / "runs" / "main" / "align").exists()


def test_a_gpu_that_is_not_there_is_missed_before_anything_is_aligned(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = study_of(tmp_path, [8.0] * 4)
    config = read_config(folder / "radfuse.yaml", ["execution.device=cuda"])
    with Session(config, folder) as session, pytest.raises(ConfigError, match="finds no CUDA device"):
        run_study(session)
    assert not (folder / "runs" / "main" / "align").exists()


def test_a_modality_without_parameters_is_named_before_hours_are_spent(tmp_path: Path) -> None:
    folder = study_of(tmp_path, [8.0] * 4, extract__parameters={"CT": FIRST_ORDER, "fused": FIRST_ORDER})
    config = read_config(folder / "radfuse.yaml")
    said = [problem for problem in problems_of(config) if problem.fatal]
    assert [problem.what for problem in said] == [
        "extract: no PyRadiomics parameters for PET; there are some for CT, fused"
    ]
    assert regions_of(config) == []


def test_names_of_the_manifest_and_derived_ones_must_differ(tmp_path: Path) -> None:
    folder = study_of(tmp_path, [8.0] * 4, cohort__regions={}, extract__regions={"node": "ring"})
    manifest = pd.read_csv(folder / "manifest.csv")
    named = pd.concat([manifest.assign(region="tumour", label=1), manifest.assign(region="node", label=2)])
    named.to_csv(folder / "manifest.csv", index=False)
    said = [problem.what for problem in problems_of(read_config(folder / "radfuse.yaml")) if problem.fatal]
    assert "extract.regions.node would be a second region 'node'" in said


# The minimum, as PyRadiomics sees it


def box(*size: int) -> Mask:
    array = np.zeros((9, 9, 9), np.uint8)
    array[tuple(slice(2, 2 + n) for n in size[::-1])] = 1
    return Mask(array, Geometry((9, 9, 9), (1.0, 1.0, 2.0)))


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((1, 1, 1), {}),
        ((4, 1, 1), {}),
        ((4, 1, 1), {"minimumROIDimensions": 1}),
        ((4, 3, 1), {}),
        ((4, 3, 1), {"minimumROIDimensions": 3}),
        ((4, 3, 2), {"minimumROISize": 24}),
        ((4, 3, 2), {"minimumROISize": 23}),
    ],
)
def test_the_minimum_is_that_of_pyradiomics(size, settings):
    mask = box(*size)
    assert size_of(box_of(mask.inside)) == size
    image = sitk.Cast(mask.to_sitk(), sitk.sitkFloat32)
    try:
        imageoperations.checkMask(image, mask.to_sitk(), label=1, **settings)
        accepted = True
    except ValueError:
        accepted = False
    assert (refusal(mask, settings) == "") == accepted


def test_an_empty_region_is_refused():
    assert refusal(Mask(np.zeros((3, 3, 3), np.uint8), Geometry((3, 3, 3), (1.0, 1.0, 1.0))), {}) == "no voxel is left"


@pytest.mark.parametrize("spacing", [[2, 2, 2], [0.7, 0.7, 0.7], [0, 0, 3]])
def test_resampling_is_foreseen_as_pyradiomics_does_it(rng, spacing):
    mask = box(5, 4, 3)
    image = sitk.Cast(mask.to_sitk(), sitk.sitkFloat32)
    region = sitk.Cast(mask.to_sitk(), sitk.sitkUInt32)
    settings = {"resampledPixelSpacing": spacing, "interpolator": "sitkBSpline", "label": 1}
    _, expected = imageoperations.resampleImage(image, region, **settings)
    found = region_measured(mask, {"resampledPixelSpacing": spacing})
    np.testing.assert_array_equal(found.array, sitk.GetArrayFromImage(expected))
    assert region_measured(mask, {}) is mask


# The whole way


def redone(folder: Path, *changes: str) -> dict[str, int]:
    """How many results of each stage would be computed again after a change."""
    with Session(read_config(folder / "radfuse.yaml", changes), folder, looking=True) as session:
        return {stage: session.plan(stage)["redo"] for stage in ("align", "fuse", "extract")}


def test_a_manifest_with_regions_is_measured_as_it_is_without_a_study(tmp_path: Path) -> None:
    folder = study_of(tmp_path, [8.0, 0.0])
    manifest = pd.read_csv(folder / "manifest.csv")
    manifest = manifest[manifest["modality"] == "CT"]
    named = pd.concat([manifest.assign(region="both", label="1+2"), manifest.assign(region="node", label="2")])
    named.to_csv(folder / "manifest.csv", index=False)
    (folder / "p.yaml").write_text(yaml.safe_dump(FIRST_ORDER))
    problems = extract_table(
        folder / "manifest.csv", ((), ()), [str(folder / "p.yaml")], ["execution.jobs=1"], folder / "f.csv", Silent()
    )
    assert problems == []
    features = pd.read_csv(folder / "f.csv").set_index("subject")
    first = folder / "images" / "phantom-001"
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(first / "CT.nii.gz"))).astype(float)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(first / "CT_mask.nii.gz")))
    row = features.loc["phantom-001"]
    assert row["CT.original_firstorder_Mean"] == pytest.approx(values[labels > 0].mean(), rel=1e-12)
    assert row["CT:node.original_firstorder_Mean"] == pytest.approx(values[labels == 2].mean(), rel=1e-12)
    assert features.loc["phantom-002"].notna().to_dict() == {name: ":" not in name for name in features}


@pytest.mark.slow
def test_two_regions_from_the_masks_to_the_models(tmp_path: Path) -> None:
    derived = {
        "rim": {"method": "ring", "outer_mm": 6, "avoid": ["node"]},
        "habitat": {"method": "habitats", "clusters": 2},
    }
    folder = study_of(tmp_path, [8.0] * 6 + [0.0] * 2, extract__regions=derived)
    done = radfuse("run", "-q", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "phantom-008, region node: node: no voxel of label 2 in PET_mask.nii.gz [its features will be" in done.stderr
    run = folder / "runs" / "main"
    features = pd.read_csv(run / "features.csv").set_index("subject")
    prefixes = set(features.columns.str.partition(".").get_level_values(0))
    names = ("CT", "PET", "fused-average-CT_PET")
    regions = ("", ":node", ":rim", ":habitat1", ":habitat2")
    assert prefixes == {f"{name}{region}" for name in names for region in regions}
    node = [name for name in features if ":node." in name]
    assert features[node].iloc[:6].notna().to_numpy().all()
    assert features[node].iloc[6:].isna().to_numpy().all()
    assert features[[name for name in features if name not in node]].notna().to_numpy().all()
    mean = "PET:habitat{}.original_firstorder_Mean"
    assert (features[mean.format(1)] < features[mean.format(2)]).all()
    auc = pd.read_csv(run / "report" / "auc.csv").set_index("arm")
    assert {"single-CT-logistic", "single-PET-logistic", "early-logistic", "baseline-volume"} <= set(auc.index)
    assert set(auc["modalities"]) <= {"CT", "PET", "CT+PET", "fused-average-CT_PET"}
    page = (run / "report" / "index.html").read_text()
    assert "CT:habitat1" in page
    assert "fused-average-CT_PET:node" in page
    assert len(pd.read_csv(run / "regions.csv")) == 8 * 3
    records = [json.loads((run / "extract" / f"phantom-{n:03d}" / "record.json").read_text()) for n in (1, 8)]
    assert [record["findings"]["missing"] for record in records] == [0, len(node)]
    assert "no voxel of label 2" in next(iter(records[1]["findings"]["why"].values()))
    assert redone(folder) == {"align": 0, "fuse": 0, "extract": 0}
    assert redone(folder, "extract.regions.rim.outer_mm=5") == {"align": 0, "fuse": 0, "extract": 8}
    assert redone(folder, "cohort.regions.node=3") == {"align": 8, "fuse": 8, "extract": 8}


@pytest.mark.cohort
def test_the_sarcoma_cohort_is_foreseen_in_seconds(sts: Path) -> None:
    config: Config = read_config(Path(__file__).parents[2] / "configs" / "sts.yaml", [f"cohort.root={sts}"])
    began = time.perf_counter()
    found = regions_of(config)
    assert time.perf_counter() - began < 30
    assert len(found) == 39
    assert {each.verdict for each in found} == {""}
