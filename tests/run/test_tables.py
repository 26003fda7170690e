"""`radfuse train --features`: what it leaves predicts from further feature tables, and can be exported."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import InProcess

from radfuse.errors import ConfigError, DataError, StageError
from radfuse.run.controls import Asked
from radfuse.run.export import export_run
from radfuse.run.exported import ExportedRun, open_predictor
from radfuse.run.fitted import FittedRun
from radfuse.run.predict import predict_measured, predict_patients
from radfuse.run.progress import Silent
from radfuse.run.tables import train_table
from radfuse.train.stage import Train

QUICK = (
    "train.splits={folds: 2, repeats: 1}", "train.fusions=[early, late]", "train.bootstrap=20", "train.explain=null",
    "train.operating=null", "execution.jobs=1",
)  # fmt: skip
GIVEN = {"outcome": "y", "batch": "site", "protect": "age"}


@pytest.fixture(scope="module")
def tabled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table of two sites, with ready-made fused images, of one of which the name tells no parts."""
    folder, rng, n = tmp_path_factory.mktemp("tabled"), np.random.default_rng(5), 36
    index = pd.Index([f"patient-{i:02d}" for i in range(n)], name="subject")
    outcome = np.arange(n) % 2
    values = {
        f"{name}.original_firstorder_F{k}": rng.normal(size=n) + outcome * (k == 0)
        for name in ("CT", "PET", "fused-average-CT_PET", "fused-mine-elsewhere")
        for k in range(3)
    }
    facts = {"y": outcome, "site": np.where(np.arange(n) % 3, "north", "south"), "age": 60.0 + np.arange(n) % 7}
    pd.DataFrame(values, index).to_csv(folder / "F.csv")
    pd.DataFrame(facts, index).to_csv(folder / "S.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("radfuse.run.tables.LocalExecutor", InProcess)
        patch.setattr("radfuse.run.tables.tracked", lambda trained, places: trained.judged)
        train_table(folder / "F.csv", folder / "S.csv", GIVEN, "all", QUICK, folder / "RUN", Silent())
    return folder


def test_it_predicts_what_its_models_say_and_its_export_does_the_same(tabled: Path) -> None:
    run, facts = FittedRun.open(tabled / "RUN"), [tabled / "S.csv"]
    own = predict_measured(run, tabled / "F.csv", facts, ["all"], tabled / "own.csv", Silent())
    assert own.failed == ()
    rows = run.table.rows()
    for arm in run.arms(["all"]):
        said = own.scores[own.scores["arm"] == arm.name].set_index("subject")["score"]
        assert said.to_numpy() == pytest.approx(run.model(arm).predict_proba(rows)[:, 1], abs=1e-12), arm.name
    assert own.external is not None
    done = export_run(run, ["all"], tabled / "export")
    opened = open_predictor(tabled / "export")
    assert isinstance(opened, ExportedRun)
    assert not opened.images
    assert done.manifest.primary == "early-logistic" == opened.primary
    assert set(done.manifest.stages) == {"harmonize", "train"}
    assert {"SimpleITK", "pyradiomics-cuda"}.isdisjoint(done.manifest.libraries)
    assert set(done.manifest.needs["batches"]) == set(run.table.modalities)
    elsewhere = predict_measured(opened, tabled / "F.csv", facts, ["all"], tabled / "elsewhere.csv", Silent())
    pd.testing.assert_frame_equal(elsewhere.scores, own.scores)


def test_the_card_of_its_export_asks_for_features_and_names_nobody(tabled: Path, tmp_path: Path) -> None:
    export_run(FittedRun.open(tabled / "RUN"), [], tmp_path / "export")
    card = (tmp_path / "export" / "README.md").read_text()
    assert "--features new.csv --subjects facts.csv" in card
    assert "the 12 features of `known.json`" in card
    assert not [word for word in ("fingerprints.json", "weights/", "- images of", "--manifest") if word in card]
    files = {path.name: path for path in (tmp_path / "export").iterdir()}
    assert set(files) == {"README.md", "export.json", "known.json", "models", "requirements.txt", "run.yaml"}
    for path in (path for path in files.values() if path.is_file()):
        assert "patient-" not in path.read_text(), path


def test_new_rows_follow_the_policies(tabled: Path, tmp_path: Path) -> None:
    """An unseen site is left raw and said to be; a missing modality is borne; a missing column is named."""
    run = FittedRun.open(tabled / "RUN")
    values, facts = (pd.read_csv(tabled / f"{name}.csv", index_col="subject").iloc[:3] for name in "FS")
    facts.loc["patient-01", "site"] = "elsewhere"
    values.loc["patient-02", [c for c in values if c.startswith("PET.")]] = np.nan
    values.to_csv(tmp_path / "new.csv")
    facts.drop(columns="y").to_csv(tmp_path / "facts.csv")
    given = run, tmp_path / "new.csv", [tmp_path / "facts.csv"]
    found = predict_measured(*given, ["early-logistic"], tmp_path / "scores.csv", Silent())
    table = found.scores.set_index("subject")
    assert table["harmonised"].to_dict() == {
        "patient-00": "yes",
        "patient-01": "raw: CT (unseen batch elsewhere), PET (unseen batch elsewhere)",
        "patient-02": "yes",
    }
    assert table["missing"].tolist() == ["", "", "PET"]
    assert table["score"].between(0, 1).all()
    assert found.external is None
    values.drop(columns="CT.original_firstorder_F1").to_csv(tmp_path / "new.csv")
    with pytest.raises(DataError, match="lack 1 of the 12 columns") as caught:
        predict_measured(*given, [], tmp_path / "scores.csv", Silent())
    assert "leave the cell empty" in caught.value.hint
    with pytest.raises(ConfigError, match="was trained on a feature table"):
        predict_patients(*given, [], tmp_path / "scores.csv", Silent())


@pytest.mark.parametrize(
    ("fusion", "control", "said"), [("best", (), "--fusion best"), ("all", ("shuffle:MR",), "expected a modality")]
)
def test_what_is_refused_leaves_the_run_as_it_was(
    tabled: Path, fusion: str, control: tuple[str, ...], said: str
) -> None:
    before = (tabled / "RUN" / "run.yaml").read_bytes()
    given = {**GIVEN, "protect": None}, fusion, QUICK, tabled / "RUN", Silent(), Asked(control)
    with pytest.raises(ConfigError, match=said):
        train_table(tabled / "F.csv", tabled / "S.csv", *given)
    assert (tabled / "RUN" / "run.yaml").read_bytes() == before


def test_one_that_was_changed_or_is_of_another_version_is_refused(
    tabled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = Path(shutil.copytree(tabled / "RUN", tmp_path / "RUN"))
    text = (copied / "run.yaml").read_text()
    (copied / "run.yaml").write_text(text.replace("small_below: 5", "small_below: 6"))
    with pytest.raises(StageError, match="early-logistic was made with other settings") as caught:
        FittedRun.open(copied).arms()
    assert "train --features" in caught.value.hint
    (copied / "run.yaml").write_text(text)
    monkeypatch.setattr(Train, "version", Train.version + 1)
    with pytest.raises(StageError, match="train had version"):
        FittedRun.open(copied).arms()
    (copied / "train/table.parquet").unlink()
    with pytest.raises(StageError, match=r"has no train/table\.parquet"):
        FittedRun.open(copied)
