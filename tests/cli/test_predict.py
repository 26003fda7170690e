"""`radfuse predict` as it is typed, and what it says."""

import json
from pathlib import Path

import pandas as pd
import pytest
import typer
from conftest import radfuse

from radfuse.cli.finish import tell_failures
from radfuse.cli.predict import _tell
from radfuse.data.cohort import Problem
from radfuse.run.predict import COLUMNS, EXTERNAL, Predicted


@pytest.fixture
def found() -> Predicted:
    rows = [
        ("P1", "early-logistic", 0.61234, "", "yes", False, ""),
        ("P2", "early-logistic", 0.4, "PET", "raw: CT (unseen batch z)", True, ""),
        ("P30", "early-logistic", float("nan"), "", "", False, "align: the mask is empty"),
    ]
    external = pd.DataFrame([("early-logistic", 9, 4, 0.75, 0.5, 0.9)], columns=list(EXTERNAL))
    failed = (Problem("P30", "align: the mask is empty", "Draw it.", fatal=False),)
    notes, places = ("P2 was seen in training, as A7: its scores test nothing",), {"scores": "predictions.csv"}
    return Predicted(pd.DataFrame(rows, columns=list(COLUMNS)), external, failed, notes, places)


def test_it_tells_scores_flags_and_what_a_score_is(found: Predicted, capsys: pytest.CaptureFixture[str]) -> None:
    _tell(found, as_json=False)
    with pytest.raises(typer.Exit) as left:
        tell_failures(found.failed)
    assert left.value.exit_code == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "P1   early-logistic  0.612",
        "P2   early-logistic  0.400     without PET; harmonised: raw: CT (unseen batch z); seen in training",
        "P30  early-logistic  no score",
        "A score is what a model says: a probability only as far as the run's report shows it calibrated.",
        "external AUC of early-logistic: 0.750 (0.50 to 0.90 by DeLong), 9 patients, 4 events",
        "scores: predictions.csv",
    ]
    assert "note: P2 was seen in training" in said.err
    assert "P30: align: the mask is empty" in said.err


def test_json_is_json(found: Predicted, capsys: pytest.CaptureFixture[str]) -> None:
    _tell(found, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["scores"][0]["score"] == 0.61234
    assert told["scores"][2]["score"] is None
    assert told["external"][0]["n"] == 9
    assert told["failures"][0]["hint"] == "Draw it."


def test_a_folder_without_a_run_is_a_usage_error(tmp_path: Path) -> None:
    done = radfuse("predict", tmp_path, "--manifest", "new.csv")
    assert done.returncode == 2
    assert "holds none called 'main'" in done.stderr
    assert "runs/main" in done.stderr


@pytest.mark.slow
def test_a_patient_of_the_demo_by_the_folder_of_its_run(demo: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(demo / "manifest.csv")
    for column in ("image", "mask"):
        rows[column] = [str(demo / path) for path in rows[column]]
    facts = pd.read_csv(demo / "clinical.csv").drop(columns="outcome").set_index("subject")
    one = rows[rows["subject"] == "phantom-003"].join(facts, on="subject")
    one.to_csv(tmp_path / "new.csv", index=False)  # the manifest may hold the facts itself
    before = sorted((demo / "runs" / "main").rglob("*"))
    done = radfuse(
        "predict", demo / "runs" / "main", "--manifest", "new.csv", "--arm", "late-logistic", "--arm",
        "single-CT-logistic", "--jobs", 1, "--quiet", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted((demo / "runs" / "main").rglob("*")) == before
    told = pd.read_csv(tmp_path / "predictions.csv")
    assert told["arm"].tolist() == ["late-logistic", "single-CT-logistic"]
    assert told["seen_in_training"].all()
    assert f"phantom-003  late-logistic       {told['score'][0]:.3f}" in done.stdout
    assert "seen in training, as phantom-003" in done.stderr
