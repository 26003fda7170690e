"""Bad input costs its own subject and nothing else; what is ambiguous stops before anything starts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from conftest import radfuse

from radfuse.run.demo import write_demo

FAST = (
    "--set", "align.registration=none", "--set", "fuse.methods=[average]",
    "--set", "train.splits.repeats=1", "--set", "train.splits.folds=2",
)  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Eight phantom patients."""
    write_demo(tmp_path / "study", seed=3, subjects=8)
    return tmp_path / "study"


def mask_of(study: Path, subject: str, modality: str = "CT") -> Path:
    return study / "images" / subject / f"{modality}_mask.nii.gz"


def drop_row(study: Path, subject: str, modality: str) -> None:
    manifest = pd.read_csv(study / "manifest.csv")
    keep = ~((manifest["subject"] == subject) & (manifest["modality"] == modality))
    manifest[keep].to_csv(study / "manifest.csv", index=False)


@pytest.mark.slow
def test_each_bad_subject_has_a_line_and_the_others_finish(study: Path) -> None:
    ids = [f"phantom-{number:03d}" for number in range(1, 9)]
    drop_row(study, ids[0], "PET")
    empty = sitk.ReadImage(str(mask_of(study, ids[1])))
    sitk.WriteImage(empty * 0, str(mask_of(study, ids[1])))
    moved = sitk.ReadImage(str(mask_of(study, ids[2])))
    moved.SetOrigin([value + 40 for value in moved.GetOrigin()])
    sitk.WriteImage(moved, str(mask_of(study, ids[2])))
    whole = (study / "images" / ids[3] / "PET.nii.gz").read_bytes()
    (study / "images" / ids[3] / "PET.nii.gz").write_bytes(whole[: len(whole) // 2])
    for command in ("align", "fuse", "extract"):
        done = radfuse(command, "-q", *FAST, cwd=study)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    failures = pd.read_csv(study / "runs" / "main" / "report" / "failures.csv").set_index("subject")
    assert sorted(failures.index) == ids[:4]
    assert "has no PET scan" in failures.loc[ids[0], "what"]
    assert failures.loc[ids[0], "stage"] == "manifest"
    for subject, word in ((ids[1], "empty"), (ids[2], "grid"), (ids[3], "PET")):
        assert word in failures.loc[subject, "what"].lower() + failures.loc[subject, "what"]
        assert failures.loc[subject, "stage"] == "align"
    features = pd.read_csv(study / "runs" / "main" / "features.csv").set_index("subject")
    assert list(features.index) == ids[4:]
    assert np.isfinite(features.to_numpy()).all()


def test_validate_finds_the_same_without_computing(study: Path) -> None:
    drop_row(study, "phantom-001", "PET")
    mask_of(study, "phantom-002").unlink()
    done = radfuse("validate", "--set", "train.splits.folds=2", cwd=study)
    assert done.returncode == 1
    assert "phantom-001: has no PET scan" in done.stdout
    assert "phantom-002: CT mask not found" in done.stdout
    assert not (study / "runs").exists()


def test_too_few_patients_of_an_outcome_are_named_before_anything_is_computed(study: Path) -> None:
    clinical = pd.read_csv(study / "clinical.csv")
    for outcome, said in (
        ([1, 1] + [0] * 6, "5 folds need 5 patients of each outcome"),
        ([0] * 8, "nothing to predict"),
    ):
        clinical.assign(outcome=outcome).to_csv(study / "clinical.csv", index=False)
        for command in ("validate", "run"):
            done = radfuse(command, cwd=study)
            assert done.returncode == 2
            assert said in done.stdout + done.stderr
    assert not (study / "runs" / "main" / "align").exists()


def test_an_ambiguous_cohort_stops_everything_and_lists_every_problem(study: Path) -> None:
    manifest = pd.read_csv(study / "manifest.csv")
    pd.concat([manifest, manifest.head(1)]).to_csv(study / "manifest.csv", index=False)
    clinical = pd.read_csv(study / "clinical.csv")
    clinical.drop(columns="outcome").to_csv(study / "clinical.csv", index=False)
    done = radfuse("run", cwd=study)
    assert done.returncode == 2
    assert "CT is listed 2 times" in done.stderr
    assert "no table has a column 'outcome'" in done.stderr
    assert not (study / "runs").exists()


def test_a_misspelt_setting_is_named_with_what_was_meant(study: Path) -> None:
    done = radfuse("run", "--set", "align.spacing=2", cwd=study)
    assert done.returncode == 2
    assert "align.spacing: unknown setting; did you mean 'spacing_mm'?" in done.stderr
    wrong = radfuse("run", "--set", "align.spacing_mm=atuo", cwd=study)
    assert wrong.stderr.count("align.spacing_mm") == 1
    assert "found 'atuo'" in wrong.stderr
    done = radfuse("run", "--set", "fuse.methods=[averge]", cwd=study)
    assert "did you mean 'average'?" in done.stderr


def test_the_outcome_cannot_be_protected(study: Path) -> None:
    done = radfuse("run", "--set", "harmonize.harmonizer.protect=[outcome]", cwd=study)
    assert done.returncode == 2
    assert "cannot be protected" in done.stderr


def test_a_folder_without_a_study_says_what_to_do(tmp_path: Path) -> None:
    done = radfuse("run", cwd=tmp_path)
    assert done.returncode == 2
    assert "radfuse init" in done.stderr


def test_a_gpu_that_is_not_there_is_an_error_when_asked_for(study: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so asking for it is no error")
    assert radfuse("align", "-q", "--subject", "phantom-005", cwd=study).returncode == 0
    done = radfuse("fuse", "--device", "cuda", "--subject", "phantom-005", cwd=study)
    assert done.returncode == 2
    assert "no CUDA device" in done.stderr


@pytest.mark.slow
def test_nothing_is_judged_on_results_of_other_scans_or_settings(study: Path) -> None:
    for command in ("align", "fuse", "extract"):
        assert radfuse(command, "-q", *FAST, cwd=study).returncode == 0
    changed = radfuse("extract", "-q", *FAST, "--set", "align.spacing_mm=3", cwd=study)
    assert changed.returncode == 2
    assert "8 of 8 subjects have no result of align with these scans and settings" in changed.stderr
    source = study / "images" / "phantom-002" / "CT.nii.gz"
    image = sitk.ReadImage(str(source))
    sitk.WriteImage(image + 1, str(source))
    for command in ("extract", "train"):
        stale = radfuse(command, "-q", *FAST, cwd=study)
        assert stale.returncode == 2
        assert "1 of 8 subjects" in stale.stderr
        assert "phantom-002" in stale.stderr
    drop_row(study, "phantom-003", "CT")
    drop_row(study, "phantom-003", "PET")
    for command in ("align", "fuse"):
        assert radfuse(command, "-q", *FAST, cwd=study).returncode == 0
    stale = radfuse("train", "-q", *FAST, cwd=study)
    assert stale.returncode == 2
    assert "Run `radfuse extract`" in stale.stderr


def test_looking_writes_nothing(study: Path) -> None:
    before = sorted(study.rglob("*"))
    done = radfuse("run", "--dry-run", "--set", "align.spacing_mm=5", cwd=study)
    assert done.returncode == 0, done.stderr
    assert "align: reuse 0, redo 8" in done.stdout
    assert sorted(study.rglob("*")) == before


@pytest.mark.parametrize(
    "setting",
    ["cohort.batches={CT: outcome}", "cohort.group=outcome", "cohort.covariates=[outcome]"],
)
def test_the_outcome_has_no_second_role(study: Path, setting: str) -> None:
    done = radfuse("validate", "--set", setting, cwd=study)
    assert done.returncode == 2
    assert "is the outcome and cannot be" in done.stderr
