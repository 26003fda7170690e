"""MLflow: a logged model scores a feature table as the run's own does, and the primary one is a version by name."""

import json
import sqlite3
import zipfile
from dataclasses import replace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import InProcess

from radfuse.config import Tracking
from radfuse.data.table import FeatureTable
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.stage import Harmonize
from radfuse.run.judging import judge
from radfuse.run.logs import RunLog
from radfuse.run.models import load_model
from radfuse.run.progress import Silent
from radfuse.run.registry import KEY, registration
from radfuse.run.store import Store
from radfuse.run.tracking import Trained, tracked
from radfuse.train.baselines import Baselines
from radfuse.train.fusion.early import Early
from radfuse.train.splits.stratified import Stratified
from radfuse.train.stage import Train

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own packages warn of each other

NAME, ARM = "phantoms-early-logistic", "early-logistic"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A made-up table, one row of which is alone in its batch: judged, and not tracked yet."""
    rng, n, folder = np.random.default_rng(7), 24, tmp_path_factory.mktemp("tracked")
    names, outcome = [f"patient-{i:02d}" for i in range(n)], np.arange(n) % 2
    columns = [f"{m}.original_firstorder_F{i}" for m in ("CT", "PET") for i in range(3)]
    values = pd.DataFrame(rng.normal(size=(n, 6)) + outcome[:, None], names, columns)
    facts = {
        "outcome": outcome, "group": names, "batch.CT": ["lonely", *np.array(["a", "b"])[(np.arange(n - 1) // 2) % 2]],
        "batch.PET": np.array(["p", "q"])[(np.arange(n) // 2) % 2], "age": 60 + np.arange(n) % 7,
    }  # fmt: skip
    table = FeatureTable(values, pd.DataFrame(facts, index=names))
    train = Train(
        fusions=(Early(),), splits=Stratified(folds=2, repeats=1), baselines=Baselines(volume=False, batch=False),
        bootstrap=20,
    )  # fmt: skip
    harmonize, store = Harmonize(harmonizer=ComBat(protect=("age",))), Store(folder / "runs" / "main")
    judged = judge(store, table, train, harmonize, InProcess(), Silent(), RunLog(folder / "log.jsonl"))  # type: ignore[arg-type]
    judged = replace(judged, auc=judged.auc[judged.auc["arm"] == ARM])  # an arm less is a second less
    settings = {"train": train.model_dump(mode="json")}
    return Trained(store, folder, "phantoms", Tracking(), table, settings, judged, {"features": "f" * 64})


@pytest.fixture(scope="module")
def client(trained: Trained) -> mlflow.MlflowClient:
    """The study's own database, with the study in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracked(trained, {})
    return mlflow.MlflowClient(f"sqlite:///{trained.study / 'mlflow.db'}")


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def served(trained: Trained, client: mlflow.MlflowClient) -> Any:
    """The primary model as whoever knows its name gets it."""
    mlflow.set_tracking_uri(f"sqlite:///{trained.study / 'mlflow.db'}")
    try:
        yield mlflow.pyfunc.load_model(f"models:/{NAME}@primary")
    finally:
        mlflow.set_tracking_uri("")


def rows_of(trained: Trained) -> pd.DataFrame:
    """New patients as `FeatureTable.rows` has them: no group, and an age that may have a fraction."""
    return trained.table.rows().drop(columns="@group").astype({"@age": float})


def test_the_registered_model_scores_a_table_as_the_run_does(trained: Trained, served: Any) -> None:
    own = load_model(trained.store.folder("train", ARM) / "model.skops")
    rows = rows_of(trained)
    unseen = rows.assign(**{"@batch.CT": "z"})
    no_pet = rows.assign(**dict.fromkeys([c for c in rows if c.startswith("PET.")], np.nan), **{"@batch.PET": ""})
    for given in (rows, unseen, no_pet, rows.iloc[[3]]):
        found = np.asarray(served.predict(given))
        np.testing.assert_array_equal(found, own.predict_proba(given))
    assert not np.array_equal(served.predict(rows), served.predict(unseen)), "the harmoniser is part of it"
    assert not np.array_equal(served.predict(rows), served.predict(no_pet))


def test_a_column_that_the_model_needs_is_asked_for_by_name(trained: Trained, served: Any) -> None:
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"CT\.original_firstorder_F1"):
        served.predict(rows_of(trained).drop(columns="CT.original_firstorder_F1"))


def test_a_registered_model_names_no_patient(trained: Trained, client: mlflow.MlflowClient) -> None:
    own = trained.store.folder("train", ARM) / "model.skops"
    assert b"patient-00" in zipfile.ZipFile(own).read("schema.json"), "the run's own names who was left raw"
    models = list((trained.study / "mlartifacts").rglob("models/*/artifacts/*"))
    assert {"MLmodel", "model.skops"} <= {path.name for path in models}
    for path in models:
        content = path.read_bytes()
        if zipfile.is_zipfile(path):
            archive = zipfile.ZipFile(path)
            content = b"".join(archive.read(name) for name in archive.namelist())
        assert b"patient-" not in content, path


def test_the_version_says_what_it_is_worth_and_what_it_was_made_from(
    trained: Trained, client: mlflow.MlflowClient
) -> None:
    assert [model.name for model in client.search_registered_models()] == [NAME]
    version = client.get_model_version_by_alias(NAME, "primary")
    assert client.get_model_version_by_alias(NAME, "current").version == version.version == 1
    auc = trained.judged.auc.set_index("arm").loc[ARM, "auc"]
    assert float(version.tags["radfuse.auc"]) == auc
    record = trained.store.read("train", ARM)
    assert record is not None
    assert version.tags[KEY] == record.key
    assert version.tags["radfuse.features_hash"] == "f" * 64
    assert {"radfuse.version", "radfuse.ci_low", "radfuse.ci_high", "radfuse.n", "radfuse.events"} <= set(version.tags)


def test_only_another_model_is_another_version(trained: Trained, client: mlflow.MlflowClient) -> None:
    tracked(trained, {})  # the same again: not even another run
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1
    tracked(replace(trained, hashes={"features": "e" * 64}), {})  # another run, of the same model
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1
    store = trained.store
    record = store.read("train", ARM)
    assert record is not None
    store.close(replace(record, key="another"))
    try:
        tracked(replace(trained, hashes={"features": "d" * 64}), {})
    finally:
        store.close(record)
    assert client.get_model_version_by_alias(NAME, "primary").version == 2
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 2


def test_the_alias_follows_the_arm_that_is_declared(trained: Trained, client: mlflow.MlflowClient) -> None:
    """Another primary arm takes the alias, and leaves a study of a longer name, and `current`, alone."""
    other = "single-CT-logistic"
    line = trained.judged.auc.assign(arm=other, fusion="single", modalities="CT")
    both = replace(trained.judged, auc=pd.concat([trained.judged.auc, line]))
    longer = replace(trained, name="phantoms-late", hashes={"features": "9" * 64})
    tracked(longer, {})
    again = replace(both, contrast={**(both.contrast or {}), "arm": other})
    tracked(replace(trained, judged=again, hashes={"features": "8" * 64}), {})
    try:
        aliases = {model.name: sorted(model.aliases) for model in client.search_registered_models()}
        assert aliases == {
            NAME: ["current"], f"phantoms-{other}": ["current", "primary"],
            "phantoms-late-early-logistic": ["current", "primary"],
        }  # fmt: skip
    finally:
        tracked(replace(trained, hashes={"features": "7" * 64}), {})
        aliases = {model.name: sorted(model.aliases) for model in client.search_registered_models()}
        client.delete_registered_model(f"phantoms-{other}")
        client.delete_registered_model("phantoms-late-early-logistic")
    assert (aliases[NAME], aliases[f"phantoms-{other}"]) == (["current", "primary"], ["current"])


def test_who_is_registered_and_how() -> None:
    arm, other = {"arm": "early-logistic", "auc": 0.7}, {"arm": "single-CT:node/x-logistic", "auc": 0.6}
    for which, expected in (("none", (None, None)), ("primary", (("current", "primary"), None))):
        found = [registration(which, "s", each, "early-logistic", "k", {}) for each in (arm, other)]
        assert tuple(each and each.aliases for each in found) == expected
    found = registration("all", "it's", other, "early-logistic", "k", {"radfuse.version": "1"})
    assert found is not None
    assert found.name == "it_s-single-CT_node_x-logistic"
    assert found.aliases == ("current",)
    assert found.tags == {"radfuse.version": "1", "radfuse.arm": other["arm"], "radfuse.auc": "0.6", KEY: "k"}
    assert registration("primary", "s", arm, "", "k", {}) is None, "nothing was declared"


def test_a_registry_that_refuses_costs_a_warning(
    trained: Trained, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise mlflow.exceptions.MlflowException("no registry here")

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", refuse)
    judged = tracked(replace(trained, hashes={"features": "c" * 64}), {})
    assert judged.failed == ()
    assert f"{NAME} is not registered: no registry here" in caplog.text
    assert json.loads((trained.store.root / "tracked.json").read_text())["run"]


def test_no_login_name_or_program_path_is_among_the_tags(trained: Trained, client: mlflow.MlflowClient) -> None:
    """MLflow tags runs and logged models each with its own idea of who and what made them."""
    with sqlite3.connect(trained.study / "mlflow.db") as database:
        for table, key, value in (("tags", "key", "value"), ("logged_model_tags", "tag_key", "tag_value")):
            for tag in ("mlflow.user", "mlflow.source.name"):
                found = database.execute(f"select distinct {value} from {table} where {key} = '{tag}'").fetchall()
                assert found == [("radfuse",)], (table, tag)
