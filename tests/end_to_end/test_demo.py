"""`radfuse demo`, as the README tells people to type it: what it leaves, and whether it finds what was planted."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import radfuse
from sklearn.metrics import roc_auc_score

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(demo: Path) -> Path:
    return demo / "runs" / "main"


@pytest.fixture(scope="module")
def auc(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "report" / "auc.csv").set_index("arm")


def test_it_leaves_what_was_promised(demo: Path, run: Path, auc: pd.DataFrame) -> None:
    columns = ["fusion", "modalities", "classifier", "auc", "ci_low", "ci_high", "n", "events"]
    assert list(auc.columns[: len(columns)]) == columns
    assert set(auc["fusion"]) == {"single", "image", "early", "intermediate", "late", "baseline"}
    assert (auc["n"] == 60).all()
    for name in (
        "report/index.html",
        "splits.csv",
        "report/predictions.parquet",
        "features.csv",
        "report/failures.csv",
    ):
        assert (run / name).is_file(), name
    assert (demo / "mlflow.db").is_file()


def test_it_tells_where_to_look(demo: Path) -> None:
    said = (demo / "done.txt").read_text()
    assert "report/index.html" in said
    assert "oracle: AUC 0.9" in said
    assert "mlflow ui --backend-store-uri sqlite:///" in said
    assert "95 %" in said


def test_fusion_beats_each_modality_and_the_oracle_beats_fusion(demo: Path, auc: pd.DataFrame) -> None:
    truth = pd.read_csv(demo / "truth.csv").set_index("subject")
    outcome = pd.read_csv(demo / "clinical.csv").set_index("subject")["outcome"]
    oracle = roc_auc_score(outcome, truth["linear_predictor"].loc[outcome.index])
    single = auc[auc["fusion"] == "single"]["auc"].max()
    for level in ("early", "late"):
        assert single < auc[auc["fusion"] == level]["auc"].max() <= oracle + 0.02
    assert auc.loc["baseline-batch", "auc"] < 0.65


def test_registration_finds_the_planted_shift(demo: Path, run: Path) -> None:
    truth = pd.read_csv(demo / "truth.csv").set_index("subject")
    planted = truth[["shift_x_mm", "shift_y_mm", "shift_z_mm"]]
    errors = []
    for subject, shift in planted.iterrows():
        contents = json.loads((run / "align" / str(subject) / "subject.json").read_text())
        found = np.asarray(contents["transforms"]["PET"])[:3, 3]
        errors.append(np.linalg.norm(found - shift.to_numpy()))
    assert np.linalg.norm(planted, axis=1).min() >= 3.0
    assert np.median(errors) < 2.0  # half a PET voxel; a header kept by the gate leaves 3 to 8 mm
    assert np.mean(np.array(errors) < 3.0) > 0.9


def test_mlflow_holds_the_same_numbers(demo: Path, auc: pd.DataFrame) -> None:
    with sqlite3.connect(demo / "mlflow.db") as database:
        rows = database.execute(
            "select t.value, m.value from metrics m join tags t on t.run_uuid = m.run_uuid "
            "where t.key = 'mlflow.runName' and m.key = 'test/auc'"
        ).fetchall()
        users = database.execute("select distinct value from tags where key = 'mlflow.user'").fetchall()
    assert {name: pytest.approx(value) for name, value in rows} == auc["auc"].to_dict()
    assert users == [("radfuse",)]


def test_mlflow_holds_what_the_probabilities_are_worth(demo: Path, run: Path) -> None:
    with sqlite3.connect(demo / "mlflow.db") as database:
        rows = database.execute(
            "select m.key, t.value, m.value from metrics m join tags t on t.run_uuid = m.run_uuid "
            "where t.key = 'mlflow.runName' and m.key in ('test/brier', 'test/calibration_slope')"
        ).fetchall()
    table = pd.read_csv(run / "report" / "tables" / "calibration.csv").set_index("arm")
    for metric, column in (("test/brier", "brier"), ("test/calibration_slope", "slope")):
        told = {name: pytest.approx(value) for key, name, value in rows if key == metric}
        assert told == table[column].dropna().to_dict()


def test_the_logged_model_has_a_signature_and_predicts(demo: Path, run: Path) -> None:
    features = pd.read_parquet(run / "features.parquet")
    seen = []
    for file in (demo / "mlartifacts").rglob("MLmodel"):
        inputs = json.loads(yaml.safe_load(file.read_text())["signature"]["inputs"])
        seen.append({column["name"] for column in inputs if not column["name"].startswith("@")})
    measured = {name for name in features.columns if not name.startswith("fused-")}
    assert {name for name in measured if name.startswith("CT.")} in seen
    assert measured in seen


def test_running_again_reuses_everything_and_changes_no_byte(demo: Path, run: Path) -> None:
    before = {name: (run / name).read_bytes() for name in ("features.csv", "report/auc.csv", "splits.csv")}
    plan = json.loads(radfuse("run", "--dry-run", "--json", cwd=demo).stdout)["plan"]
    assert set(plan) == {"align", "fuse", "extract", "train"}
    assert all(counts["redo"] == 0 < counts["reuse"] for counts in plan.values())
    again = radfuse("train", "--fusion", "late", "--jobs", 1, cwd=demo)
    assert again.returncode == 0, again.stderr
    assert radfuse("run", "-q", cwd=demo).returncode == 0
    assert {name: (run / name).read_bytes() for name in before} == before


def test_the_page_is_whole(run: Path) -> None:
    page = (run / "report" / "index.html").read_text()
    assert "early-logistic" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


def test_every_other_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("mine")
    done = radfuse("demo", tmp_path)
    assert done.returncode == 2
    assert "is not empty and not a demo" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]
