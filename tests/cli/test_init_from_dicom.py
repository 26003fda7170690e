"""`radfuse init --from`, as a user types it."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import radfuse
from synthetic_dicom import BIRTH, NAME, box, write_rtstruct, write_series

from radfuse.config import read_config
from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import write_mask, write_volume
from radfuse.data.volume import Mask, Volume

REGION = [box(53.0, -18.0, -14.0, 11.0, 19.0), box(56.0, -18.0, -14.0, 11.0, 19.0)]
GRID = Geometry((7, 6, 5), (1.0, 1.0, 2.0))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 900, (5, 6, 7)).astype(np.int16)
    for who in ("P1", "P2"):
        ct = write_series(tmp_path / "d" / who / "ct", "CT", noise, patient=who, intercept=-1024.0)
        write_series(tmp_path / "d" / who / "pet", "PT", noise, patient=who)
        write_rtstruct(tmp_path / "d" / who, ct, {"GTV": REGION, "Body": []})
    return tmp_path / "d"


def test_one_command_makes_a_study_that_validates_but_for_the_outcome(source: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    dry = radfuse("init", study, "--from", "dicom", source, "--roi", "gtv*", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "S001 CT: 5 slices, HU, region 'GTV'" in dry.stdout
    assert not study.exists()
    table = tmp_path / "outcome.csv"
    pd.DataFrame({"subject": ["S001", "S002"], "mets": [0, 1]}).to_csv(table, index=False)
    done = radfuse("init", study, "--from", "dicom", source, "--roi", "gtv*", "--table", table, "--outcome", "mets")
    assert done.returncode == 0, done.stderr
    assert "S002 PET: 5 slices, 1.5 x 2 x 3 mm, SUV, no region" in done.stdout
    config = read_config(study / "radfuse.yaml")
    assert config.cohort.modalities == ("CT", "PET") or list(config.cohort.modalities) == ["CT", "PET"]
    assert config.cohort.reference == "CT"
    assert config.cohort.batches == {"CT": "scanner_CT", "PET": "scanner_PET"}
    validated = radfuse("validate", cwd=study)
    assert "not found" not in validated.stdout
    again = radfuse("init", study, "--from", "dicom", source, "--roi", "gtv*")
    assert again.returncode == 0
    assert "(kept)" in again.stdout
    assert "as it is" in again.stdout


def test_faults_are_said_on_stderr_and_make_the_exit_code_one(source: Path, tmp_path: Path) -> None:
    sorted((source / "P1" / "pet").iterdir())[1].unlink()
    done = radfuse("init", tmp_path / "study", "--from", "dicom", source)
    assert done.returncode == 1
    assert "left out: S00" in done.stderr
    assert "choose with --roi" in done.stderr.lower()
    assert (tmp_path / "study" / "radfuse.yaml").is_file()


def test_what_cannot_be_asked_is_refused(source: Path, tmp_path: Path) -> None:
    for options, said in (
        (("--from", "dicon", source), "Say --from dicom, bids, nifti or nrrd"),
        (("--from", "dicom", source, "--suv", "bmi"), "Say one of bw, lbm_janma"),
        (("--from", "dicom", source, "--modality", "x"), "is not PATTERN=NAME"),
        (("--from", "dicom", tmp_path / "absent"), "does not exist"),
        (("--from", "nifti", source), "no file under"),
    ):
        done = radfuse("init", tmp_path / "study", *options)
        assert done.returncode == 2, done.stdout
        assert said in done.stderr
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_nothing_of_the_person_is_in_a_finished_study_with_its_mlflow(tmp_path: Path) -> None:
    """Eight patients from DICOM to report: names, ids, birth dates and UIDs are in no file of the study."""
    random = np.random.default_rng(0)
    z, y, x = np.mgrid[:12, :16, :16]
    inside = (x - 8) ** 2 + (y - 8) ** 2 < 20
    planted = [NAME.split("^")[0], NAME.split("^")[1], BIRTH, "MRN-77", "1.2.826.", "20210504"]
    for n in range(8):
        hot = (300 * (1 + n % 2) * (inside & (z > 2) & (z < 9)) + random.integers(0, 99, z.shape)).astype(np.int16)
        for kind in ("CT", "PT"):
            made = write_series(
                tmp_path / "d" / f"{n}{kind}", kind, hot, patient=f"MRN-77{n}", slopes=1.0 if kind == "CT" else 40.0
            )
            angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
            circle = [-20 + 1.5 * 8 + 6.7 * np.cos(angle), 10 + 2.0 * 8 + 8.9 * np.sin(angle)]
            rings = [np.column_stack([*circle, np.full(60, 50.0 + 3 * k)]) for k in range(3, 9)]
            write_rtstruct(tmp_path / "d" / f"{n}{kind}", made, {"GTV": rings}, name=f"RS{kind}")
    study = tmp_path / "study"
    assert radfuse("init", study, "--from", "dicom", tmp_path / "d").returncode == 0
    table = pd.DataFrame({"subject": [f"S{n:03d}" for n in range(1, 9)], "mets": [0, 1] * 4})
    table.to_csv(study / "outcome.csv", index=False)
    settings = ["cohort.tables=[subjects.csv, outcome.csv]", "cohort.outcome=mets", "fuse.methods=[average]"]
    settings += ["train.classifiers=[logistic]", "train.splits.folds=2", "train.splits.repeats=1"]
    settings += ["align.registration=none", "extract.extractor=fast"]
    done = radfuse("run", "-q", "-j", "2", *(part for one in settings for part in ("--set", one)), cwd=study)
    assert done.returncode == 0, done.stderr[-2000:]
    files = [path for path in study.rglob("*") if path.is_file()]
    assert any(path.name == "mlflow.db" for path in files)
    for path in files:
        content = path.read_bytes()
        content += gzip.decompress(content) if path.suffix == ".gz" else b""
        found = [word for word in planted if word.lower().encode() in content.lower()]
        assert found == [], path
    said = (done.stdout + done.stderr).lower()
    assert not any(word.lower() in said for word in planted)


def image(path: Path) -> None:
    write_volume(path, Volume(np.random.default_rng(1).integers(0, 99, GRID.shape).astype(np.int16), GRID, "CT", "HU"))


def mask(path: Path, grid: Geometry = GRID) -> None:
    labels = np.zeros(grid.shape, np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    write_mask(path, Mask(labels, grid))


def test_a_bids_folder_is_listed_where_it_lies(tmp_path: Path) -> None:
    root = tmp_path / "bids"
    for person, sessions in (("01", [""]), ("02", ["ses-a", "ses-b"])):
        for session in sessions:
            folder = root / f"sub-{person}" / session
            stem = "_".join(part for part in (f"sub-{person}", session) if part)
            for name in ("T1w", "ce-gd_T1w", "FLAIR", "angio"):
                image(folder / "anat" / f"{stem}_{name}.nii.gz")
            image(folder / "ct" / f"{stem}_ct.nii.gz")
            image(folder / "pet" / f"{stem}_pet.nii.gz")
            units = "SUV" if person == "01" else "Bq/mL"
            (folder / "pet" / f"{stem}_pet.json").write_text(json.dumps({"Units": units}))
            drawn = root / "derivatives" / "drawn" / f"sub-{person}" / session / "anat"
            mask(drawn / f"{stem}_label-tumor_mask.nii.gz")
            mask(drawn / f"{stem}_label-brain_mask.nii.gz")
    (root / "participants.tsv").write_text("participant_id\tage\tmets\nsub-01\t60\t0\nsub-02\tn/a\t1\n")
    done = radfuse("init", tmp_path / "study", "--from", "bids", root, "--roi", "label-tumor")
    assert done.returncode == 1, done.stderr
    assert "02_ses-a: sub-02_ses-a_pet.nii.gz: sub-02_ses-a_pet.json says Units 'Bq/mL'" in done.stderr
    assert "angio.nii.gz: its suffix is not of CT, PET or anatomical MR" in done.stderr
    manifest = pd.read_csv(tmp_path / "study" / "manifest.csv", dtype=str)
    assert set(manifest["subject"]) == {"01", "02_ses-a", "02_ses-b"}
    assert set(manifest.loc[manifest["subject"] == "01", "modality"]) == {"CT", "PET", "MR_T1", "MR_T1C", "MR_FLAIR"}
    assert manifest["mask"].str.contains("label-tumor").all()
    facts = pd.read_csv(tmp_path / "study" / "subjects.csv", dtype={"group": str})
    assert facts["group"].tolist() == ["01", "02", "02"]
    assert facts["mets"].tolist() == [0, 1, 1]
    unchosen = radfuse("init", tmp_path / "other", "--from", "bids", root)
    assert "2 masks are on its grid" in unchosen.stderr


def test_nifti_and_nrrd_folders_are_listed_by_a_pattern(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for who in ("a", "b"):
        image(root / who / "CT_image.nii.gz")
        mask(root / who / "CT_mask.nii.gz")
        image(root / who / "PET.nrrd")
    other = Geometry((7, 6, 5), (1.0, 1.0, 2.0), (3.0, 0.0, 0.0))
    mask(root / "b" / "PET_mask.nrrd", other)
    where = ("--pattern", "{subject}/{modality}_image.nii.gz", "--mask-pattern", "{subject}/{modality}_mask.nii.gz")
    done = radfuse("init", tmp_path / "study", "--from", "nifti", root, *where)
    assert done.returncode == 0, done.stderr
    manifest = pd.read_csv(tmp_path / "study" / "manifest.csv")
    assert manifest["modality"].tolist() == ["CT", "CT"]
    assert all(Path(path).is_file() for path in [*manifest["image"], *manifest["mask"]])
    nrrd = radfuse("init", tmp_path / "study2", "--from", "nrrd", root)
    assert nrrd.returncode == 1
    assert "left out: b: the mask of PET: none of PET_mask.nrrd is on the grid" in nrrd.stderr
    assert len(pd.read_csv(tmp_path / "study2" / "manifest.csv")) == 2
    wrong = radfuse("init", tmp_path / "study3", "--from", "nifti", root, "--pattern", "{who}.nii.gz")
    assert "{who} is not a field" in wrong.stderr
