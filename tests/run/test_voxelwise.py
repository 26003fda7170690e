"""`radfuse extract --voxelwise`: maps in the run folder, on the images' own grids, made once."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from radfuse.cli.app import app
from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_mask, read_volume, write_mask, write_volume
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, StageError
from radfuse.extract.voxelwise.stage import DEFAULT_FEATURES, Voxelwise
from radfuse.run.executors.local import LocalExecutor
from radfuse.run.voxelwise import map_file, write_map

GRID = Geometry((14, 12, 8), (2.0, 2.0, 2.0), (-10.0, 5.0, 30.0), (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
CONFIG = """
name: mapped
cohort: {manifest: manifest.csv, tables: [facts.csv], outcome: outcome, reference: CT}
align: {spacing_mm: 2.0, registration: {method: none}}
fuse: {methods: [average]}
extract:
  parameters:
    CT: {imageType: {Original: {}}, setting: {binWidth: 25}}
    default: {imageType: {Original: {}, Wavelet: {}}, setting: {binCount: 8}}
execution: {jobs: 1}
"""
IN_WORKERS = LocalExecutor.map
FEW = ("--feature", "original_firstorder_Mean", "--feature", "PET.original_ngtdm_*")


@pytest.fixture(scope="module", autouse=True)
def here():
    """Work in this process: a worker loads its libraries for seconds in every test. One test uses workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalExecutor, "map", lambda self, work, tasks, lost: ((task, work(task)) for task in tasks))
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Two patients with CT and PET, aligned and fused; the CT of one has a bright voxel of known place."""
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(0)
    inside = np.zeros(GRID.shape, np.uint8)
    inside[2:6, 3:9, 3:10] = 1
    rows = []
    for subject in ("a", "b"):
        for name, factor in (("CT", 30.0), ("PET", 2.0)):
            array = (rng.normal(size=GRID.shape) * factor).astype(np.float32)
            if (subject, name) == ("a", "CT"):
                array[3, 4, 6] = 5000.0
            write_volume(folder / subject / f"{name}.nii.gz", Volume(array, GRID, name, ""))
            write_mask(folder / subject / "mask.nii.gz", Mask(inside, GRID))
            rows.append((subject, name, f"{subject}/{name}.nii.gz", f"{subject}/mask.nii.gz"))
    pd.DataFrame(rows, columns=["subject", "modality", "image", "mask"]).to_csv(folder / "manifest.csv", index=False)
    pd.DataFrame({"subject": ["a", "b"], "outcome": [0, 1]}).to_csv(folder / "facts.csv", index=False)
    (folder / "radfuse.yaml").write_text(CONFIG)
    for command in ("align", "fuse"):
        assert typed(folder, command).exit_code == 0
    return folder


def typed(folder: Path, command: str, *arguments: str):
    done = CliRunner().invoke(app, [command, str(folder / "radfuse.yaml"), "--quiet", *arguments])
    if isinstance(done.exception, Exception) and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def maps(folder: Path, *arguments: str):
    return typed(folder, "extract", "--voxelwise", *arguments)


def folder_of(study: Path, subject: str) -> Path:
    return study / "runs" / "main" / "voxelwise" / subject


def test_maps_lie_in_the_world_where_the_image_does_and_are_made_once(study: Path):
    done = maps(study, *FEW)
    assert done.exit_code == 0
    # CT, PET and the fused volume have a mean; PET has five of NGTDM: 8 maps for each of two subjects.
    assert "16 maps of 2 subjects, about 0.0 MB; those of 0 subjects stand" in done.stdout
    found = sorted(path.name for path in folder_of(study, "a").glob("*.nii.gz"))
    assert len(found) == 8
    assert map_file("fused-average-CT_PET", "original_firstorder_Mean") in found
    image = sitk.ReadImage(str(folder_of(study, "a") / "CT.original_firstorder_Mean.nii.gz"))
    values = sitk.GetArrayFromImage(image)
    bright = np.argwhere(values > 100)
    assert len(bright) == 27
    middle = image.TransformContinuousIndexToPhysicalPoint(bright.mean(0)[::-1].tolist())
    np.testing.assert_allclose(middle, (GRID.index_to_physical @ [6, 4, 3, 1])[:3], atol=1e-4)
    aligned = read_volume(study / "runs/main/align/a/CT.nii.gz", "CT", "HU")
    assert image.GetSize() == aligned.geometry.size
    mask = read_mask(study / "runs/main/align/a/CT.mask.nii.gz")
    stored = np.asarray(nibabel.load(folder_of(study, "a") / "CT.original_firstorder_Mean.nii.gz").dataobj).T
    np.testing.assert_array_equal(np.isnan(stored), ~mask.inside)

    again = maps(study, *FEW)
    assert "0 maps of 0 subjects" in again.stdout
    before = {path.name: path.stat().st_mtime_ns for path in folder_of(study, "a").glob("*.nii.gz")}
    more = maps(study, "--feature", "CT.original_glcm_Contrast", "--subject", "a")
    assert "1 maps of 1 subjects" in more.stdout
    after = {path.name: path.stat().st_mtime_ns for path in folder_of(study, "a").glob("*.nii.gz")}
    assert set(after) - set(before) == {"CT.original_glcm_Contrast.nii.gz"}
    assert {name: after[name] for name in before} == before


def test_a_wider_neighbourhood_replaces_the_maps_and_a_lost_file_comes_back(study: Path):
    maps(study, "--run", "main", *FEW)
    path = folder_of(study, "b") / "CT.original_firstorder_Mean.nii.gz"
    narrow = path.read_bytes()
    path.unlink()
    assert "8 maps of 1 subjects" in maps(study, *FEW).stdout
    assert path.read_bytes() == narrow
    done = maps(study, "--kernel-radius", "2", "--whole-kernel", "--threads", "2", "--subject", "b", *FEW[:2])
    assert done.exit_code == 0
    assert path.read_bytes() != narrow
    assert not list(folder_of(study, "b").glob("PET.original_ngtdm*")), "maps of another neighbourhood would mislead"
    maps(study, "--subject", "b", *FEW)
    assert path.read_bytes() == narrow


def test_workers_write_the_same_bytes(study: Path, monkeypatch: pytest.MonkeyPatch):
    maps(study, *FEW[:2])
    before = {path: path.read_bytes() for path in (study / "runs/main/voxelwise").rglob("*_Mean.nii.gz")}
    monkeypatch.setattr(LocalExecutor, "map", IN_WORKERS)
    other = list((study / "runs/main/voxelwise").rglob("*ngtdm*"))
    assert maps(study, "--redo", "--jobs", "2", *FEW[:2]).exit_code == 0
    assert len(before) == 6
    assert other
    assert all(path.is_file() for path in other), "what was not asked for is not redone, nor lost"
    assert {path: path.read_bytes() for path in before} == before


def test_a_dry_run_tells_the_need_and_writes_nothing(study: Path):
    there = sorted((study / "runs").rglob("*"))
    done = maps(study, "--dry-run", "--kernel-radius", "3")
    assert f"{3 * 2 * len(DEFAULT_FEATURES)} maps of 2 subjects" in done.stdout
    need = json.loads(maps(study, "--dry-run", "--json", "--kernel-radius", "3").stdout)["plan"]["voxelwise"]
    assert need["maps"] == 30
    assert 30 * 4 * 4 * 6 * 7 < need["bytes"] < 60 * 4 * 4 * 6 * 7
    assert sorted((study / "runs").rglob("*")) == there


def test_the_estimate_bounds_what_is_written(study: Path):
    need = json.loads(maps(study, "--dry-run", "--json", "--run", "main", "--redo", *FEW).stdout)["plan"]["voxelwise"]
    maps(study, "--redo", *FEW)
    written = sum(path.stat().st_size for s in "ab" for path in folder_of(study, s).glob("*.nii.gz"))
    assert 0.3 * need["bytes"] < written <= need["bytes"]


def test_an_unknown_feature_and_a_full_disk_are_refused(study: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="did you mean 'original_glcm_Contrast'"):
        maps(study, "--feature", "original_glcm_Contrasts")
    assert typed(study, "extract", "--kernel-radius", "2").exit_code == 2
    assert maps(study, "--method", "pyradiomics").exit_code == 2
    monkeypatch.setattr("radfuse.run.voxelwise.shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(StageError, match="has 0 MB left"):
        maps(study, "--kernel-radius", "4", *FEW)


def test_a_subject_that_fails_is_named_and_the_others_finish(study: Path):
    done = maps(study, "--set", "extract.parameters.CT.setting.binWidth=0.001", "--feature", "original_glcm_Contrast")
    assert done.exit_code == 1
    assert "a: voxelwise: binWidth 0.001 cuts the region" in done.stderr
    lines = (study / "runs/main/report/failures.csv").read_text()
    assert 'a,voxelwise,"binWidth 0.001' in lines


SQUARE = ("--set", "extract.parameters.CT.imageType.Square.binWidth=0.001")


def test_a_failure_keeps_the_maps_that_stand_and_stands_only_for_what_was_asked(study: Path):
    assert maps(study, *SQUARE, "--feature", "CT.original_glcm_Contrast").exit_code == 0
    path = folder_of(study, "a") / "CT.original_glcm_Contrast.nii.gz"
    made = path.stat().st_mtime_ns
    both = (*SQUARE, "--feature", "CT.*_glcm_Contrast")
    assert maps(study, *both).exit_code == 1
    record = json.loads((folder_of(study, "a") / "record.json").read_text())
    assert (record["status"], list(record["files"])) == ("failed", [path.name])
    again = maps(study, *both)
    assert "0 maps of 0 subjects" in again.stdout, "bad data fails the same way until it changes"
    assert again.exit_code == 1
    # The line stays when another command writes failures.csv, and is part of its exit code.
    other = typed(study, "align", *SQUARE)
    assert other.exit_code == 1
    assert "a: voxelwise: binWidth 0.001" in other.stderr
    assert "a,voxelwise," in (study / "runs/main/report/failures.csv").read_text()
    assert typed(study, "align").exit_code == 0, "with other parameters that failure is of no account"
    good = (*SQUARE, "--feature", "CT.original_glcm_Contrast", "--feature", "CT.original_firstorder_Mean")
    done = maps(study, *good)
    assert "2 maps of 2 subjects" in done.stdout
    assert done.exit_code == 0
    assert path.stat().st_mtime_ns == made
    assert typed(study, "align", *SQUARE).exit_code == 0


def test_what_was_asked_for_less_of_after_a_failure_is_no_failure(study: Path):
    few = (*SQUARE, "--feature", "CT.original_glcm_Contrast")
    maps(study, *few)
    assert maps(study, *SQUARE, "--feature", "CT.*_glcm_Contrast").exit_code == 1
    done = maps(study, *few)
    assert "0 maps of 2 subjects" in done.stdout
    assert done.exit_code == 0


@pytest.mark.parametrize(("how", "volume"), [("interrupted", "CT"), ("killed", "PET")])
def test_a_mapping_that_is_cut_off_keeps_the_maps_it_made(
    study: Path, monkeypatch: pytest.MonkeyPatch, how: str, volume: str
):
    mean = ("--subject", "a", "--feature", "CT.original_firstorder_Mean")
    maps(study, *mean)
    before = {path.name: path.stat().st_mtime_ns for path in folder_of(study, "a").glob("*.nii.gz")}
    mapping = Voxelwise.__call__

    def cut_off(stage, subject, wanted, threads=1, device="cpu"):
        yield next(iter(mapping(stage, subject, wanted, threads, device)))
        raise KeyboardInterrupt

    def dies(executor, work, tasks, lost):
        for task in tasks:
            with pytest.raises(KeyboardInterrupt):
                work(task)
            if how == "interrupted":
                raise KeyboardInterrupt
            yield task, lost(task)

    # Range, RobustMeanAbsoluteDeviation and RootMeanSquared.
    four = (*mean, "--feature", f"{volume}.original_firstorder_R*")
    with monkeypatch.context() as patch:
        patch.setattr(Voxelwise, "__call__", cut_off)
        patch.setattr(LocalExecutor, "map", dies)
        typed(study, "extract", "--voxelwise", *four)
    there = {path.name: path.stat().st_mtime_ns for path in folder_of(study, "a").glob("*.nii.gz")}
    assert before.items() <= there.items()
    assert len(there) == len(before) + 1
    assert "2 maps of 1 subjects" in maps(study, *four).stdout
    after = {path.name: path.stat().st_mtime_ns for path in folder_of(study, "a").glob("*.nii.gz")}
    assert there.items() <= after.items()


def test_a_map_is_written_whole_or_not_at_all(tmp_path: Path):
    image = Volume(np.full(GRID.shape, np.nan, np.float32), GRID, "CT", "a.u.")
    write_map(tmp_path / "map.nii.gz", image)
    assert np.isnan(np.asarray(nibabel.load(tmp_path / "map.nii.gz").dataobj)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["map.nii.gz"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_map(tmp_path / "file" / "map.nii.gz", image)


def test_a_filter_that_the_image_is_too_small_for_is_not_tried_again(study: Path):
    wide = (
        "--set",
        "extract.parameters.CT.imageType.LoG.sigma=[1.0,40.0]",
        "--feature",
        "CT.log-sigma-*_ngtdm_Busyness",
    )
    assert "4 maps of 2 subjects" in maps(study, *wide).stdout
    record = json.loads((folder_of(study, "a") / "record.json").read_text())
    assert list(record["files"]) == ["CT.log-sigma-1-0-mm-3D_ngtdm_Busyness.nii.gz"]
    assert record["findings"]["missing"] == ["CT.log-sigma-40-0-mm-3D_ngtdm_Busyness.nii.gz"]
    assert "0 maps of 0 subjects" in maps(study, *wide).stdout
    more = (*wide, "--feature", "CT.original_ngtdm_Busyness")
    assert "2 maps of 2 subjects" in maps(study, *more).stdout
    assert "0 maps of 0 subjects" in maps(study, *more).stdout
