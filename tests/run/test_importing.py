"""A folder of DICOM into a study: what is written, what is left out and why, and what never leaves the source."""

import gzip
import os
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pytest
from synthetic_dicom import BIRTH, NAME, box, header, uid, write_rtstruct, write_segmentation, write_series, write_spect

from radfuse.data.cohort import Cohort, Columns
from radfuse.data.reading.dicom.files import File
from radfuse.data.reading.dicom.plan import Choices
from radfuse.data.reading.images import read_mask, read_volume, write_volume
from radfuse.data.reading.tables import read_manifest, read_table
from radfuse.errors import ConfigError, DataError
from radfuse.run.importing import Imported, carry_out, plan_import

REGION = [box(53.0, -18.0, -14.0, 11.0, 19.0), box(56.0, -18.0, -14.0, 11.0, 19.0)]


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 900, (5, 6, 7)).astype(np.int16)


def patient(root: Path, who: str, seed: int) -> None:
    """CT, PET and T2, with one region drawn on the CT and the PET."""
    ct = write_series(root / who / "ct", "CT", pixels(seed), patient=who, intercept=-1024.0)
    pet = write_series(root / who / "pet", "PT", pixels(seed + 1), patient=who, slopes=20.0)
    write_series(root / who / "mr", "MR", pixels(seed + 2), patient=who, series="ax t2 tse", slopes=None)
    write_rtstruct(root / who, ct, {"GTV": REGION, "Body": []}, name="RS-ct")
    write_rtstruct(root / who, pet, {"gtv_pet": REGION, "Body": []}, name="RS-pet")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    patient(tmp_path / "dicom", "MRN-0077001", 1)
    patient(tmp_path / "dicom", "MRN-0077002", 11)
    return tmp_path / "dicom"


def bring_in(source: Path, study: Path, *, rois: tuple[str, ...] = ("gtv*",), **options: Any) -> Imported:
    names = options.pop("modalities", ())
    keys = options.get("keys")
    return carry_out(plan_import(source, study, Choices(names, rois), **options), study, keys=keys)


def test_a_folder_becomes_a_manifest_that_a_cohort_is_made_of(source: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    done = bring_in(source, study)
    assert done.left_out == ()
    manifest = read_manifest(done.manifest)
    assert manifest["subject"].tolist() == ["S001"] * 3 + ["S002"] * 3
    assert manifest["modality"].tolist() == ["CT", "PET", "MR_T2"] * 2
    assert manifest["unit"].tolist() == ["HU", "SUV", "a.u."] * 2
    batches = {"CT": "scanner_CT", "PET": "scanner_PET", "MR_T2": "scanner_MR_T2"}
    tables = {"subjects": read_table(done.subjects)}
    cohort = Cohort.assemble(manifest, tables, Columns(batches=batches), study)
    assert cohort.problems == ()
    assert set(cohort.subjects["batch.CT"]) == {"ACME Scanner 3000"}
    seen = {int(read_volume(study / image, "CT", "HU").array.sum()) for image in manifest["image"][[0, 3]]}
    assert seen == {int(pixels(seed).astype(int).sum()) - 1024 * 210 for seed in (1, 11)}
    assert read_mask(study / manifest["mask"][0]).voxels == 2 * 2 * 4
    pet = read_volume(study / "images/S001/PET.nii.gz", "PET", "SUV")
    assert pet.array.max() == pytest.approx(
        20 * float(max(pixels(s).max() for s in (2, 12))) * 70_000 / 185e6, rel=0.02
    )


PLANTED = (
    "QUICKSILVER", "ZEBEDEE", BIRTH, "0077001", "0077002", "CRUSHER", "Elsewhere", "20210504",
    "1.2.826", "1.2.840",
)  # fmt: skip


def planted_in(content: bytes) -> list[str]:
    return [word for word in PLANTED if word.encode().lower() in content.lower()]


def provoke(source: Path) -> None:
    """Plant the person in free texts, file names and structures, and break what a message might quote."""
    spoken = f"{NAME.replace('^', ' ')} MRN-0077001 born {BIRTH} {uid('x')} ax t1"
    write_series(source / "x", "MR", pixels(3), patient="MRN-0077001", series=spoken)
    write_series(source / "y", "PT", pixels(3), patient="MRN-0077002", series=spoken + " late", changes={"Units": None})
    bad = write_series(
        source / "z", "CT", pixels(3), patient="MRN-0077001", series="broken", changes={"PixelSpacing": None}
    )
    write_rtstruct(source / "z", bad, {NAME: REGION, f"GTV of {NAME.split('^')[0]}": []}, name="RS-z")
    quoted = {"FrameOfReferenceUID": f"{uid('x')}.QUICKSILVER"}  # pydicom logs a UID that is none, in full
    write_series(source / "w", "MR", pixels(3), patient="MRN-0077002", series="t1 w", changes=quoted)
    cut = sorted((source / "MRN-0077002" / "ct").iterdir())[0]
    cut.write_bytes(cut.read_bytes()[:-9])
    odd = header("CT", "MRN-0077001", "odd", 1)
    odd.save_as(source / "QUICKSILVER.dcm", enforce_file_format=True)
    (source / "ZEBEDEE.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\0\0junk")


def test_no_name_birth_date_id_or_uid_leaves_the_source(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Names are planted where people type them too, and faults are provoked, for a message quotes what it met."""
    caplog.set_level(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        provoke(source)
    everything = b"".join(path.read_bytes() for path in source.rglob("*.dcm"))
    assert sorted(planted_in(everything)) == sorted(PLANTED)  # or the search below would prove nothing
    caplog.clear()
    capfd.readouterr()
    study = tmp_path / "study"
    done = bring_in(source, study)
    faults = [line for line in done.left_out if line.fault]
    assert len(faults) >= 5
    text = "\n".join([*map(str, done.left_out), *(line.hint for line in done.left_out), str(done.rows), repr(done)])
    assert planted_in(text.encode()) == []
    assert "***" in text
    files = [path for path in study.rglob("*") if path.is_file()]
    assert len(files) > 12
    for path in files:
        content = path.read_bytes()
        assert planted_in(content) == [], path
        assert planted_in(str(path.relative_to(study)).encode()) == []
        if path.suffix == ".gz":
            assert planted_in(gzip.decompress(content)) == [], path
    assert planted_in("".join(capfd.readouterr()).encode() + caplog.text.encode()) == []


def test_a_second_import_keeps_what_stands_and_redoes_what_changed(source: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    first = bring_in(source, study)
    before = {path: path.read_bytes() for path in study.rglob("*.nii.gz")}
    assert bring_in(source, study).reused == ("S001", "S002")
    patient(source, "MRN-0077000", 21)
    again = bring_in(source, study)
    assert again.reused == ("S001", "S002")
    assert {row["subject"] for row in again.rows} == {"S001", "S002", "S003"}
    assert {path: path.read_bytes() for path in before} == before
    whose = {int(pixels(seed).astype(int).sum()) - 1024 * 210: who for who, seed in (("1", 1), ("2", 11))}
    changed = whose[int(read_volume(study / "images/S001/CT.nii.gz", "CT", "HU").array.sum())]
    folder = source / f"MRN-007700{changed}" / "pet"
    for path in folder.iterdir():
        path.unlink()
    write_series(folder, "PT", pixels(99), patient=f"MRN-007700{changed}", slopes=20.0)
    assert bring_in(source, study).reused == ("S002", "S003")
    assert first.rows[0]["subject"] == "S001"
    (study / "images/S002/CT.nii.gz").unlink()
    assert bring_in(source, study).reused == ("S001", "S003")


def test_an_archive_gives_what_its_folder_gives(source: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(source.rglob("*.dcm")):
            archive.write(path, path.relative_to(source))
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(source, "everything")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    os.link(tmp_path / "a.zip", mixed / "inner.zip")
    bring_in(source, tmp_path / "from_folder")
    reference = {
        p.relative_to(tmp_path / "from_folder"): p.read_bytes() for p in (tmp_path / "from_folder").rglob("*.gz")
    }
    for number, archive_path in enumerate((tmp_path / "a.zip", tmp_path / "a.tar.gz", mixed)):
        study = tmp_path / f"study{number}"
        bring_in(archive_path, study)
        assert {p.relative_to(study): p.read_bytes() for p in study.rglob("*.gz")} == reference
    (tmp_path / "b.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:-500])
    with pytest.raises(ConfigError, match="archive of the source is damaged"):
        bring_in(tmp_path / "b.zip", tmp_path / "other")


def test_bad_series_are_lines_and_the_others_go_on(source: Path, tmp_path: Path) -> None:
    (source / "notes.txt").write_text("not DICOM")
    for path in list((source / "MRN-0077001" / "ct").iterdir())[2:3]:
        path.unlink()
    write_series(
        source / "scout",
        "CT",
        pixels(3),
        patient="MRN-0077001",
        series="scout",
        changes={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    )
    write_series(source / "t2b", "MR", pixels(4), patient="MRN-0077002", series="cor t2", slopes=None)
    done = bring_in(source, tmp_path / "study")
    said = [str(line) for line in done.left_out]
    assert any(
        "CT series 3" in line and ("missing slices: 1 of 5" in line or "drawn" in line or "uneven" in line)
        for line in said
    ), said
    assert sum("2 series would be MR_T2" in line for line in said) == 2
    assert any("localiser" in line for line in said)
    assert any("1 files: not DICOM" in line for line in said)
    assert len(done.rows) == 4
    assert len(pd.read_csv(tmp_path / "study/left_out.csv")) == len(said)
    subjects = pd.read_csv(tmp_path / "study/subjects.csv", keep_default_na=False)
    assert sorted(subjects["scanner_CT"]) == ["ACME Scanner 3000", "UNKNOWN"]
    chosen = [("cor t2", "MR_T2COR"), ("scout", "skip")]
    named = bring_in(source, tmp_path / "named", modalities=chosen)
    assert {row["modality"] for row in named.rows} == {"CT", "PET", "MR_T2", "MR_T2COR"}


def test_regions_are_asked_for_when_there_are_several(source: Path, tmp_path: Path) -> None:
    done = bring_in(source, tmp_path / "study", rois=())
    assert all(not row["mask"] for row in done.rows)
    assert sum("2 structures and none chosen: 'GTV', 'Body'" in str(line) for line in done.left_out) == 2
    renamed = bring_in(source, tmp_path / "again", rois=("lesion", "gtv"))
    assert [row["region"] for row in renamed.rows if row["modality"] == "CT"] == ["GTV", "GTV"]
    assert any("no structure is named 'lesion' or 'gtv'" in str(line) for line in renamed.left_out)


def test_codes_come_from_a_key_file_that_is_written_only_when_asked(source: Path, tmp_path: Path) -> None:
    keys = tmp_path / "safe" / "keys.csv"
    keys.parent.mkdir()
    pd.DataFrame({"subject": ["ALPHA"], "patient_id": ["MRN-0077002"]}).to_csv(keys, index=False)
    done = bring_in(source, tmp_path / "study", keys=keys)
    assert {row["subject"] for row in done.rows} == {"ALPHA", "S001"}
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    table = pd.read_csv(keys, dtype=str)
    assert dict(zip(table["patient_id"], table["subject"], strict=True)) == {
        "MRN-0077001": "S001",
        "MRN-0077002": "ALPHA",
    }
    with pytest.raises(ConfigError, match="inside the study"):
        bring_in(source, tmp_path / "study", keys=tmp_path / "study" / "keys.csv")
    kept = bring_in(source, tmp_path / "kept", keep_ids=True)
    assert {row["subject"] for row in kept.rows} == {"MRN-0077001", "MRN-0077002"}


def test_a_key_file_that_names_a_patient_twice_is_refused(source: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.csv"
    keys.write_text("subject,patient_id\na,MRN-0077001\nb,MRN-0077001\n")
    with pytest.raises(ConfigError, match="a subject or a patient twice"):
        plan_import(source, tmp_path / "study", Choices(), keys=keys)
    keys.write_text("code,mrn\n")
    with pytest.raises(ConfigError, match="lacks the columns"):
        plan_import(source, tmp_path / "study", Choices(), keys=keys)
    keys.write_text("subject,patient_id\n../x,MRN-0077001\n")
    with pytest.raises(ConfigError, match="in row 2"):
        plan_import(source, tmp_path / "study", Choices(), keys=keys)


def test_two_people_under_one_id_are_not_mixed(tmp_path: Path) -> None:
    write_series(tmp_path / "d/a", "CT", pixels(1), patient="P")
    write_series(tmp_path / "d/b", "MR", pixels(2), patient="P", changes={"PatientBirthDate": "19501231"}, slopes=None)
    with pytest.raises(DataError, match="one PatientID has 2 birth dates"):
        bring_in(tmp_path / "d", tmp_path / "study")


def test_one_spect_without_calibration_makes_all_counts(tmp_path: Path) -> None:
    write_spect(tmp_path / "d", pixels(1), patient="A", units="g/ml{SUVbw}")
    suv = bring_in(tmp_path / "d", tmp_path / "one")
    assert [(row["modality"], row["unit"]) for row in suv.rows] == [("SPECT_SUV", "SUV")]
    write_spect(tmp_path / "d", pixels(2), patient="B")
    both = bring_in(tmp_path / "d", tmp_path / "two")
    assert {(row["modality"], row["unit"]) for row in both.rows} == {("SPECT", "counts")}


def test_a_name_that_lies_about_the_unit_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gives a series in SUV the name 'FDG'"):
        bring_in(source, tmp_path / "study", modalities=[("pt", "FDG")])


def test_a_study_in_the_folder_it_is_made_of_does_not_read_itself(source: Path) -> None:
    bring_in(source, source / "study")
    assert bring_in(source, source / "study").reused == ("S001", "S002")


def test_an_interrupted_import_takes_up_where_it_stopped(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "study"
    whole = bring_in(source, tmp_path / "unbroken")

    def pull_the_plug(path: Path, volume: Any) -> None:
        if path.parent.name == "S002":
            raise KeyboardInterrupt
        write_volume(path, volume)

    with monkeypatch.context() as patched:
        patched.setattr("radfuse.run.importing.write_volume", pull_the_plug)
        with pytest.raises(KeyboardInterrupt):
            bring_in(source, study)
    assert not (study / "manifest.csv").exists()
    resumed = bring_in(source, study)
    assert resumed.reused == ("S001",)
    assert resumed.rows == whole.rows
    for name in ("manifest.csv", "subjects.csv", "series.csv", "left_out.csv"):
        assert (study / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def test_each_study_of_a_patient_can_be_a_subject(tmp_path: Path) -> None:
    for number, day in ((1, "20210504"), (2, "20200101")):
        own = {"StudyInstanceUID": uid("study", number), "StudyDate": day}
        write_series(tmp_path / "d" / day, "CT", pixels(number), patient="P", series=f"CT{number}", changes=own)
    with pytest.raises(DataError, match="2 series would be CT"):
        bring_in(tmp_path / "d", tmp_path / "a")
    done = bring_in(tmp_path / "d", tmp_path / "b", per_study=True)
    assert [row["subject"] for row in done.rows] == ["S001_1", "S001_2"]
    assert pd.read_csv(done.subjects)["group"].tolist() == ["S001", "S001"]
    earlier = read_volume(tmp_path / "b/images/S001_1/CT.nii.gz", "CT", "HU")
    np.testing.assert_array_equal(earlier.array, pixels(2))
    again = bring_in(tmp_path / "d", tmp_path / "b", per_study=True)
    assert again.reused == ("S001_1", "S001_2")


def test_structures_that_name_no_series_belong_to_the_only_image_of_their_frame(tmp_path: Path) -> None:
    ct = write_series(tmp_path / "d/ct", "CT", pixels(1), patient="P")
    for ds in ct:
        ds.SeriesInstanceUID = ""
    write_rtstruct(tmp_path / "d", ct, {"GTV": REGION})
    done = bring_in(tmp_path / "d", tmp_path / "one")
    assert done.rows[0]["region"] == "GTV"
    write_series(tmp_path / "d/pet", "PT", pixels(2), patient="P")
    assert all(not row["region"] for row in bring_in(tmp_path / "d", tmp_path / "two").rows)


def test_structures_without_their_images_and_two_versions_of_a_set_are_said(tmp_path: Path) -> None:
    ct = write_series(tmp_path / "d/ct", "CT", pixels(1), patient="P")
    pet = write_series(tmp_path / "elsewhere", "PT", pixels(2), patient="P")
    write_rtstruct(tmp_path / "d", pet, {"GTV": REGION}, name="RS-pet")
    write_rtstruct(tmp_path / "d", ct, {"GTV": REGION}, name="RS-old")
    write_rtstruct(tmp_path / "d", ct, {"GTV": REGION}, name="RS-new")
    done = bring_in(tmp_path / "d", tmp_path / "study")
    said = [str(line) for line in done.left_out]
    assert any("RTSTRUCT series 3 'RS-pet': the images it was drawn on are not in the source" in line for line in said)
    assert any("2 structure sets or segmentations have the region" in line for line in said)
    assert done.rows[0]["mask"] == ""


def test_a_segmentation_is_a_region_like_any_other(tmp_path: Path) -> None:
    ct = write_series(tmp_path / "d/ct", "CT", pixels(1), patient="P")
    drawn = np.zeros((5, 6, 7), np.uint8)
    drawn[1:3, 2:4, 2:5] = 1
    write_segmentation(tmp_path / "d", ct, {"GTV": drawn, "liver": 1 - drawn})
    done = bring_in(tmp_path / "d", tmp_path / "study")
    np.testing.assert_array_equal(read_mask(tmp_path / "study" / done.rows[0]["mask"]).inside, drawn == 1)
    whole = carry_out(plan_import(tmp_path / "d", tmp_path / "all", Choices(rois=["*"], join=True)), tmp_path / "all")
    assert whole.rows[0]["region"] == "GTV+liver"
    assert read_mask(tmp_path / "all" / whole.rows[0]["mask"]).voxels == 5 * 6 * 7


def test_an_impossible_suv_is_kept_and_said(tmp_path: Path) -> None:
    write_series(tmp_path / "d", "PT", pixels(1), patient="P", slopes=0.001)
    done = bring_in(tmp_path / "d", tmp_path / "study")
    assert len(done.rows) == 1
    assert "hardly possible" in str(done.left_out[0])
    assert not done.left_out[0].fault


def test_a_file_that_may_not_be_read_is_counted(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked, whole = sorted(source.rglob("*.dcm"))[-1], File.open

    def opened(file: File) -> BinaryIO:
        if file.path == locked:
            raise PermissionError(13, "Permission denied", str(locked))
        return whole(file)

    monkeypatch.setattr(File, "open", opened)
    said = [str(line) for line in bring_in(source, tmp_path / "study").left_out]
    assert "1 files: a file cannot be opened (PermissionError)" in said


@pytest.mark.cohort
def test_the_sample_patients_give_a_whole_study(data_root: Path, tmp_path: Path) -> None:
    done = bring_in(data_root / "sts_dicom_sample", tmp_path / "study")
    assert done.left_out == ()
    assert [(row["subject"], row["modality"]) for row in done.rows][:3] == [
        ("S001", "CT"),
        ("S001", "PET"),
        ("S001", "MR_T1"),
    ]
    assert {row["region_ml"] for row in done.rows if row["modality"] == "CT"} == {30.109, 34.849}


def test_nothing_to_import_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no DICOM series among 0 files"):
        plan_import(tmp_path / "empty", tmp_path / "study", Choices())
    with pytest.raises(ConfigError, match="does not exist"):
        plan_import(tmp_path / "absent", tmp_path / "study", Choices())
