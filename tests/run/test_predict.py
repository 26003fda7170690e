"""`radfuse predict`: new patients from images to scores, and every reason not to give one."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
from conftest import InProcess
from sklearn.metrics import roc_auc_score

from radfuse.align.stage import Align
from radfuse.config import read_config
from radfuse.errors import ConfigError, StageError
from radfuse.extract.stage import Extract
from radfuse.fuse.mdafuse import MdAFuse
from radfuse.fuse.networks.weights import save_weights
from radfuse.fuse.stage import Fuse
from radfuse.harmonize.stage import Harmonize
from radfuse.run import fitted, newcomers, predict
from radfuse.run.demo import write_demo
from radfuse.run.fitted import FittedRun
from radfuse.run.newcomers import read_newcomers
from radfuse.run.predict import Predicted, predict_patients
from radfuse.run.progress import Silent
from radfuse.run.session import Session
from radfuse.run.store import Store, file_digest
from radfuse.train.stage import Train

OWN = ("phantom-001", "phantom-002")
NEW = {"phantom-001": "known", "phantom-002": "unseen", "phantom-003": "nopet", "phantom-004": "empty"}


class Following(Silent):
    """A listener that remembers how much stood."""

    def __init__(self) -> None:
        self.reused: dict[str, tuple[int, int]] = {}

    def began(self, stage: str, total: int, reused: int) -> None:
        self.reused[stage] = (total, reused)


@pytest.fixture(scope="module")
def run(demo: Path) -> FittedRun:
    return FittedRun.open(demo, overrides=["execution.jobs=1"])


@pytest.fixture(scope="module")
def arrived(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the study's own patients and four of another phantom cohort: as known as the study's, from a scanner that
    it never saw, without PET (nor a word on its scanner), and with an empty mask."""
    folder = tmp_path_factory.mktemp("arrived")
    write_demo(folder / "other", 5, 4)
    manifests, tables = [], []
    for place, names in ((folder / "other", NEW), (demo, {name: name for name in OWN})):
        rows, facts = pd.read_csv(place / "manifest.csv"), pd.read_csv(place / "clinical.csv")
        for table in (rows, facts):
            table["subject"] = table["subject"].map(names)
        for column in ("image", "mask"):
            rows[column] = [str(place / path) for path in rows[column]]
        manifests.append(rows.dropna(subset="subject"))
        tables.append(facts.dropna(subset="subject"))
    rows, facts = pd.concat(manifests), pd.concat(tables)
    for mask in rows[rows["subject"] == "empty"]["mask"]:
        sitk.WriteImage(sitk.ReadImage(mask) * 0, mask)
    facts.loc[facts["subject"] == "unseen", "scanner_pet"] = "pet-new"
    facts.loc[facts["subject"] == "nopet", "scanner_pet"] = None
    rows[~((rows["subject"] == "nopet") & (rows["modality"] == "PET"))].to_csv(folder / "new.csv", index=False)
    facts.to_csv(folder / "facts.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def predicted(run: FittedRun, arrived: Path) -> Predicted:
    manifest, tables, output = arrived / "new.csv", [arrived / "facts.csv"], arrived / "predictions.csv"
    return predict_patients(run, manifest, tables, ["all"], output, Silent())


def scores_of(predicted: Predicted, subject: str) -> pd.DataFrame:
    return predicted.scores[predicted.scores["subject"] == subject].set_index("arm")


@pytest.mark.slow
def test_a_patient_of_the_study_gets_from_images_what_the_model_says_of_its_own_row(
    run: FittedRun, predicted: Predicted
) -> None:
    rows = run.table.rows()
    for arm in run.arms(["all"]):
        said = pd.Series(run.model(arm).predict_proba(rows)[:, 1], rows.index)
        for subject in OWN:
            assert scores_of(predicted, subject).loc[arm.name, "score"] == pytest.approx(said[subject], abs=1e-9)


@pytest.mark.slow
def test_who_was_seen_in_training_is_flagged_and_told(predicted: Predicted) -> None:
    flagged = predicted.scores.groupby("subject")["seen_in_training"].agg(["all", "any"])
    assert flagged["all"].equals(flagged["any"])
    assert set(flagged.index[flagged["all"]]) == set(OWN)
    assert [note for note in predicted.notes if "seen in training, as phantom-002" in note]


@pytest.mark.slow
def test_a_new_patient_is_treated_as_in_a_study_of_its_own(run: FittedRun, arrived: Path, predicted: Predicted) -> None:
    other = arrived / "other"
    with Session(read_config(other / "radfuse.yaml"), other, only=["phantom-001"]) as session:
        session.executor = InProcess()  # type: ignore[assignment]
        session.align()
        session.fuse()
        session.extract()
        rows = session.write_features().rows()[run.table.rows().columns]
    found = scores_of(predicted, "known")
    assert (found["error"] == "").all()
    for arm in run.arms(["all"]):
        expected = run.model(arm).predict_proba(rows)[0, 1]
        assert found.loc[arm.name, "score"] == pytest.approx(expected, abs=1e-9), arm.name
        assert found.loc[arm.name, "harmonised"] == ("yes" if arm.baseline is None else "no")


@pytest.mark.slow
def test_an_unseen_scanner_is_left_raw_and_said_to_be(run: FittedRun, arrived: Path, predicted: Predicted) -> None:
    found = scores_of(predicted, "unseen")
    assert found.loc["single-CT-logistic", "harmonised"] == "yes"
    for arm in ("single-PET-logistic", "early-logistic", "late-logistic", "intermediate"):
        assert found.loc[arm, "harmonised"] == "raw: PET (unseen batch pet-new)"
    fused = found.loc["image-fused-average-CT_PET-logistic", "harmonised"]
    assert fused.startswith("raw: fused-average-CT_PET (unseen batch ct-")
    assert fused.endswith("+pet-new)")
    # Raw means: the same pipeline with its harmoniser taken out.
    model = run.model(run.arms(["single-PET-logistic"])[0])
    row = pd.read_parquet(arrived / "predictions.radfuse/extract/unseen/row.parquet").set_index("column")["value"]
    rows = pd.DataFrame([row], index=["unseen"]).assign(**{"@batch.PET": "pet-new", "@age": 60.0, "@sex": "F"})
    rows = rows.assign(**{"@grade": 2, "@batch.CT": "ct-a"})
    for name, step in model.named_steps.items():
        if name not in ("harmonize", "classify"):
            rows = step.transform(rows)
    assert found.loc["single-PET-logistic", "score"] == model.named_steps["classify"].predict_proba(rows)[0, 1]


@pytest.mark.slow
def test_fusion_bears_a_missing_modality_and_an_arm_that_looks_at_nothing_else_says_so(predicted: Predicted) -> None:
    found = scores_of(predicted, "nopet")
    for arm in ("early-logistic", "late-logistic", "intermediate"):
        assert found.loc[arm, "missing"] == "PET"
        assert 0 < found.loc[arm, "score"] < 1
        assert found.loc[arm, "harmonised"] == "yes"
    assert found.loc["late-logistic", "score"] == found.loc["single-CT-logistic", "score"]  # all that is left of it
    assert found.loc["single-CT-logistic", "missing"] == ""
    for arm in ("single-PET-logistic", "image-fused-mdafuse-CT_PET-logistic", "baseline-volume-suvmax"):
        assert np.isnan(found.loc[arm, "score"])
        assert "which the patient lacks" in found.loc[arm, "error"]
        assert arm in [p.what.split()[1] for p in predicted.failed if p.subject == "nopet"]
    for arm in ("baseline-volume", "baseline-batch", "baseline-clinical"):
        assert found.loc[arm, "error"] == ""


@pytest.mark.slow
def test_an_empty_mask_costs_that_patient_alone(arrived: Path, predicted: Predicted) -> None:
    found = scores_of(predicted, "empty")
    assert found["score"].isna().all()
    assert found["error"].str.startswith("align: ").all()
    failures = pd.read_csv(arrived / "predictions.failures.csv")
    own = failures[failures["subject"] == "empty"]
    assert own["stage"].tolist() == ["align"]
    assert "no voxel of label 1" in own["what"].item()
    assert set(failures["subject"]) == {"empty", "nopet"}


@pytest.mark.slow
def test_the_file_loses_no_digit_and_says_what_it_was_made_from(
    run: FittedRun, arrived: Path, predicted: Predicted
) -> None:
    text = pd.read_csv(arrived / "predictions.csv", dtype=str, keep_default_na=False)
    assert list(text.columns) == list(predict.COLUMNS)
    told = ["" if np.isnan(score) else repr(float(score)) for score in predicted.scores["score"]]
    assert text["score"].tolist() == told
    made = json.loads((arrived / "predictions.json").read_text())
    record = run.store.read("train", "early-logistic")
    assert record is not None
    assert made["models"]["early-logistic"] == record.files["model.skops"]


@pytest.mark.slow
def test_the_external_auc_leaves_out_who_was_seen(arrived: Path, predicted: Predicted) -> None:
    assert predicted.external is not None
    outcome = pd.read_csv(arrived / "facts.csv").set_index("subject")["outcome"]
    external = predicted.external.set_index("arm")
    new = ["known", "unseen", "nopet"]
    early = scores_of(predicted, "known")  # one patient's rows, for the arms' names
    assert set(external.index) == set(early.index)
    table = predicted.scores[predicted.scores["arm"] == "early-logistic"].set_index("subject").loc[new]
    row = external.loc["early-logistic"]
    assert (row["n"], row["events"]) == (3, outcome[new].sum())
    assert row["auc"] == pytest.approx(roc_auc_score(outcome[new], table["score"]))
    assert np.isnan(row["ci_low"])  # DeLong needs two of each outcome
    assert external.loc["single-PET-logistic", "n"] == 2


@pytest.mark.slow
def test_what_stands_is_not_done_again_and_company_changes_no_score(
    run: FittedRun, arrived: Path, predicted: Predicted, tmp_path: Path
) -> None:
    rows = pd.read_csv(arrived / "new.csv")
    rows[rows["subject"].isin(["known", "nopet"])].to_csv(arrived / "fewer.csv", index=False)
    follow = Following()
    facts, output = pd.read_csv(arrived / "facts.csv").drop(columns="outcome"), tmp_path / "scores.csv"
    facts.to_csv(arrived / "without.csv", index=False)
    shutil.copytree(arrived / "predictions.radfuse", output.with_suffix(".radfuse"))
    output.with_suffix(".external.csv").write_text("of an earlier command")
    again = predict_patients(run, arrived / "fewer.csv", [arrived / "without.csv"], [], output, follow)
    assert follow.reused == {stage: (2, 2) for stage in ("align", "fuse", "extract")}
    assert set(again.scores["arm"]) == {"early-logistic"} == {run.primary}
    assert again.external is None
    assert not output.with_suffix(".external.csv").exists()
    assert again.failed == ()
    for subject in ("known", "nopet"):
        assert scores_of(again, subject)["score"].item() == scores_of(predicted, subject).loc[run.primary, "score"]


@pytest.mark.slow
def test_volumes_that_no_arm_looks_at_are_not_made(
    run: FittedRun, arrived: Path, predicted: Predicted, tmp_path: Path
) -> None:
    rows = pd.read_csv(arrived / "new.csv")
    rows[rows["subject"] == "known"].to_csv(arrived / "one.csv", index=False)
    follow, output = Following(), tmp_path / "scores.csv"
    again = predict_patients(run, arrived / "one.csv", [arrived / "facts.csv"], [], output, follow)
    assert follow.reused == {stage: (1, 0) for stage in ("align", "extract")}
    assert scores_of(again, "known")["score"].item() == scores_of(predicted, "known").loc[run.primary, "score"]


@pytest.fixture
def copy(demo: Path, tmp_path: Path) -> Path:
    """The demo's run in another place, where single files of it can be changed."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in (demo / "runs" / "main").iterdir():
        if path.name in ("run.yaml", "environment.json", "features.parquet"):
            shutil.copyfile(path, folder / path.name)
        elif path.name != "train":
            (folder / path.name).symlink_to(path)
    shutil.copytree(demo / "runs" / "main" / "train", folder / "train")
    return folder


@pytest.mark.slow
def test_arms_that_were_never_trained_are_left_out_of_all(copy: Path) -> None:
    there = [arm.name for arm in FittedRun.open(copy).arms(["all"])]
    shutil.rmtree(copy / "train" / "intermediate")
    opened = FittedRun.open(copy)
    assert [arm.name for arm in opened.arms(["all"])] == [name for name in there if name != "intermediate"]
    with pytest.raises(StageError, match="intermediate was not trained"):
        opened.arms(["intermediate"])
    shutil.rmtree(copy / "train")
    with pytest.raises(StageError, match="was not trained"):
        opened.arms(["all"])


@pytest.mark.slow
@pytest.mark.parametrize("stage", [Align, Fuse, Extract])
def test_a_run_of_another_version_is_refused(demo: Path, stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    then = stage.version
    monkeypatch.setattr(stage, "version", then + 1)
    with pytest.raises(StageError, match=f"{stage.name} had version {then}, this radfuse has {then + 1}"):
        FittedRun.open(demo)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [Train, Harmonize])
def test_a_model_of_another_version_is_refused(run: FittedRun, stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    then = stage.version
    monkeypatch.setattr(stage, "version", then + 1)
    with pytest.raises(StageError, match=f"{stage.name} had version {then}, this radfuse has {then + 1}"):
        run.arms()


@pytest.mark.slow
def test_other_libraries_are_refused_by_name(run: FittedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitted, "libraries", lambda *names: dict.fromkeys(names, "0.0"))
    with pytest.raises(StageError, match=r"SimpleITK \S+ then, 0.0 now"):
        run.require_standing()
    with pytest.raises(StageError, match=r"scikit-learn \S+ then, 0.0 now"):
        run.arms()


@pytest.mark.slow
def test_a_run_whose_parts_do_not_belong_together_is_refused(copy: Path) -> None:
    assert FittedRun.open(copy).arms()[0].name == "early-logistic"
    settings = (copy / "run.yaml").read_text()
    for what, changed in (
        ("align", ("min_voxels: 27", "min_voxels: 28")),
        ("model", ("small_below: 5", "small_below: 6")),
    ):
        assert changed[0] in settings
        (copy / "run.yaml").write_text(settings.replace(*changed))
        with pytest.raises(StageError, match=f"{what} of .* was made with other settings"):
            FittedRun.open(copy).arms()
    (copy / "run.yaml").write_text(settings)
    run = FittedRun.open(copy)
    run.model_file(run.arms()[0]).write_bytes(b"")
    with pytest.raises(StageError, match=r"files of early-logistic .* are not those that training wrote"):
        run.arms()
    values = pd.read_parquet(copy / "features.parquet")
    (values * 2).to_parquet(copy / "features.parquet")
    with pytest.raises(StageError, match="fitted on other features"):
        FittedRun.open(copy)
    (copy / "train" / "table.parquet").unlink()
    with pytest.raises(StageError, match=r"has no train/table\.parquet"):
        FittedRun.open(copy)


@pytest.mark.slow
def test_without_its_scans_a_run_predicts_and_knows_its_patients_by_the_key(
    copy: Path, arrived: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (copy / "run.yaml").read_text()
    (copy / "run.yaml").write_text(text.replace("manifest: manifest.csv", "manifest: gone.csv"))
    run = FittedRun.open(copy)
    assert run.cohort is None
    new = read_newcomers(run, arrived / "new.csv", [arrived / "facts.csv"], run.arms())
    assert new.seen == {name: name for name in OWN}
    assert [note for note in predict._warnings(new, run) if "images of the study are elsewhere" in note]
    monkeypatch.setattr("radfuse.__version__", "99.0")
    with pytest.raises(StageError, match=r"this is 99\.0; its scans are not there"):
        FittedRun.open(copy)


@pytest.mark.slow
def test_arms_are_known_by_name(run: FittedRun) -> None:
    with pytest.raises(ConfigError, match="no arm 'early-logistics'; did you mean 'early-logistic'"):
        run.arms(["early-logistics"])
    assert [arm.name for arm in run.arms(["late-logistic", "late-logistic"])] == ["late-logistic"]


@pytest.mark.slow
def test_faults_of_one_patient_leave_the_others_and_those_of_all_stop(
    run: FittedRun, arrived: Path, tmp_path: Path
) -> None:
    facts = pd.read_csv(arrived / "facts.csv").astype({"age": object})
    facts.loc[facts["subject"] == "known", "age"] = "61y"
    facts = facts[facts["subject"] != "unseen"]
    facts.to_csv(tmp_path / "facts.csv", index=False)
    new = read_newcomers(run, arrived / "new.csv", [tmp_path / "facts.csv"], run.arms())
    assert set(new.refused) == {"known", "unseen"}
    assert "age is '61y', and was a number in training" in new.refused["known"].what
    assert "is not in" in new.refused["unseen"].what
    assert "unseen" not in new.outcome.index
    facts.drop(columns="scanner_ct").to_csv(tmp_path / "facts.csv", index=False)
    with pytest.raises(ConfigError, match="no table has a column 'scanner_ct'"):
        read_newcomers(run, arrived / "new.csv", [tmp_path / "facts.csv"], run.arms())
    other = pd.read_csv(arrived / "new.csv").assign(modality="MR")
    other.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(ConfigError, match="the manifest has no CT or PET; found MR"):
        read_newcomers(run, tmp_path / "new.csv", [arrived / "facts.csv"], run.arms())


@pytest.mark.slow
def test_a_fact_that_no_model_looks_at_may_be_absent(run: FittedRun, arrived: Path, tmp_path: Path) -> None:
    facts = pd.read_csv(arrived / "facts.csv")[["subject", "scanner_ct", "scanner_pet"]]
    facts.to_csv(tmp_path / "facts.csv", index=False)
    new = read_newcomers(run, arrived / "new.csv", [tmp_path / "facts.csv"], run.arms(["baseline-volume"]))
    assert new.refused == {}
    assert new.cohort.subjects["age"].isna().all()
    with pytest.raises(ConfigError, match="no table has a column 'age'"):
        read_newcomers(run, arrived / "new.csv", [tmp_path / "facts.csv"], run.arms())


@pytest.mark.slow
def test_an_outcome_that_cannot_be_read_costs_the_auc_alone(run: FittedRun, arrived: Path, tmp_path: Path) -> None:
    facts = pd.read_csv(arrived / "facts.csv").assign(outcome="maybe")
    facts.to_csv(tmp_path / "facts.csv", index=False)
    new = read_newcomers(run, arrived / "new.csv", [tmp_path / "facts.csv"], run.arms())
    assert new.refused == {}
    assert new.outcome.empty
    assert "no external AUC: outcome must be 0 or 1, found maybe" in new.notes[0]


@pytest.mark.slow
def test_one_image_of_a_training_patient_is_enough_to_know_it(run: FittedRun, arrived: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(arrived / "new.csv")
    rows[(rows["subject"] != OWN[0]) | (rows["modality"] == "PET")].replace({OWN[0]: "other"}).to_csv(
        tmp_path / "new.csv", index=False
    )
    facts = pd.read_csv(arrived / "facts.csv").replace({OWN[0]: "other"})
    facts.to_csv(tmp_path / "facts.csv", index=False)
    new = read_newcomers(run, tmp_path / "new.csv", [tmp_path / "facts.csv"], run.arms())
    assert new.seen == {"other": OWN[0], OWN[1]: OWN[1]}
    fewer = replace(run, table=run.table.take(run.table.values.index.drop(OWN[1])))
    new = read_newcomers(fewer, tmp_path / "new.csv", [tmp_path / "facts.csv"], run.arms())
    assert new.seen == {"other": OWN[0]}, "a patient of the study of whom no model learned"


@pytest.mark.slow
def test_who_a_fusion_network_learned_from_is_seen(
    run: FittedRun, arrived: Path, predicted: Predicted, tmp_path: Path
) -> None:
    new = read_newcomers(run, arrived / "new.csv", [arrived / "facts.csv"], run.arms())
    store = Store(arrived / "predictions.radfuse")
    assert newcomers.learned_from(run, new.cohort, store) == {}
    images = [new.cohort.scans_of("nopet")[0].image, store.root / "align" / "known" / "PET.nii.gz"]
    weights = save_weights({"a": torch.ones(2)}, images=[file_digest(image) for image in images])
    (tmp_path / "own.safetensors").write_bytes(weights)
    own = MdAFuse(weights=str(tmp_path / "own.safetensors"), sha256=hashlib.sha256(weights).hexdigest())
    taught = replace(run, config=run.config.model_copy(update={"fuse": Fuse(methods=(own,))}))
    assert set(newcomers.learned_from(taught, new.cohort, store)) == {"nopet", "known"}


@pytest.mark.slow
def test_a_manifest_without_a_modality_asks_for_no_scanner_of_it(
    run: FittedRun, arrived: Path, predicted: Predicted, tmp_path: Path
) -> None:
    output = tmp_path / "scores.csv"
    shutil.copytree(arrived / "predictions.radfuse", output.with_suffix(".radfuse"))
    rows, facts = pd.read_csv(arrived / "new.csv"), pd.read_csv(arrived / "facts.csv").drop(columns="scanner_pet")
    facts.to_csv(tmp_path / "facts.csv", index=False)
    rows[rows["subject"] == "nopet"].to_csv(tmp_path / "new.csv", index=False)
    alone = predict_patients(run, tmp_path / "new.csv", [tmp_path / "facts.csv"], ["all"], output, Silent())
    pd.testing.assert_frame_equal(
        alone.scores.set_index("arm"), scores_of(predicted, "nopet")[["subject", *alone.scores.columns[2:]]]
    )
    rows[rows["subject"] == "empty"].to_csv(tmp_path / "new.csv", index=False)
    nobody = predict_patients(run, tmp_path / "new.csv", [arrived / "facts.csv"], [], output, Silent())
    assert nobody.scores["score"].isna().all()
    assert [problem.subject for problem in nobody.failed] == ["empty"]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="is no run and holds none called 'main'"):
        FittedRun.open(tmp_path)
