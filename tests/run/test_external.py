"""The external test of a study: what it says, that nothing is learned from it, and when it stands."""

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from conftest import InProcess
from sklearn.metrics import roc_auc_score

from radfuse.config import Config, External, read_config
from radfuse.data.study import Study
from radfuse.errors import ConfigError
from radfuse.report.external import external
from radfuse.run import measuring, metrics, session
from radfuse.run.demo import write_demo
from radfuse.run.external import external_problems, external_tables, externally_tested, require_arms
from radfuse.run.judging import Judged, judge
from radfuse.run.session import Session
from radfuse.run.store import Redo, Store, file_digest
from radfuse.run.study import public_settings, report_study, train_study
from radfuse.run.validate import problems_of
from radfuse.train.stage import Train

ARMS = ("early-logistic", "single-PET-logistic")
SECTION = 'id="external"'
FAST = [
    "align.registration=none", "align.spacing_mm=4", "fuse.methods=[]", "train.fusions=[early]",
    "train.splits={folds: 2, repeats: 1}", "train.bootstrap=20", "execution.jobs=1", "execution.device=cpu",
    "train.baselines={volume: false, uptake: false, batch: false}", "harmonize.harmonizer={method: combat}",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Done:
    """A finished study, its config with an external test, and what that found."""

    folder: Path
    config: Config
    before: dict[str, str]
    judged: Judged

    def open(self, redo: Redo = Redo(), **changed: Any) -> Session:  # noqa: B008
        return Session(self.config.model_copy(update=changed), self.folder / "study", redo=redo)


def trained(folder: Path) -> dict[str, str]:
    run = folder / "study" / "runs" / "main"
    return {str(path): file_digest(path) for part in ("train", "report") for path in sorted((run / part).rglob("*.*"))}


def judged_by(opened: Session) -> Judged:
    config, table = opened.config, opened.table()
    return judge(
        opened.store, table, config.train, config.harmonize, opened.executor, opened.listener, opened.log,
        redo=opened.redo,
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """Ten patients are trained on; of six others one is of a new scanner, one has no image, one is of the ten."""
    folder = tmp_path_factory.mktemp("external")
    path = write_demo(folder / "study", 7, 10)
    write_demo(folder / "other", 8, 5)
    rows, facts = pd.read_csv(folder / "other" / "manifest.csv"), pd.read_csv(folder / "other" / "clinical.csv")
    for table in (rows, facts):
        table["subject"] = table["subject"].str.replace("phantom", "new")
    facts.loc[facts["subject"] == "new-002", "scanner_pet"] = "pet-new"
    lost = rows[(rows["subject"] == "new-003") & (rows["modality"] == "PET")]
    (folder / "other" / lost["image"].iloc[0]).unlink()
    own, own_facts = (pd.read_csv(folder / "study" / name) for name in ("manifest.csv", "clinical.csv"))
    own, own_facts = own[own["subject"] == "phantom-004"], own_facts[own_facts["subject"] == "phantom-004"]
    own = own.assign(subject="twin", **{c: [f"../study/{p}" for p in own[c]] for c in ("image", "mask")})
    pd.concat([rows, own]).to_csv(folder / "other" / "manifest.csv", index=False)
    pd.concat([facts, own_facts.assign(subject="twin")]).to_csv(folder / "other" / "facts.csv", index=False)
    config = read_config(path, FAST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "LocalExecutor", InProcess)
        patch.setattr(measuring, "LocalExecutor", InProcess)
        with Session(config, folder / "study") as opened:
            opened.align()
            opened.extract()
            opened.describe()
            judged_by(opened)
        before = trained(folder)
        there = External(manifest=Path("../other/manifest.csv"), tables=(Path("../other/facts.csv"),))
        config = config.model_copy(update={"external": there})
        with Session(config, folder / "study") as opened:
            found = externally_tested(opened, judged_by(opened))
        yield Done(folder, config, before, found)


def test_the_declared_arms_are_tested_on_who_is_new(done: Done) -> None:
    scores, auc = done.judged.tables["external_scores"], done.judged.tables["external"].set_index("arm")
    assert set(auc.index) == set(ARMS)
    outcome = pd.read_csv(done.folder / "other" / "facts.csv").set_index("subject")["outcome"]
    for arm in ARMS:
        part = scores[(scores["arm"] == arm) & (scores["subject"] != "twin")].dropna(subset="score")
        truth = outcome[part["subject"]]
        assert (auc.loc[arm, "n"], auc.loc[arm, "events"]) == (4, truth.sum())
        assert auc.loc[arm, "auc"] == pytest.approx(roc_auc_score(truth, part["score"]), abs=1e-12)
    assert set(scores[scores["seen_in_training"]]["subject"]) == {"twin"}
    assert set(scores[scores["harmonised"] == "raw: PET (unseen batch pet-new)"]["subject"]) == {"new-002"}


def test_no_model_learned_from_it(done: Done) -> None:
    """A run with the external test leaves every file of training as the run without it made them."""
    assert len(done.before) > 10
    assert trained(done.folder) == done.before
    assert done.judged.trained == 0


def test_who_could_not_be_scored_is_told_and_is_no_failure_of_the_study(done: Done) -> None:
    (problem,) = done.judged.failed
    assert problem.subject == "new-003"
    assert problem.what.startswith("external: manifest: PET image not found")
    failures = pd.read_csv(done.folder / "study" / "runs" / "main" / "report" / "failures.csv")
    assert failures.empty


def test_it_is_not_computed_again(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: object) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr("radfuse.run.external._tested", never)
    with done.open() as opened:
        again = externally_tested(opened, judged_by(opened))
        shown = external_tables(opened)
    assert again.failed == done.judged.failed
    for name in ("external", "external_scores"):
        pd.testing.assert_frame_equal(shown[name], done.judged.tables[name])
        pd.testing.assert_frame_equal(again.tables[name], done.judged.tables[name])
    with done.open(redo=Redo(everything=True)) as opened, pytest.raises(AssertionError, match="scored again"):
        externally_tested(opened, done.judged)


def test_patients_whom_the_machine_failed_are_tried_again(done: Done) -> None:
    """A killed worker must not stay a failure for ever, as long as nothing else changes."""
    with done.open() as opened:
        record = opened.store.read("external")
        assert record is not None
        assert not record.transient, "an image that is not there is no failure of the machine"
        own = Store(opened.store.folder("external") / "scores.radfuse")
        stood = own.read("align", "new-001")
        assert stood is not None
        own.close(replace(stood, status="failed", what="killed", transient=True))
        opened.store.close(replace(record, transient=True))
        again = externally_tested(opened, judged_by(opened))
        assert again.failed == done.judged.failed
        assert (own.read("align", "new-001") or stood).done
        assert not (opened.store.read("external") or record).transient


def test_a_judgement_that_was_interrupted_is_not_believed(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are of the AUCs beside them: neither half is taken for the whole."""
    from radfuse.run import judging

    def full(*given: object) -> None:
        raise OSError("disk full")

    with done.open() as opened:
        report = opened.store.folder("report")
        (report / judging.JUDGED).write_text("{}")
        before = trained(done.folder)
        monkeypatch.setattr(Train, "tables", full)
        with pytest.raises(OSError, match="disk full"):
            judged_by(opened)
        assert trained(done.folder) == before, "nothing is written before all is known"
        monkeypatch.undo()
        monkeypatch.setattr(judging, "write_text", full)
        with pytest.raises(OSError, match="disk full"):
            judged_by(opened)
        assert not (report / judging.JUDGED).exists()


def test_the_report_shows_it_only_of_the_present_models_and_patients(done: Done, tmp_path: Path) -> None:
    with done.open() as opened:
        assert external_tables(opened)
    train = done.config.train
    for changed in (
        {"external": External()},
        {"external": done.config.external.model_copy(update={"arms": ("all",)})},
        {"train": train.model_copy(update={"seed": 1})},
        {"train": train.model_copy(update={"confidence": 0.9})},
    ):
        with done.open(**changed) as opened:
            assert external_tables(opened) == {}, changed
    place = done.folder / "other"
    image = place / pd.read_csv(place / "manifest.csv")["image"].iloc[0]
    for path in (image, place / "facts.csv"):
        shutil.copy(path, tmp_path / path.name)
        if path == image:
            volume = sitk.ReadImage(str(path))
            sitk.WriteImage(volume + 1, str(path))
        else:
            path.write_text(path.read_text() + "\n")
        with done.open() as opened:
            assert external_tables(opened) == {}, path
        shutil.copy(tmp_path / path.name, path)
    with done.open() as opened:
        assert external_tables(opened)


def test_a_test_that_cannot_be_done_costs_the_study_nothing_else(done: Done) -> None:
    wrong = {
        "has no arm 'early-logistc'; did you mean 'early-logistic'?": {"arms": ("early-logistc",)},
        "table not found": {"manifest": Path("gone.csv")},
        "column 'scanner_ct'": {"tables": (Path("manifest.csv"),)},
    }
    bare = replace(done.judged, failed=(), tables={})
    for said, changed in wrong.items():
        with done.open(external=done.config.external.model_copy(update=changed)) as opened:
            found = externally_tested(opened, bare)
            assert external_tables(opened) == {}
        (problem,) = found.failed
        assert problem.subject == "external test"
        assert said in problem.what
        pd.testing.assert_frame_equal(found.auc, done.judged.auc)
        assert found.tables == {}


def test_an_arm_that_the_study_does_not_have_is_refused_before_training(done: Done) -> None:
    with done.open(external=External(arms=("early-logistik", "all"))) as opened:
        with pytest.raises(ConfigError, match="no arm 'early-logistik'; did you mean 'early-logistic'"):
            require_arms(opened.config, opened.table())
        require_arms(done.config, opened.table())


def test_a_setting_of_a_modality_that_no_image_has_is_told(done: Done) -> None:
    align = done.config.align.model_copy(update={"fwhm_mm": {"PET": 5.0, "PETT": 5.0}})
    said = [problem.what for problem in problems_of(done.config.model_copy(update={"align": align}))]
    assert [text for text in said if "align." in text] == [
        "align.fwhm_mm.PETT is for no image of the manifest; it has CT, PET"
    ]


def test_weights_that_are_not_there_are_told(done: Done) -> None:
    own = {"method": "mdafuse", "weights": "nowhere.safetensors", "sha256": "0" * 64}
    fuse = done.config.fuse.model_validate({"methods": [own]})
    said = [problem.what for problem in problems_of(done.config.model_copy(update={"fuse": fuse}))]
    assert any(text.startswith("weights not found: ") for text in said)


def test_no_path_of_this_machine_is_in_the_report_or_mlflow(done: Done) -> None:
    there = External(manifest=done.folder / "other" / "manifest.csv", tables=(done.folder / "other" / "facts.csv",))
    settings = public_settings(done.config.model_copy(update={"external": there}))
    assert settings["external"]["manifest"] == "manifest.csv"
    assert settings["external"]["tables"] == ["facts.csv"]
    assert str(done.folder) not in str(settings)


def test_no_external_cohort_and_no_declared_comparison_is_no_test(done: Done) -> None:
    bare = replace(done.judged, failed=(), tables={})
    with done.open(external=External()) as opened:
        assert externally_tested(opened, bare) is bare
    with done.open() as opened:
        alone = replace(bare, contrast=None)
        assert externally_tested(opened, alone) is alone


def test_a_manifest_that_cannot_be_read_is_named_before_anything_is_computed(done: Done) -> None:
    assert external_problems(done.config) == []
    gone = External(manifest=Path("gone.csv"), tables=(Path("none.csv"),))
    told = [problem.what for problem in external_problems(done.config.model_copy(update={"external": gone}))]
    assert [text.split(":")[:2] for text in told] == [["external", " table not found"]] * 2


def test_mlflow_gets_every_number_of_the_arm(done: Done) -> None:
    found = metrics.external_metrics(done.judged, "early-logistic")
    row = done.judged.tables["external"].set_index("arm").loc["early-logistic"]
    assert found["external/auc"] == row["auc"]
    assert found["external/n"] == 4
    assert metrics.external_metrics(replace(done.judged, tables={}), "early-logistic") == {}


def test_the_report_has_a_section_of_whatever_columns_come(done: Done) -> None:
    tables = dict(done.judged.tables)
    tables["external"] = tables["external"].assign(brier=0.125, patients=7)
    study = Study("s", {}, pd.DataFrame(), pd.DataFrame(), tables=tables)
    (section,) = external(study)
    text = " ".join(
        block.text if block.kind == "words" else " ".join([*block.columns, *(" ".join(row) for row in block.rows)])
        for block in section.blocks
        if block.kind in ("words", "table")
    )
    assert "scored 6 patients of another manifest" in text
    assert "left out of the AUC: 1 patient (twin)" in text
    assert "raw: PET (unseen batch pet-new)" in text
    for told in ("brier", "0.125", " 7"):
        assert told in text
    assert f"{done.judged.tables['external']['auc'].iloc[0]:.3f}" in text
    assert external(Study("s", {}, pd.DataFrame(), pd.DataFrame())) == []
    (silent,) = external(
        Study("s", {}, pd.DataFrame(), pd.DataFrame(), tables={"external_scores": tables["external_scores"]})
    )
    assert "No AUC: the tables tell no outcome" in " ".join(b.text for b in silent.blocks if b.kind == "words")
    assert np.isfinite(tables["external"]["auc"]).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own packages warn of each other
def test_training_makes_the_report_and_mlflow_show_it_and_a_report_alone_keeps_it(
    done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LocalExecutor", InProcess)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    page = done.folder / "study" / "runs" / "main" / "report" / "index.html"
    plain = done.config.tracking.model_copy(update={"models": False})
    with done.open(tracking=plain) as opened:
        found = train_study(opened, "all")
        assert SECTION in page.read_text()
        page.unlink()
        report_study(opened)
        assert SECTION in page.read_text()
    with done.open(external=External(), tracking=plain) as opened:
        report_study(opened)
        assert SECTION not in page.read_text()
    assert [problem.subject for problem in found.failed] == ["new-003"]
    with sqlite3.connect(done.folder / "study" / "mlflow.db") as database:
        logged = {value for (value,) in database.execute("select value from metrics where key = 'external/auc'")}
    assert sorted(logged) == pytest.approx(sorted(set(done.judged.tables["external"]["auc"])))
