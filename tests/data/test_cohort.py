from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from radfuse.data.cohort import UNSET, Cohort, Columns
from radfuse.data.reading.tables import read_manifest, read_table
from radfuse.errors import CohortError


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for subject in ("007", "p2", "p3"):
        for modality in ("CT", "PET"):
            (tmp_path / f"{subject}_{modality}.nii.gz").touch()
            (tmp_path / f"{subject}_{modality}_mask.nii.gz").touch()
    return tmp_path


def manifest_of(folder: Path, **changes: object) -> pd.DataFrame:
    rows = [
        {"subject": s, "modality": m, "image": f"{s}_{m}.nii.gz", "mask": f"{s}_{m}_mask.nii.gz"}
        for s in ("007", "p2", "p3")
        for m in ("CT", "PET")
    ]
    table = pd.DataFrame(rows).assign(**changes)
    table.to_csv(folder / "manifest.csv", index=False)
    return read_manifest(folder / "manifest.csv")


def clinical(**columns: list[object]) -> dict[str, pd.DataFrame]:
    table = {"y": [0, 1, 1], "scanner": ["a", "a", "b"], "age": [50, 60, 70], **columns}
    return {"clinical.csv": pd.DataFrame(table, index=pd.Index(["007", "p2", "p3"], name="subject"))}


COLUMNS = Columns(outcome="y", batches={"*": "scanner"}, covariates=("age",))


def messages(cohort: Cohort) -> str:
    return "\n".join(f"{p.subject}: {p.what}" for p in cohort.problems)


def test_a_sound_cohort_has_facts_in_the_manifest_order(files: Path) -> None:
    cohort = Cohort.assemble(manifest_of(files), clinical(), COLUMNS, files)
    assert cohort.problems == ()
    assert cohort.ids == ["007", "p2", "p3"]
    assert list(cohort.subjects.columns) == ["outcome", "batch.CT", "batch.PET", "age"]
    assert cohort.subjects["outcome"].tolist() == [0, 1, 1]
    assert [scan.modality for scan in cohort.scans_of("p2")] == ["CT", "PET"]


def test_pyradiomics_names_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("ID,Image,Mask,Label\n007,a.nrrd,b.nrrd,2\n")
    table = read_manifest(tmp_path / "m.csv")
    assert table.to_dict("records") == [
        {"subject": "007", "modality": "image", "image": "a.nrrd", "mask": "b.nrrd", "label": 2}
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"modality": ["CT", "CT", "CT", "PET", "CT", "PET"]}, "CT is listed 2 times"),
        ({"subject": ["a", "a", "A", "A", "p3", "p3"]}, "differ only in case"),
        ({"subject": ["../x", "../x", "p2", "p2", "p3", "p3"]}, "ids may hold letters"),
        ({"image": ["same.nii.gz"] * 6}, "one file, one subject"),
    ],
)  # fmt: skip
def test_what_makes_a_manifest_ambiguous_is_fatal(files: Path, change: dict[str, object], expected: str) -> None:
    cohort = Cohort.assemble(manifest_of(files, **change), {}, Columns(), files)
    assert expected in messages(cohort)
    with pytest.raises(CohortError, match="cannot be used as it is"):
        cohort.require_sound()


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        (clinical(y=[0, 1, None]), "has no outcome"),
        (clinical(y=[0, 1, 2]), "must be 0 or 1"),
        (clinical(scanner=["a", None, "b"]), "is empty"),
        ({}, "no table has a column 'y'"),
        ({**clinical(), "more.csv": clinical()["clinical.csv"]}, "is in clinical.csv and in more.csv"),
        ({"clinical.csv": clinical()["clinical.csv"].drop("p2")}, "is not in clinical.csv"),
    ],
)
def test_facts_that_are_missing_or_contradictory_are_fatal(
    files: Path, tables: dict[str, pd.DataFrame], expected: str
) -> None:
    cohort = Cohort.assemble(manifest_of(files), tables, COLUMNS, files)
    assert expected in messages(cohort)
    assert cohort.fatal


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (clinical()["clinical.csv"].drop("p2"), "p2: is not in clinical.csv, which holds 'y', 'scanner', 'age'"),
        (clinical(scanner=["a", None, "b"])["clinical.csv"], "p2: scanner (its batch.CT and batch.PET) is empty"),
        (clinical()["clinical.csv"].iloc[[0, 1, 1, 2]], "p2: occurs more than once in clinical.csv"),
    ],
    ids=["row", "cell", "two rows"],
)
def test_one_cause_is_one_problem_however_many_columns_want_it(files: Path, table: pd.DataFrame, expected: str) -> None:
    assert messages(Cohort.assemble(manifest_of(files), {"clinical.csv": table}, COLUMNS, files)) == expected


def test_all_faults_are_listed_at_once(files: Path) -> None:
    cohort = Cohort.assemble(manifest_of(files, image=["same"] * 6), {}, COLUMNS, files)
    with pytest.raises(CohortError) as caught:
        cohort.require_sound()
    assert "one file, one subject" in caught.value.message
    assert "no table has a column 'age'" in caught.value.message


def test_a_missing_modality_or_file_leaves_only_its_subject_out(files: Path) -> None:
    (files / "p3_CT_mask.nii.gz").unlink()
    manifest = manifest_of(files).drop(index=3)
    cohort = Cohort.assemble(manifest, clinical(), COLUMNS, files)
    assert cohort.fatal == []
    assert {(p.subject, p.absent) for p in cohort.problems} == {("p2", True), ("p3", False)}
    assert "has no PET scan" in messages(cohort)
    misnamed = manifest_of(files)
    misnamed.loc[3, "modality"] = "PTE"
    found = messages(Cohort.assemble(misnamed, clinical(), COLUMNS, files, modalities=["CT", "PET"]))
    assert "has no PET scan; its rows beside the study's are PTE" in found
    unset = Cohort.assemble(manifest_of(files), clinical(), replace(COLUMNS, outcome=UNSET), files)
    assert "cohort.outcome is still CHANGE_ME" in messages(unset)
    assert "CT mask not found" in messages(cohort)


def test_an_outcome_in_words_needs_the_word_for_the_event(files: Path) -> None:
    words = clinical(y=["alive", "dead", "dead"])
    cohort = Cohort.assemble(manifest_of(files), words, COLUMNS, files)
    assert "must be 0 or 1" in messages(cohort)
    positive = Columns(outcome="y", positive="dead")
    assert Cohort.assemble(manifest_of(files), words, positive, files).subjects["outcome"].tolist() == [0, 1, 1]


def test_a_table_without_a_subject_column_says_so(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,age\na,1\n")
    with pytest.raises(CohortError, match="has no column 'subject'; found name, age"):
        read_table(tmp_path / "t.csv")
    with pytest.raises(CohortError, match="table not found"):
        read_table(tmp_path / "absent.csv")


def test_the_column_named_subject_wins_over_its_aliases(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,subject,y\n1,a,0\n2,b,1\n")
    assert list(read_table(tmp_path / "t.csv").index) == ["a", "b"]
