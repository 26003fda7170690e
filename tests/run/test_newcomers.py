"""New patients: their regions, batches, facts and columns are told as the study's own were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run.by_hand import by_hand, made, model_of, patients

from radfuse.data.cohort import Cohort, Problem
from radfuse.data.row import FeatureRow
from radfuse.data.table import FeatureTable
from radfuse.errors import CohortError, DataError
from radfuse.run import newcomers
from radfuse.run.newcomers import read_measured
from radfuse.run.predict import feature_table, score_row
from radfuse.run.store import Store
from radfuse.run.subjects import save_row


def test_groups_are_not_needed_to_predict(rng: np.random.Generator, tmp_path: Path) -> None:
    groups = [f"G{i // 2}" for i in range(40)]
    table = made(rng, group=groups)
    run = by_hand(tmp_path, table)
    arm, model = model_of(run, "late-logistic")
    scans = Cohort((), ("CT", "PET"), pd.DataFrame(index=pd.Index(["N1"], name="subject")), ())
    facts = pd.DataFrame({"scanner_ct": ["a"], "scanner_pet": ["pb"]}, index=["N1"])
    found, problems = newcomers._facts(run, scans, {"t": facts}, [arm])
    assert problems == []
    new = FeatureTable(table.values.iloc[[0]].set_axis(found.index), found)
    assert 0 < score_row(arm, model, new.rows(), {})["score"] < 1


@pytest.mark.parametrize(
    ("drawn", "main"),
    [(["node", "tumour"], "tumour"), (["node"], None), (["lung", "tumour"], None), ([""], "main")],
)
def test_the_main_region_is_the_studys_whatever_comes_first(
    drawn: list[str], main: str | None, rng: np.random.Generator, tmp_path: Path
) -> None:
    table = made(rng)
    run = by_hand(tmp_path, table.with_values(table.values.assign(**{"CT:node.original_firstorder_F0": 1.0})))
    rows = pd.DataFrame({"region": drawn}).assign(
        subject="N1", modality="CT", image="ct.nii.gz", mask="m.nii.gz", label=1
    )
    if main is not None:
        assert newcomers._scans(run, rows, tmp_path).regions[0] == main
        return
    with pytest.raises(CohortError, match="which of them is the study's main region cannot be told"):
        newcomers._scans(run, rows, tmp_path)


def test_the_named_main_region_of_a_study_has_to_be_drawn(rng: np.random.Generator, tmp_path: Path) -> None:
    run = by_hand(tmp_path, made(rng))
    config = run.config.model_copy(update={"cohort": run.config.cohort.model_copy(update={"region": "tumour"})})
    with pytest.raises(CohortError, match="main region, 'tumour', is not said"):
        newcomers._main_region(replace(run, config=config), ["lung"])


@pytest.mark.parametrize(
    ("trained", "new", "expected"),
    [
        ((["a", "b"], ["p", "q"]), ("a", "p"), "a+p"),
        ((["a", "b"], ["a", "a"]), ("a", "a"), "a+a"),  # told apart in training, so told apart for one patient too
        ((["a", "b"], ["a", "b"]), ("b", "b"), "b"),  # the same in training: counted once
        ((["a", "b"], ["a", "b"]), ("a", "b"), "a+b"),  # and a patient in whom they differ is of no known batch
        ((["a", "b"], ["p", "q"]), ("a", ""), ""),
    ],
)
def test_a_fused_batch_is_named_as_training_named_it(
    trained: tuple[list[str], list[str]], new: tuple[str, str], expected: str
) -> None:
    names = ["P1", "P2"]
    values = pd.DataFrame(0.0, names, ["CT.x", "PET.x", "fused-average-CT_PET.x"])
    subjects = pd.DataFrame({"batch.CT": trained[0], "batch.PET": trained[1]}, index=names)
    facts = {f"batch.{m}": pd.Series([label], ["N"]) for m, label in zip(("CT", "PET"), new, strict=True)}
    assert newcomers._joined(FeatureTable(values, subjects), "fused-average-CT_PET", facts).tolist() == [expected]


def test_numbers_as_batch_labels_stay_what_they_were(rng: np.random.Generator, tmp_path: Path) -> None:
    sites = [str(1 + i % 2) for i in range(40)]
    run = by_hand(tmp_path, made(rng, **{"batch.PET": sites}))
    facts = pd.DataFrame({"scanner_pet": [1, 2.0, None]}, index=["N1", "N2", "N3"])  # a gap makes numbers of labels
    found, problems = newcomers._labels(run, "PET", ["N1", "N2", "N3"], ["N1", "N2"], {"t": facts})
    assert found.tolist() == ["1", "2", ""]
    assert problems == []
    found, problems = newcomers._labels(run, "PET", ["N1", "N2", "N3"], ["N1", "N2", "N3"], {"t": facts})
    assert [problem.subject for problem in problems] == ["N3"]


def test_a_covariate_keeps_the_type_that_it_had() -> None:
    text, faults = newcomers._as_trained(pd.Series([1.0, 2.0, np.nan], name="stage"), pd.Series(["1", "2", "IV"]))
    assert faults == []
    assert text.tolist()[:2] == ["1", "2"]
    assert pd.isna(text.iloc[2])
    number, faults = newcomers._as_trained(pd.Series(["61", "x"], ["A", "B"], name="age"), pd.Series([60.0]))
    assert number["A"] == 61.0
    assert [fault.subject for fault in faults] == ["B"]


def test_a_column_that_nobody_has_is_named(rng: np.random.Generator, tmp_path: Path) -> None:
    table = made(rng)
    values = {**{c: 1.0 for c in table.values.columns if not c.endswith("F2")}, "CT.other": 2.0}
    store = Store(tmp_path / "work")
    save_row(store.open("extract", "N1"), FeatureRow("N1", values, {}, {}))
    with pytest.raises(DataError, match=r"lack 3 of the 9 columns .* first 'CT.original_firstorder_F2'"):
        feature_table(by_hand(tmp_path, table), patients("N1"), store, {})
    save_row(
        store.open("extract", "N1"), FeatureRow("N1", {c: 1.0 for c in table.values.filter(like="CT.").columns}, {}, {})
    )
    found = feature_table(by_hand(tmp_path, table), patients("N1", "N2"), store, {"N2": Problem("N2", "gone")})
    assert list(found.values.columns) == list(table.values.columns)
    assert found.values["PET.original_firstorder_F0"].isna().all()


def test_a_table_without_one_of_the_models_columns_is_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    (tmp_path / "facts.csv").write_text("subject,age,batch\nN1,60,a\n")
    with pytest.raises(CohortError, match=r"none of the 9 columns that the models were fitted on; found age, batch"):
        read_measured(by_hand(tmp_path, made(rng)), tmp_path / "facts.csv", [], [])
