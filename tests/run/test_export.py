"""`radfuse export`: a folder without patients that predicts as its run does, and every reason not to believe one."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import InProcess
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from typer.testing import CliRunner

from radfuse.align.intensity.histogram_match import HistogramMatch
from radfuse.align.intensity.landmarks import DECILES, Landmarks
from radfuse.align.intensity.nyul import Nyul
from radfuse.align.intensity.physical import Physical
from radfuse.align.stage import Align
from radfuse.cli.app import app
from radfuse.config import read_config
from radfuse.data.table import FeatureTable
from radfuse.errors import CohortError, ConfigError, DataError, StageError
from radfuse.fuse.mdafuse import MdAFuse
from radfuse.fuse.networks.weights import save_weights
from radfuse.run import export, exported, measuring
from radfuse.run.demo import write_demo
from radfuse.run.export import export_run
from radfuse.run.exported import EXPORT, ExportedRun, Known, open_predictor
from radfuse.run.fitted import FittedRun
from radfuse.run.judging import judge
from radfuse.run.models import save_model
from radfuse.run.predict import Predicted, predict_measured, predict_patients
from radfuse.run.progress import Silent
from radfuse.run.session import Session
from radfuse.run.store import file_digest

RECIPE = (
    "{imageType: {Original: {}}, featureClass: {firstorder: [Mean, Maximum], shape: [MeshVolume]}, "
    "setting: {binWidth: 25}}"
)
SETTINGS = (
    "fuse.methods=[average]",
    "align.registration=none",
    "align.spacing_mm=3",
    f"extract.parameters={{CT: {RECIPE}, PET: {RECIPE}, fused: {RECIPE}}}",
    "harmonize.harmonizer={method: combat, protect: [age]}",
    "train.splits={folds: 2, repeats: 1}",
    "train.fusions=[early, late]",
    "train.baselines={clinical: []}",
    "train.bootstrap=20",
    "execution.jobs=1",
)
LONELY = "phantom-003"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen phantoms with a finished run; one of them is alone in its batch, so that its model names it."""
    folder = tmp_path_factory.mktemp("exporting") / "study"
    settings = write_demo(folder, 3, 12)
    facts = pd.read_csv(folder / "clinical.csv", index_col="subject")
    facts.loc[LONELY, "scanner_ct"] = "ct-lonely"
    facts.to_csv(folder / "clinical.csv")
    config = read_config(settings, SETTINGS)
    with Session(config, folder) as session:
        session.executor = executor = InProcess()  # type: ignore[assignment]
        session.align()
        session.fuse()
        table = session.extract() and session.table()
        session.describe()
        judge(session.store, table, config.train, config.harmonize, executor, Silent(), session.log)
    return folder


@pytest.fixture(scope="module")
def run(study: Path) -> FittedRun:
    return FittedRun.open(study)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of keys."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "other"):
        pair = ed25519.Ed25519PrivateKey.generate()
        (folder / f"{name}.pem").write_bytes(pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(public)
    return folder


@pytest.fixture(scope="module")
def folder(run: FittedRun, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of every arm, signed."""
    output = tmp_path_factory.mktemp("exports") / "export"
    export_run(run, ["all"], output, keys / "own.pem")
    return output


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def arrived(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A patient of the study and two others: one from an unseen scanner, one without PET."""
    folder = tmp_path_factory.mktemp("arrived")
    write_demo(folder / "other", 5, 2)
    names = {"phantom-001": "unseen", "phantom-002": "nopet"}
    manifests, tables = [], []
    for place, known in ((folder / "other", names), (study, {"phantom-001": "own"})):
        rows, facts = pd.read_csv(place / "manifest.csv"), pd.read_csv(place / "clinical.csv")
        for table in (rows, facts):
            table["subject"] = table["subject"].map(known)
        for column in ("image", "mask"):
            rows[column] = [
                str(folder / "images" / str(s) / Path(path).name) for s, path in rows[["subject", column]].values
            ]
        manifests.append(rows.dropna(subset="subject"))
        tables.append(facts.dropna(subset="subject"))
        for old, new in known.items():
            shutil.copytree(place / "images" / old, folder / "images" / new)
    facts = pd.concat(tables)
    facts.loc[facts["subject"] == "unseen", "scanner_pet"] = "pet-new"
    facts.to_csv(folder / "facts.csv", index=False)
    rows = pd.concat(manifests)
    rows[~((rows["subject"] == "nopet") & (rows["modality"] == "PET"))].to_csv(folder / "new.csv", index=False)
    return folder


def scored(opened: Any, arrived: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> Predicted:
    monkeypatch.setattr(measuring, "LocalExecutor", InProcess)
    return predict_patients(opened, arrived / "new.csv", [arrived / "facts.csv"], ["all"], output, Silent())


def test_an_export_scores_from_images_as_its_run_does_to_the_last_bit_and_without_the_study(
    run: FittedRun, study: Path, folder: Path, arrived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = scored(run, arrived, tmp_path / "run.csv", monkeypatch)
    gone = study.with_name("gone")
    study.rename(gone)
    try:
        opened = open_predictor(folder)
        after = scored(opened, arrived, tmp_path / "export.csv", monkeypatch)
    finally:
        gone.rename(study)
    pd.testing.assert_frame_equal(before.scores, after.scores, check_exact=True)
    assert (tmp_path / "run.csv").read_bytes() == (tmp_path / "export.csv").read_bytes()
    flags = after.scores.drop_duplicates("subject").set_index("subject")["seen_in_training"]
    assert flags.to_dict() == {"unseen": False, "nopet": False, "own": True}
    told = after.scores.set_index(["subject", "arm"])
    assert told.loc[("nopet", "late-logistic"), "missing"] == "PET"
    assert "unseen batch pet-new" in told.loc[("unseen", "early-logistic"), "harmonised"]
    assert after.scores["score"].notna().sum() > 15
    made = json.loads((tmp_path / "export.json").read_text())
    assert made["models"]["early-logistic"] == file_digest(folder / "models" / "early-logistic.skops")
    assert [note for note in after.notes if "own was seen in training, as a patient of the study" in note]
    assert not [note for note in before.notes if "elsewhere" in note]


def everything(folder: Path) -> dict[str, bytes]:
    """Every file, and every file inside a model, NumPy's text made plain."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".skops":
            with zipfile.ZipFile(path) as archive:
                found |= {f"{path.name}/{n}": archive.read(n) for n in archive.namelist()}
        else:
            found[path.name] = path.read_bytes()
    return {name: content + content.replace(b"\0\0\0", b"") for name, content in found.items()}


def test_no_patient_and_no_path_is_in_an_export(run: FittedRun, study: Path, folder: Path) -> None:
    model = zipfile.ZipFile(run.model_file(run.arms()[0])).read("schema.json")
    assert LONELY.encode() in model, "the run's own model names who was left raw, so that the search below can fail"
    parts = {"name", "cohort", "align", "fuse", "extract", "harmonize", "train"}
    assert set(yaml.safe_load((folder / "run.yaml").read_text())) == parts, "other parts may hold paths"
    planted = [*run.table.values.index, "phantom-", str(study), str(study.parent), str(Path.home())]
    rows = run.table.values.to_numpy(dtype="<f8")
    for name, content in everything(folder).items():
        assert not [text for text in planted if text.encode() in content], name
        assert not [row for row in rows if row.tobytes() in content], name
        assert not [value for value in rows[:, 0] if repr(float(value)).encode() in content], name
    images = {file_digest(scan.image) for scan in run.cohort.scans}  # type: ignore[union-attr]
    assert not [image for image in images if any(image.encode() in content for content in everything(folder).values())]


def test_what_would_name_a_patient_is_refused(run: FittedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "without_patients", lambda model: model)
    with pytest.raises(StageError, match=rf"models/early-logistic.skops/schema.json would hold '{LONELY}'"):
        export_run(run, [], tmp_path / "export")
    assert list(tmp_path.iterdir()) == [], "nothing is left of it"
    monkeypatch.undo()
    monkeypatch.setattr(export, "card", lambda *a, **k: f"made in {run.place.resolve()}")
    with pytest.raises(StageError, match=r"README\.md would hold"):
        export_run(run, [], tmp_path / "export")


def test_the_card_tells_what_it_is_worth_and_what_it_needs(run: FittedRun, folder: Path) -> None:
    said = (folder / "README.md").read_text()
    auc = pd.read_csv(run.store.root / "report" / "auc.csv").set_index("arm")
    row = auc.loc["early-logistic"]
    line = (
        f"| early-logistic (primary) | CT + PET | {row['auc']:.3f} | {row['ci_low']:.2f} to {row['ci_high']:.2f} | 12 |"
    )
    assert line in said
    assert "12 subjects, 6 of them" in said or f"12 subjects, {int(run.table.outcome.sum())} of them" in said
    assert "`scanner_ct`: scanner or site of CT; known: ct-" in said
    assert "- `age`: a number" in said
    assert "No medical device" in said
    assert "--trust public.pem" in said
    points = pd.read_csv(folder / "operating_points.csv")
    assert set(points["arm"]) & set(auc.index)
    assert points["threshold_all"].notna().any()
    manifest = json.loads((folder / EXPORT).read_text())
    assert set(manifest["needs"]["covariates"]) == {"age"}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == files - {EXPORT, "export.sig"}


@pytest.mark.parametrize(
    "name", ["run.yaml", "known.json", "README.md", "fingerprints.json", "models/late-logistic.skops"]
)
def test_a_changed_file_is_refused_by_name(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes() + b" ")
    with pytest.raises(StageError, match=f"sealed file .*{name}: the file has SHA-256"):
        open_predictor(copy)
    (copy / name).unlink()
    with pytest.raises(StageError, match=f"sealed file not found: .*{name}"):
        open_predictor(copy)


def relisted(folder: Path, change: Callable[[dict[str, Any]], object] = lambda listed: None) -> None:
    """Forge: hash every file anew, as whoever changes one can."""
    listed = json.loads((folder / EXPORT).read_text())
    listed["files"] = {name: file_digest(folder / name) for name in listed["files"]}
    change(listed)
    (folder / EXPORT).write_text(json.dumps(listed))


def test_a_forged_list_passes_the_hashes_and_not_the_signature(copy: Path, keys: Path) -> None:
    assert ExportedRun.open(copy, trust=keys / "own.pub").said == ()
    with pytest.raises(StageError, match=r"was not signed by the key .* or was changed since"):
        open_predictor(copy, trust=keys / "other.pub")
    (copy / "known.json").write_text((copy / "known.json").read_text() + " ")
    relisted(copy)
    assert "only --trust PUBLIC.pem makes sure" in open_predictor(copy).remarks[0]
    with pytest.raises(StageError, match="was not signed by the key"):
        open_predictor(copy, trust=keys / "own.pub")
    (copy / "export.sig").unlink()
    assert "not signed: its hashes tell damage" in open_predictor(copy).remarks[0]
    with pytest.raises(StageError, match="is not signed, and --trust"):
        open_predictor(copy, trust=keys / "own.pub")


def test_a_strange_type_in_a_model_is_refused_by_name(copy: Path, run: FittedRun) -> None:
    evil = Pipeline([("columns", FunctionTransformer(os.system))])
    save_model(evil, copy / "models" / "early-logistic.skops")
    relisted(copy)
    opened = open_predictor(copy)
    with pytest.raises(DataError, match=r"models/early-logistic.skops holds types that radfuse never writes: .*system"):
        opened.model(opened.arms()[0])
    (copy / "models" / "early-logistic.skops").write_bytes(b"no zip")
    relisted(copy)
    opened = open_predictor(copy)
    with pytest.raises(DataError, match=r"early-logistic.skops is not a model that radfuse wrote"):
        opened.model(opened.arms()[0])


def test_a_list_that_is_none_is_refused(copy: Path) -> None:
    def outside(listed: dict[str, Any]) -> None:
        listed["files"]["../new.csv"] = "0" * 64

    for change, told in (
        (outside, r"lists '\.\./new\.csv', which lies outside it"),
        (lambda listed: listed["files"].pop("known.json"), r"does not list known\.json"),
        (lambda listed: listed.update(format=2), "format"),
        (lambda listed: listed["arms"].update(late=listed["arms"]["late-logistic"]), "lists late, no arm of its own"),
    ):
        shutil.copyfile(copy / EXPORT, copy / "kept")
        relisted(copy, change)
        with pytest.raises(StageError, match=told):
            open_predictor(copy).arms(["all"])
        shutil.move(copy / "kept", copy / EXPORT)
    (copy / EXPORT).write_text("{")
    with pytest.raises(StageError, match=r"export\.json is not what this radfuse .* exports"):
        open_predictor(copy)


def test_other_versions_are_refused_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(exported, "libraries", lambda *names: dict.fromkeys(names, "0.0"))
        with pytest.raises(StageError, match=r"made with other libraries: .*scikit-learn \S+ then, 0\.0 now"):
            open_predictor(folder)
        remarks = open_predictor(folder, allow_other_versions=True).remarks
        assert "scores may differ" in remarks[-1]
    then = Align.version
    monkeypatch.setattr(Align, "version", then + 1)
    with pytest.raises(StageError, match=f"align had version {then}, this radfuse has {then + 1}"):
        open_predictor(folder, allow_other_versions=True)


def test_the_primary_arm_is_exported_unless_others_are_named(run: FittedRun, tmp_path: Path) -> None:
    done = export_run(run, [], tmp_path / "one", fingerprints=False)
    assert list(done.manifest.arms) == ["early-logistic"] == [done.manifest.primary]
    assert any("not signed" in note for note in done.notes)
    assert any("without fingerprints" in note for note in done.notes)
    opened = open_predictor(tmp_path / "one")
    assert "does not know which images it learned from" in opened.remarks[-1]
    assert opened.recognised(run.cohort) == {}  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no arm 'late-logistic'"):
        opened.arms(["late-logistic"])
    export_run(run, ["single-CT-logistic"], tmp_path / "single", fingerprints=False)
    assert [arm.name for arm in open_predictor(tmp_path / "single").arms()] == ["single-CT-logistic"]
    needs = json.loads((tmp_path / "single" / EXPORT).read_text())["needs"]
    assert needs["modalities"] == ["CT"]
    assert list(needs["batches"]) == ["CT"]
    export_run(run, ["late-logistic", "baseline-volume"], tmp_path / "two", fingerprints=False)
    with pytest.raises(StageError, match="does not hold the primary arm"):
        open_predictor(tmp_path / "two").arms()
    with pytest.raises(ConfigError, match="exists and is not empty"):
        export_run(run, [], tmp_path / "one")


def test_a_model_made_of_rows_is_exported_only_on_demand(
    run: FittedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "KEEPS_ROWS", ("logistic",))
    with pytest.raises(StageError, match="early-logistic cannot be exported without patients"):
        export_run(run, [], tmp_path / "export")
    done = export_run(run, [], tmp_path / "export", rows=True)
    assert any("feature rows of patients are part of early-logistic" in note for note in done.notes)
    assert "**Except:** early-logistic keep" in (tmp_path / "export" / "README.md").read_text()


def test_a_key_has_to_be_one(run: FittedRun, keys: Path, folder: Path, tmp_path: Path) -> None:
    pair = ed25519.Ed25519PrivateKey.generate()
    locked = pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    (tmp_path / "locked.pem").write_bytes(locked)
    other = x25519.X25519PrivateKey.generate()
    (tmp_path / "x.pem").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "x.pub").write_bytes(public)
    for key, told in (
        (tmp_path / "absent.pem", "key not found"),
        (tmp_path / "locked.pem", "is encrypted"),
        (tmp_path / "x.pem", "expected an Ed25519 private key"),
        (keys / "own.pub", "is no private key in PEM"),
    ):
        with pytest.raises(ConfigError, match=told):
            export_run(run, [], tmp_path / "export", key, fingerprints=False)
    for key, told in ((tmp_path / "x.pub", "expected an Ed25519 public key"), (keys / "own.pem", "is no public key")):
        with pytest.raises(ConfigError, match=told):
            open_predictor(folder, trust=key)
    assert not (tmp_path / "export").exists()


def test_what_is_for_exports_is_refused_of_a_run_and_the_other_way_round(study: Path, folder: Path, keys: Path) -> None:
    with pytest.raises(ConfigError, match="--trust is for an export"):
        open_predictor(study, trust=keys / "own.pub")
    with pytest.raises(ConfigError, match="--allow-other-versions is for an export"):
        open_predictor(study, allow_other_versions=True)
    with pytest.raises(ConfigError, match="--run second is for a study folder"):
        open_predictor(folder, "second")


def test_own_weights_of_a_fusion_network_travel_along(run: FittedRun, tmp_path: Path) -> None:
    weights = save_weights({"a": torch.ones(2)})
    (tmp_path / "own.safetensors").write_bytes(weights)
    sha256 = hashlib.sha256(weights).hexdigest()
    own = MdAFuse(weights=str(tmp_path / "own.safetensors"), sha256=sha256)
    config = run.config.model_copy(update={"fuse": run.config.fuse.model_copy(update={"methods": (own,)})})
    staged = tmp_path / "staged"
    staged.mkdir()
    settings = export._settings(FittedRun(run.store, config, run.table), staged)
    assert settings["fuse"]["methods"][0]["weights"] == f"weights/{sha256}.safetensors"
    assert (staged / "weights" / f"{sha256}.safetensors").read_bytes() == weights
    inside = own.model_copy(update={"weights": f"weights/{sha256}.safetensors"})
    config = config.model_copy(update={"fuse": config.fuse.model_copy(update={"methods": (inside,)})})
    listed = export.Manifest.model_construct(files={f"weights/{sha256}.safetensors": sha256})
    found = exported._with_weights(config, staged, listed)
    assert found.fuse.methods[0].trained_weights == staged / "weights" / f"{sha256}.safetensors"
    with pytest.raises(StageError, match="which the export does not hold"):
        exported._with_weights(config, staged, export.Manifest.model_construct(files={}))


def with_scale(run: FittedRun, step: Any) -> FittedRun:
    align = run.config.align.model_copy(update={"intensity": {"CT": (Physical(), step)}})
    return FittedRun(run.store, run.config.model_copy(update={"align": align}), run.table)


def test_a_learned_intensity_scale_travels_along_and_a_template_does_not(run: FittedRun, tmp_path: Path) -> None:
    """Its path would be one of this machine, and no other could predict."""
    path = tmp_path / "CT.json"
    path.write_text(Landmarks(values=DECILES, before=("physical",)).model_dump_json())
    sha256, staged = file_digest(path), tmp_path / "staged"
    staged.mkdir()
    own = Nyul(landmarks=str(path), sha256=sha256)
    settings = export._settings(with_scale(run, own), staged)
    name = f"scales/{sha256}.json"
    assert settings["align"]["intensity"]["CT"][1]["landmarks"] == name
    assert (staged / name).read_bytes() == path.read_bytes()
    path.unlink()
    inside = with_scale(run, own.model_copy(update={"landmarks": name})).config
    found = exported._with_scales(inside, staged, export.Manifest.model_construct(files={name: sha256}))
    found.align.require()
    assert found.align.intensity["CT"][0] == Physical()
    with pytest.raises(StageError, match=r"names landmarks scales/.*which the export does not hold"):
        exported._with_scales(inside, staged, export.Manifest.model_construct(files={}))
    with pytest.raises(StageError, match=r"CT\.json, which the settings of the run name, is not there"):
        export._settings(with_scale(run, own), staged)
    template = HistogramMatch(template="patient.nii.gz", sha256=sha256)
    with pytest.raises(StageError, match="whose template is an image, and an export holds none"):
        export._settings(with_scale(run, template), staged)


def test_what_is_known_of_a_table_decides_the_same_arms_and_labels_without_its_rows(rng: np.random.Generator) -> None:
    names = [f"P{i}" for i in range(8)]
    columns = ["CT.x", "CT:node.x", "PET.x", "fused-average-CT_PET.x"]
    facts = {
        "outcome": [0, 1] * 4, "group": list("aabbccdd"), "batch.CT": list("aabbaabb"), "batch.PET": list("aabbaabb"),
        "age": np.arange(8), "smoker": [True, False] * 4, "stage": ["I", None, "II", "III"] * 2,
    }  # fmt: skip
    table = FeatureTable(pd.DataFrame(rng.normal(size=(8, 4)), names, columns), pd.DataFrame(facts, index=names))
    known = Known.model_validate_json(Known.of(table).model_dump_json())
    assert known.batches == ({"batch.CT": "a", "batch.PET": "a"}, {"batch.CT": "b", "batch.PET": "b"})
    made = known.table()
    assert made.values.isna().all(axis=None)
    assert list(made.values) == columns
    for modality in table.modalities:
        own, found = table.batch_of(modality), made.batch_of(modality)
        assert own is not None
        assert found is not None
        assert set(own) == set(found)
    assert made.covariates == table.covariates
    assert "group" in made.subjects
    assert "outcome" not in made.subjects
    assert pd.api.types.is_bool_dtype(made.subjects["smoker"])
    assert pd.api.types.is_numeric_dtype(made.subjects["age"])
    assert not pd.api.types.is_numeric_dtype(made.subjects["stage"])


def test_features_are_scored_as_the_model_scores_the_rows(run: FittedRun, folder: Path, tmp_path: Path) -> None:
    run.table.values.rename_axis("subject").to_parquet(tmp_path / "features.parquet")
    facts = run.table.subjects.rename(columns={"batch.CT": "scanner_ct", "batch.PET": "scanner_pet"})
    facts.rename_axis("subject").to_csv(tmp_path / "facts.csv")
    said, few = {}, ["early-logistic", "late-logistic", "baseline-volume-suvmax"]
    for opened, name in ((run, "run.csv"), (open_predictor(folder), "export.csv")):
        given = (tmp_path / "features.parquet", [tmp_path / "facts.csv"], few, tmp_path / name, Silent())
        said[name] = predict_measured(opened, *given)
        scores = said[name].scores.pivot(index="subject", columns="arm", values="score")
        for arm in run.arms(few):
            rows = run.table.rows()
            own = pd.Series(run.model(arm).predict_proba(rows[arm.visible(list(rows))])[:, 1], rows.index)
            np.testing.assert_allclose(scores[arm.name], own[scores.index], rtol=1e-12)
    pd.testing.assert_frame_equal(said["run.csv"].scores, said["export.csv"].scores, check_exact=True)
    made = json.loads((tmp_path / "export.json").read_text())
    assert made["features"] == file_digest(tmp_path / "features.parquet")
    assert said["export.csv"].external is not None
    assert any("nobody can be recognised" in note for note in said["export.csv"].notes)


def test_a_feature_table_may_lack_a_modality_and_not_a_column(run: FittedRun, tmp_path: Path) -> None:
    facts = run.table.subjects.rename(columns={"batch.CT": "scanner_ct"}).rename_axis("subject")
    facts[["scanner_ct", "age"]].to_csv(tmp_path / "facts.csv")
    values = run.table.values.filter(regex=r"^CT\.").rename_axis("subject")
    features, output = tmp_path / "features.csv", tmp_path / "out.csv"

    def predicted(table: pd.DataFrame) -> Predicted:
        table.to_csv(features)
        return predict_measured(run, features, [tmp_path / "facts.csv"], ["late-logistic"], output, Silent())

    found = predicted(values)
    assert set(found.scores["missing"]) == {"PET"}
    assert found.scores["score"].notna().all()
    with pytest.raises(DataError, match=r"lack 1 of the \d+ columns"):
        predicted(values.iloc[:, 1:])
    with pytest.raises(CohortError, match="subjects occur twice: phantom-001"):
        predicted(pd.concat([values, values.iloc[:1]]))
    with pytest.raises(CohortError, match=r"not numbers in CT\."):
        predicted(values.astype(str) + "a")
    facts.drop(columns="age").assign(scanner_ct=[None, *facts["scanner_ct"][1:]])[["scanner_ct"]].assign(age=60).to_csv(
        tmp_path / "facts.csv"
    )
    refused = predicted(values)
    assert [problem.subject for problem in refused.failed] == [values.index[0]]


def test_the_command_writes_and_says_what_it_wrote(study: Path, keys: Path, tmp_path: Path) -> None:
    typed = ["export", str(study), "-o", str(tmp_path / "e"), "--arm", "late-logistic", "--key", str(keys / "own.pem")]
    done = CliRunner().invoke(app, typed)
    assert done.exit_code == 0, done.output
    assert "late-logistic  AUC 0." in done.output
    assert "signed by: " in done.output
    assert (tmp_path / "e" / "export.sig").stat().st_size == 64
    told = CliRunner().invoke(app, ["export", "--help"]).output
    assert "no patient" in " ".join(told.split())
    with pytest.raises(ConfigError, match="give --manifest or --features"):
        CliRunner().invoke(app, ["predict", str(study)], catch_exceptions=False)
