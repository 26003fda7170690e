"""MLflow: a parent run per command, a child run per arm. The only file that imports mlflow."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pandas as pd
import yaml
from filelock import FileLock

import radfuse
from radfuse.config import Tracking
from radfuse.data.cohort import Problem
from radfuse.data.table import FeatureTable
from radfuse.fuse.networks.recipe import FusionTraining
from radfuse.fuse.training import Trained as TrainedNetwork
from radfuse.report.roc import arm_roc_svg
from radfuse.run.controls import control_metrics
from radfuse.run.judging import FOLDS, MODEL, PREDICTIONS, TABLES, Judged
from radfuse.run.metrics import external_metrics, probability_metrics
from radfuse.run.models import load_model, trusted_types
from radfuse.run.privacy import without_patients
from radfuse.run.registry import KEY, PRIMARY, registered_name, registration
from radfuse.run.store import Store, digest, file_digest, process_lives, write_bytes, write_text

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

TRACKED, DATABASE = "tracked.json", "mlflow.db"
METRICS = {
    "auc": "test/auc",
    "ci_low": "test/auc_ci_low",
    "ci_high": "test/auc_ci_high",
    "auc_within_batch": "test/auc_within_batch",
    "auc_pooled": "test/auc_pooled",
}
REQUIREMENTS = [f"radfuse=={radfuse.__version__}"]


@dataclass(frozen=True, eq=False)
class Trained:
    """What is recorded.

    Parameters
    ----------
    store : the run folder.
    study : the folder of mlflow.db, which is used unless MLFLOW_TRACKING_URI names a server.
    name : of the study; the experiment, unless the settings name another.
    settings : what to log.
    table, judged : what the arms learned from, and what came of it.
    config : the settings that decide results, as plain values; logged as run.yaml.
    hashes : content hashes of manifest, config and features; they become tags.
    """

    store: Store
    study: Path
    name: str
    settings: Tracking
    table: FeatureTable
    config: Mapping[str, Any]
    judged: Judged
    hashes: Mapping[str, str]


def tracked(trained: Trained, places: Mapping[str, str]) -> Judged:
    """Record every arm in MLflow, and add to ``places`` how to look.

    What is recorded already is left as it is. A server that does not answer costs nothing but the record: it becomes a
    line among the failures, and the same command records later.
    """
    from mlflow.exceptions import MlflowException

    judged = trained.judged
    with _quiet_mlflow(trained.study) as uri:
        try:
            _record_once(trained, uri)
        except (MlflowException, OSError) as error:
            first = str(error).splitlines()[0]
            hint = "The results are complete; the same command records them once the server answers."
            problem = Problem("MLflow", f"track: {_public(uri)}: {first}", hint, fatal=False)
            return replace(judged, failed=(*judged.failed, problem), places=places)
    look = f"mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite") else _public(uri)
    return replace(judged, places={**places, "MLflow": look})


def _record_once(trained: Trained, uri: str) -> None:
    report = trained.store.folder("report")
    results = [file_digest(report / name) for name in ("predictions.parquet", "auc.csv", "contrast.json")]
    key, before = digest(uri, trained.name, results, dict(trained.hashes)), _read_tracked(trained.store)
    if before.get("key") != key or not _active(before["run"]):
        before = {"key": key, "run": _record(trained)}
        write_text(trained.store.root / TRACKED, json.dumps(before) + "\n")
    controls = _record_controls(trained, before["run"], before.get("controls", {}))
    if controls != before.get("controls", {}):
        write_text(trained.store.root / TRACKED, json.dumps(before | {"controls": controls}) + "\n")


def _active(run: str) -> bool:
    import mlflow

    with suppress(mlflow.MlflowException):
        return str(mlflow.MlflowClient().get_run(run).info.lifecycle_stage) == "active"
    return False


def _record_controls(trained: Trained, parent: str, before: Mapping[str, Any]) -> dict[str, Any]:
    """Record each negative control below the run that it belongs to; one with further draws goes into the same run."""
    import mlflow

    found: dict[str, Any] = {}
    for title, metrics in control_metrics(trained.judged.tables).items():
        known, key = before.get(title, {}), digest(metrics)
        if known.get("key") == key and _active(known["run"]):
            found[title] = known
            continue
        _use_experiment(trained.settings.experiment or trained.name, trained.study)
        tags = _tags(trained) | _owner() | {"control": title, "radfuse.control": title}
        again = known["run"] if known and _active(known["run"]) else None
        named = None if again else f"control {title}"
        with mlflow.start_run(run_id=again, run_name=named, parent_run_id=parent, nested=True, tags=tags) as run:
            mlflow.log_metrics(_finite({name.replace("+", "_"): value for name, value in metrics.items()}))
            found[title] = {"key": key, "run": run.info.run_id}
    return found


def track_training(study: Path | None, config: FusionTraining, trained: TrainedNetwork, files: Sequence[Path]) -> None:
    """Record the training of a fusion network: its recipe, its loss curves, what it is worth, weights and card.

    A server that does not answer costs the record and a warning, never the weights.

    Parameters
    ----------
    study : the folder of mlflow.db; None records only where MLFLOW_TRACKING_URI names a server.
    """
    if study is None and not os.environ.get("MLFLOW_TRACKING_URI"):
        return
    if study is not None:
        study.mkdir(parents=True, exist_ok=True)
    from mlflow.exceptions import MlflowException

    folder = study or files[0].parent
    with _quiet_mlflow(folder) as uri:
        try:
            _record_training(folder, config, trained, files)
        except (MlflowException, OSError) as error:
            log.warning("the training is not recorded at %s: %s", _public(uri), str(error).splitlines()[0])


def _record_training(folder: Path, config: FusionTraining, trained: TrainedNetwork, files: Sequence[Path]) -> None:
    import mlflow

    _use_experiment("fusion training", folder)
    settings = config.model_dump(mode="json")
    tags = {"radfuse.version": radfuse.__version__, "radfuse.weights_sha256": trained.sha256}
    with mlflow.start_run(run_name=config.method, tags=tags | _owner()) as run:
        mlflow.log_params({name: json.dumps(value)[:500] for name, value in settings.items()})
        mlflow.log_text(yaml.safe_dump(settings, sort_keys=False), "recipe.yaml")
        curves = {"loss/training": enumerate(trained.history, 1), "loss/validation": trained.validation.items()}
        _log_steps(run.info.run_id, [(name, value, step) for name, curve in curves.items() for step, value in curve])
        held_out = {f"held_out/{name}": value for name, value in trained.losses.items()}
        mlflow.log_metrics(_finite(held_out | {"best_step": trained.best_step}))
        for file in files:
            mlflow.log_artifact(str(file))


def _log_steps(run: str, points: Sequence[tuple[str, float, int]]) -> None:
    """Log (metric, value, step) together: each request of its own would wait for the disk."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for name, value, step in points]
    for start in range(0, len(metrics), 1000):  # MLflow's limit for one request
        MlflowClient().log_batch(run, metrics[start : start + 1000])


def _use_experiment(experiment: str, folder: Path) -> None:
    import mlflow

    artifacts, local = (folder.resolve() / "mlartifacts").as_uri(), mlflow.get_tracking_uri().startswith("sqlite")
    if mlflow.get_tracking_uri() == _own_uri(folder):
        _make_store(folder.resolve() / DATABASE, artifacts)
    if mlflow.get_experiment_by_name(experiment) is None:
        mlflow.create_experiment(experiment, artifact_location=artifacts if local else None)
    mlflow.set_experiment(experiment)


def _own_uri(folder: Path) -> str:
    return f"sqlite:///{folder.resolve() / DATABASE}"


def _make_store(path: Path, artifacts: str) -> None:
    """Make MLflow's tables beside their place and move them there: half of them, after a kill, nobody can complete."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with FileLock(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            half = path.with_name(f"{path.name}.part")
            half.unlink(missing_ok=True)
            SqlAlchemyStore(f"sqlite:///{half}", artifacts).engine.dispose()
            half.replace(path)


def _public(uri: str) -> str:
    """A server's address without a password in it."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.netloc else uri


def _record(trained: Trained) -> str:
    import mlflow

    experiment = trained.settings.experiment or trained.name
    _use_experiment(experiment, trained.study)
    _close_orphans(mlflow.MlflowClient(), experiment)
    tags = _tags(trained)
    root, contrast = trained.store.root, trained.judged.contrast
    with mlflow.start_run(run_name=root.name, tags=tags | _owner()) as parent:
        mlflow.log_params(_params(trained.config["train"]))
        mlflow.log_text(yaml.safe_dump(dict(trained.config), sort_keys=False), "run.yaml")
        for file in ("report/auc.csv", "report/contrast.json", "splits.csv", "environment.json"):
            if (root / file).is_file():
                mlflow.log_artifact(str(root / file))
        for table in sorted((root / "report" / TABLES).glob("*.csv")):
            mlflow.log_artifact(str(table), TABLES)
        if contrast:
            named = {f"contrast/{key}": contrast[key] for key in ("difference", "ci_low", "ci_high", "p")}
            mlflow.log_metrics(_finite(named))
        for row in trained.judged.auc.to_dict("records"):
            arm = {str(key): value for key, value in row.items()}
            child = tags | {f"radfuse.{key}": str(arm[key]) for key in ("fusion", "modalities", "classifier")}
            with mlflow.start_run(run_name=str(arm["arm"]), nested=True, tags=child | _owner()) as run:
                _record_arm(trained, arm, run.info.run_id)
        if trained.settings.registry != "none":
            _withdraw_primary(trained)
        return str(parent.info.run_id)


def _record_arm(trained: Trained, arm: Mapping[str, Any], run: str) -> None:
    import mlflow

    mlflow.log_params({key: arm[key] for key in ("arm", "fusion", "modalities", "classifier", "n", "events")})
    folder = trained.store.folder("train", str(arm["arm"]))
    folds = pd.read_csv(folder / FOLDS)
    metrics = {name: arm[key] for key, name in METRICS.items() if key in arm}
    metrics |= probability_metrics(trained.judged, str(arm["arm"]))
    metrics |= {"cv/auc_mean": folds["auc"].mean(), "cv/auc_sd": folds["auc"].std()}
    metrics |= external_metrics(trained.judged, str(arm["arm"]))
    mlflow.log_metrics(_finite(metrics))
    curve = [("cv/auc", float(value), step) for step, value in enumerate(folds["auc"]) if math.isfinite(value)]
    _log_steps(run, curve)
    figure = folder / "roc.svg"
    write_bytes(figure, arm_roc_svg(trained.judged.predictions, str(arm["arm"])))
    for file in (folder / PREDICTIONS, folder / FOLDS, figure):
        mlflow.log_artifact(str(file))
    if trained.settings.models and (folder / MODEL).is_file():
        _register(trained, arm, _record_model(folder / MODEL, trained.table))


def _record_model(path: Path, table: FeatureTable) -> ModelInfo:
    import mlflow.sklearn
    from mlflow.models import infer_signature

    model = without_patients(load_model(path))  # a registered model may be fetched by others than the study's own
    columns = model.named_steps["columns"]
    looked_at = [column for column in columns.columns if column not in columns.fitting]
    rows = table.rows().head(3)[looked_at]  # what the arm looks at in a new patient, and no more
    whole = rows.select_dtypes("integer").columns
    rows = rows.astype(dict.fromkeys(whole, float))  # an integer column could not be missing in a new patient
    signature = infer_signature(rows, model.predict_proba(rows))
    return mlflow.sklearn.log_model(
        model,
        name="model",
        signature=signature,
        pyfunc_predict_fn="predict_proba",
        pip_requirements=REQUIREMENTS,
        serialization_format="skops",
        skops_trusted_types=trusted_types(path),
        tags=_owner(),
    )


def _register(trained: Trained, arm: Mapping[str, Any], logged: ModelInfo) -> None:
    """Make a logged model a version in the registry, unless the same model is one already."""
    import mlflow
    from mlflow.exceptions import MlflowException

    record, primary = trained.store.read("train", str(arm["arm"])), trained.judged.contrast or {}
    planned = registration(
        trained.settings.registry, trained.name, arm, str(primary.get("arm", "")), record.key if record else "",
        _tags(trained),
    )  # fmt: skip
    if planned is None:
        return
    client = mlflow.MlflowClient()
    try:
        with suppress(MlflowException):  # it exists
            client.create_registered_model(planned.name)
        same = client.search_model_versions(f"name = '{planned.name}' and tags.`{KEY}` = '{planned.key}'")
        found = max(same, key=lambda each: int(each.version)) if same else None
        if found is None:
            found = client.create_model_version(
                planned.name, logged.model_uri, logged.run_id, dict(planned.tags), model_id=logged.model_id
            )
        for alias in planned.aliases:
            client.set_registered_model_alias(planned.name, alias, found.version)
    except MlflowException as error:
        log.warning("%s is not registered: %s", planned.name, str(error).splitlines()[0])


def _withdraw_primary(trained: Trained) -> None:
    """Take the alias of the declared arm from models of this study that are it no longer."""
    import mlflow

    client, declared = mlflow.MlflowClient(), str((trained.judged.contrast or {}).get("arm", ""))
    with suppress(mlflow.MlflowException):  # a server without a registry, of which registering has warned
        for model in client.search_registered_models(f"name LIKE '{registered_name(trained.name, '')}%'", 1000):
            if PRIMARY in model.aliases and model.name != registered_name(trained.name, declared):
                # Studies `a` and `a-b` begin alike; the version has the arm's name.
                version = client.get_model_version(model.name, model.aliases[PRIMARY])
                if model.name == registered_name(trained.name, version.tags.get("radfuse.arm", "")):
                    client.delete_registered_model_alias(model.name, PRIMARY)


@contextmanager
def _quiet_mlflow(study: Path) -> Iterator[str]:
    """Point MLflow at its store without telemetry or chatter, and put everything back afterwards."""
    before = {n: os.environ.get(n) for n in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_HTTP_REQUEST_MAX_RETRIES")}
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    import mlflow

    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or _own_uri(study)
    earlier = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield uri
    finally:
        mlflow.set_tracking_uri(earlier or "")
        for variable, value in before.items():
            if value is None:
                os.environ.pop(variable, None)


def _close_orphans(client: MlflowClient, experiment: str) -> None:
    """Runs of dead processes of this machine stay RUNNING for ever unless somebody closes them (fault F78)."""
    found = client.get_experiment_by_name(experiment)
    for run in client.search_runs([found.experiment_id], "attributes.status = 'RUNNING'"):
        host, _, process = run.data.tags.get("radfuse.process", "").partition(":")
        if host == _host() and not process_lives(process):
            client.set_terminated(run.info.run_id, "KILLED")


def _owner() -> dict[str, str]:
    # MLflow would store the user's login name and the path of the program.
    return {"radfuse.process": f"{_host()}:{os.getpid()}", "mlflow.user": "radfuse", "mlflow.source.name": "radfuse"}


def _host() -> str:
    return digest(socket.gethostname())[:12]


def _tags(trained: Trained) -> dict[str, str]:
    tags = {f"radfuse.{name}_hash": value for name, value in trained.hashes.items()}
    return tags | {
        "radfuse.version": radfuse.__version__,
        "radfuse.primary": json.dumps(trained.config["train"]["primary"]),
    }


def _params(settings: Mapping[str, Any]) -> dict[str, str]:
    return {f"train.{name}": json.dumps(value)[:500] for name, value in settings.items()}


def _finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if math.isfinite(float(value))}


def _read_tracked(store: Store) -> dict[str, Any]:
    try:
        return dict(json.loads((store.root / TRACKED).read_text()))
    except (OSError, ValueError):
        return {}
