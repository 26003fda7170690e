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
from radfuse.config import CohortSettings, Config, read_config
from radfuse.data.cohort import Cohort, Problem
from radfuse.data.row import FeatureRow
from radfuse.data.table import FeatureTable
from radfuse.errors import CohortError, ConfigError, DataError, RadfuseError, StageError
from radfuse.extract.stage import Extract
from radfuse.fuse.mdafuse import MdAFuse
from radfuse.fuse.networks.weights import save_weights
from radfuse.fuse.stage import Fuse
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.none import Untouched
from radfuse.harmonize.stage import Harmonize
from radfuse.run import fitted, newcomers, predict
from radfuse.run.demo import write_demo
from radfuse.run.fitted import FittedRun
from radfuse.run.lock import alone
from radfuse.run.newcomers import Newcomers, read_measured, read_newcomers
from radfuse.run.predict import Predicted, feature_table, judge_externally, looked_at, predict_patients, score_row
from radfuse.run.progress import Silent
from radfuse.run.session import Session
from radfuse.run.store import Record, Store, file_digest
from radfuse.run.subjects import save_row
from radfuse.train.baselines import MAXIMUM, VOLUMES
from radfuse.train.combinations.vote import Vote
from radfuse.train.fusion.chosen import ChosenImage
from radfuse.train.fusion.late import Late
from radfuse.train.splits.stratified import Stratified
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


# From here on a table made by hand stands for the run.


NAMED = {"CT.original_firstorder_F0": f"CT.{VOLUMES[0]}", "PET.original_firstorder_F0": f"PET.{MAXIMUM}"}


def made(rng: np.random.Generator, n: int = 40, **facts: Any) -> FeatureTable:
    names = [f"P{i:02d}" for i in range(n)]
    outcome = np.arange(n) % 2
    columns = [f"{m}.original_firstorder_F{i}" for m in ("CT", "PET", "fused-average-CT_PET") for i in range(3)]
    values = pd.DataFrame(rng.normal(size=(n, 9)) + outcome[:, None], names, columns)
    sites = np.array(["a", "b"])[(np.arange(n) // 2) % 2]
    described = {
        "outcome": outcome,
        "batch.CT": sites,
        "batch.PET": np.char.add("p", sites),
        "age": 60.0 + np.arange(n) % 7,
    }
    return FeatureTable(values, pd.DataFrame({**described, **facts}, index=names))


def by_hand(folder: Path, table: FeatureTable, harmonizer: Any = None, **settings: Any) -> FittedRun:
    batches = {"CT": "scanner_ct", "PET": "scanner_pet"}
    config = Config(
        cohort=CohortSettings(outcome="y", batches=batches, covariates=("age",)),
        harmonize=Harmonize(harmonizer=harmonizer or ComBat()),
        train=Train(splits=Stratified(folds=2, repeats=1), **settings),
    )
    return FittedRun(Store(folder), config, table)


def model_of(run: FittedRun, name: str) -> tuple[Any, Any]:
    arm = next(arm for arm in run.config.train.arms(run.table) if arm.name == name)
    return arm, arm.fitted(run.table.rows(), run.table.outcome, run.config.harmonize.harmonizer.build())


def test_a_harmoniser_that_refuses_new_batches_gives_an_error_and_one_that_takes_them_says_so(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    table = made(rng)
    row = table.rows().iloc[[0]].assign(**{"@batch.CT": "z"})
    known = {m: set(table.batch_of(m)) for m in table.modalities}  # type: ignore[arg-type]
    told = {}
    for policy in ("refuse", "largest", "pass"):
        arm, model = model_of(by_hand(tmp_path, table, ComBat(unseen=policy)), "single-CT-logistic")
        told[policy] = score_row(arm, model, row, known)
    assert "rows of batch z, which was not fitted" in told["refuse"]["error"]
    assert "score" not in told["refuse"]
    assert told["largest"]["harmonised"] == "yes; CT by policy (unseen batch z)"
    assert told["pass"]["harmonised"] == "raw: CT (unseen batch z)"
    arm, model = model_of(by_hand(tmp_path, table, Untouched()), "single-CT-logistic")
    assert score_row(arm, model, row, known)["harmonised"] == "no"


def test_what_an_arm_bears_ends_where_nothing_is_left_or_it_joins_nothing(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    table = made(rng).with_values(made(rng).values.rename(columns=NAMED))
    row = table.rows().iloc[[0]]
    nothing, no_pet = ([c for c in table.values if c.startswith(names)] for names in (("CT", "PET"), "PET"))
    run = by_hand(tmp_path, table)
    for name in ("late-logistic", "baseline-volume-suvmax"):
        arm, model = model_of(run, name)
        assert "looks at CT and PET" in score_row(arm, model, row.assign(**dict.fromkeys(nothing, np.nan)), {})["error"]
        found = score_row(arm, model, row.assign(**dict.fromkeys(no_pet, np.nan)), {})
        assert ("error" in found) == (name != "late-logistic")
        assert found["missing"] == "PET"


def test_a_missing_covariate_is_filled_in_and_said_to_be(rng: np.random.Generator, tmp_path: Path) -> None:
    table = made(rng)
    arm, model = model_of(by_hand(tmp_path, table, ComBat(protect=("age",))), "early-logistic")
    row = table.rows().iloc[[0]].assign(**{"@age": np.nan})
    found = score_row(arm, model, row, {m: set(table.batch_of(m)) for m in table.modalities})  # type: ignore[arg-type]
    assert found["harmonised"] == "yes; age filled in"


def test_infinite_features_are_an_error_of_that_patient(rng: np.random.Generator, tmp_path: Path) -> None:
    table = made(rng)
    arm, model = model_of(by_hand(tmp_path, table), "early-logistic")
    row = table.rows().iloc[[0]].assign(**{"CT.original_firstorder_F0": np.inf})
    assert "infinite" in score_row(arm, model, row, {})["error"]


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


def test_the_chosen_image_is_the_one_that_is_needed(rng: np.random.Generator, tmp_path: Path) -> None:
    table = made(rng)
    second = table.values.filter(like="fused-").rename(columns=lambda c: c.replace("average", "maximum"))
    second = pd.DataFrame(rng.normal(size=second.shape), second.index, second.columns)  # noise is never chosen
    table = FeatureTable(pd.concat([table.values, second], axis=1), table.subjects)
    arm, model = model_of(
        by_hand(tmp_path, table, fusions=(ChosenImage(),), primary={"fusion": "chosen"}), "chosen-logistic"
    )
    assert looked_at(arm, model) == ["fused-average-CT_PET"]
    row = table.rows().iloc[[0]]
    without = [c for c in row if c.startswith("fused-average")]
    assert (
        "looks at fused-average-CT_PET"
        in score_row(arm, model, row.assign(**dict.fromkeys(without, np.nan)), {})["error"]
    )
    without = [c for c in row if c.startswith("fused-maximum")]
    assert "score" in score_row(arm, model, row.assign(**dict.fromkeys(without, np.nan)), {})


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


def patients(*names: str, **given: Any) -> Newcomers:
    facts = pd.DataFrame({"batch.CT": "a", "batch.PET": "pa", "age": 60.0}, index=pd.Index(names, name="subject"))
    nothing = pd.Series(dtype=object)
    cohort = Cohort((), ("CT", "PET"), facts, ())
    return replace(Newcomers(cohort, {}, nothing, nothing, {}, ()), **given)


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


def test_the_external_auc_against_a_worked_example(tmp_path: Path, rng: np.random.Generator) -> None:
    # Placements 1, 1, 2/3 of the events and 1, 1, 2/3 of the others; variance (1/27) / 3 + (1/27) / 3, by hand.
    names, outcome, score = list("abcdef"), [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.7, 0.8]
    scores = pd.DataFrame({"subject": names, "arm": "early-logistic", "score": score})
    run = by_hand(tmp_path, made(rng))
    new = patients(*names, outcome=pd.Series(outcome, names))
    external, notes = judge_externally(run, new, scores)
    assert external is not None
    row = external.iloc[0]
    half = 1.959963984540054 * (2 / 81) ** 0.5
    assert row["auc"] == pytest.approx(8 / 9)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(8 / 9 - half), 1.0)
    assert notes == []
    repeated = replace(new, group=pd.Series(list("xxyyzz"), names))
    external, notes = judge_externally(run, repeated, scores)
    assert external is not None
    assert external["ci_low"].isna().all()
    assert "several rows are of one patient" in notes[0]
    external, notes = judge_externally(run, replace(new, seen=dict.fromkeys(names, "P00")), scores)
    assert external is None
    assert "every patient with an outcome was seen" in notes[0]


def test_external_outcomes_judge_probabilities_and_the_thresholds_of_training(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    names, outcome, score = list("abcdef"), [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.7, 0.8]
    scores = pd.concat([pd.DataFrame({"subject": names, "arm": arm, "score": score}) for arm in ("early", "late")])
    (tmp_path / "report" / "tables").mkdir(parents=True)
    points = pd.DataFrame({"arm": "early", "rule": ["youden", "sensitive"], "threshold_all": [0.55, 0.15]})
    points.to_csv(tmp_path / "report" / "tables" / "operating_points.csv", index=False)
    run = by_hand(tmp_path, made(rng))
    external, _ = judge_externally(run, patients(*names, outcome=pd.Series(outcome, names)), scores)
    assert external is not None
    early, late = (external.set_index("arm").loc[arm] for arm in ("early", "late"))
    assert (early["brier"], early["brier_prevalence"]) == pytest.approx((0.79 / 6, 0.25))
    odds = np.array(score) / (1 - np.array(score)) * np.exp(early["intercept"])
    assert (odds / (1 + odds)).sum() == pytest.approx(3.0)
    assert early["slope"] > 0
    decided = early[[c for c in external if c.startswith(("youden", "sensitive"))]].tolist()
    assert decided == pytest.approx([0.55, 2 / 3, 2 / 3, 0.15, 1.0, 1 / 3])
    assert late[[c for c in external if c.startswith(("youden", "sensitive"))]].isna().all()
    assert late["brier"] == early["brier"]
    nobody, _ = judge_externally(run, patients(*names, outcome=pd.Series(outcome, names)), scores.assign(score=np.nan))
    assert nobody is not None
    assert nobody[["brier", "slope", "youden_sensitivity"]].isna().all(axis=None)


def test_the_output_is_a_csv_and_nobody_elses(rng: np.random.Generator, tmp_path: Path) -> None:
    run = by_hand(tmp_path, made(rng))
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.csv"):
        predict_patients(run, tmp_path / "new.csv", [], [], tmp_path / "scores.parquet", Silent())
    held = alone(tmp_path / "work")
    with held, pytest.raises(StageError, match="another radfuse works in"), alone(tmp_path / "work"):
        pass


def test_the_primary_arm_is_the_declared_one(rng: np.random.Generator, tmp_path: Path) -> None:
    table = made(rng)
    assert by_hand(tmp_path, table).primary == "early-logistic"
    assert by_hand(tmp_path, table, primary={"fusion": "intermediate"}).primary == "intermediate"
    assert by_hand(tmp_path, table, fusions=("pls",), primary={"fusion": "pls"}).primary == "pls-logistic"
    vote = Late(combine=Vote())
    declared = by_hand(
        tmp_path, table, fusions=(vote,), classifiers=("lda", "svm"), primary={"fusion": "late", "classifier": "svm"}
    )
    assert declared.primary == f"{vote.title}-svm"
    with pytest.raises(StageError, match="has no arm 'early'"):
        assert by_hand(tmp_path, table, fusions=(vote,)).primary


def test_an_arm_that_was_not_trained_or_failed_is_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    run = by_hand(tmp_path, made(rng))
    for name in fitted.TABLES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(StageError, match="early-logistic was not trained"):
        run.arms()
    run.store.close(Record("train", "early-logistic", "another key", "failed", 0.0, what="too few"))
    with pytest.raises(RadfuseError, match="the model of early-logistic was made with other settings"):
        run.arms()
