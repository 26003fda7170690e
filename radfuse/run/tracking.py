"""MLflow: a parent run per command, a child run per arm. The only file that imports mlflow."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pandas as pd
import yaml

import radfuse
from radfuse.config import Tracking
from radfuse.data.cohort import Problem
from radfuse.data.table import FeatureTable
from radfuse.fuse.networks.recipe import FusionTraining
from radfuse.fuse.training import Trained as TrainedNetwork
from radfuse.report.roc import arm_roc_svg
from radfuse.run.judging import FOLDS, MODEL, PREDICTIONS, Judged
from radfuse.run.models import load_model, trusted_types
from radfuse.run.store import Store, digest, file_digest, process_lives, write_bytes, write_text

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

TRACKED = "tracked.json"
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
    import mlflow

    report = trained.store.folder("report")
    results = [file_digest(report / name) for name in ("predictions.parquet", "auc.csv", "contrast.json")]
    key, before = digest(uri, trained.name, results, dict(trained.hashes)), _read_tracked(trained.store)
    if before.get("key") == key:
        with suppress(mlflow.MlflowException):
            if mlflow.MlflowClient().get_run(before["run"]).info.lifecycle_stage == "active":
                return
    run = _record(trained)
    write_text(trained.store.root / TRACKED, json.dumps({"key": key, "run": run}) + "\n")


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
    from mlflow.entities import Metric

    _use_experiment("fusion training", folder)
    settings = config.model_dump(mode="json")
    tags = {"radfuse.version": radfuse.__version__, "radfuse.weights_sha256": trained.sha256}
    with mlflow.start_run(run_name=config.method, tags=tags | _owner()) as run:
        mlflow.log_params({name: json.dumps(value)[:500] for name, value in settings.items()})
        mlflow.log_text(yaml.safe_dump(settings, sort_keys=False), "recipe.yaml")
        curves = {"loss/training": enumerate(trained.history, 1), "loss/validation": trained.validation.items()}
        points = [Metric(name, value, 0, step) for name, curve in curves.items() for step, value in curve]
        for start in range(0, len(points), 1000):  # MLflow's limit for one request
            mlflow.MlflowClient().log_batch(run.info.run_id, points[start : start + 1000])
        held_out = {f"held_out/{name}": value for name, value in trained.losses.items()}
        mlflow.log_metrics(_finite(held_out | {"best_step": trained.best_step}))
        for file in files:
            mlflow.log_artifact(str(file))


def _use_experiment(experiment: str, folder: Path) -> None:
    import mlflow

    if mlflow.get_experiment_by_name(experiment) is None:
        artifacts = (folder.resolve() / "mlartifacts").as_uri()
        local = mlflow.get_tracking_uri().startswith("sqlite")
        mlflow.create_experiment(experiment, artifact_location=artifacts if local else None)
    mlflow.set_experiment(experiment)


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
        if contrast:
            named = {f"contrast/{key}": contrast[key] for key in ("difference", "ci_low", "ci_high", "p")}
            mlflow.log_metrics(_finite(named))
        for row in trained.judged.auc.to_dict("records"):
            arm = {str(key): value for key, value in row.items()}
            child = tags | {f"radfuse.{key}": str(arm[key]) for key in ("fusion", "modalities", "classifier")}
            with mlflow.start_run(run_name=str(arm["arm"]), nested=True, tags=child | _owner()):
                _record_arm(trained, arm)
        return str(parent.info.run_id)


def _record_arm(trained: Trained, arm: Mapping[str, Any]) -> None:
    import mlflow

    mlflow.log_params({key: arm[key] for key in ("arm", "fusion", "modalities", "classifier", "n", "events")})
    folder = trained.store.folder("train", str(arm["arm"]))
    folds = pd.read_csv(folder / FOLDS)
    metrics = {name: arm[key] for key, name in METRICS.items() if key in arm}
    metrics |= {"cv/auc_mean": folds["auc"].mean(), "cv/auc_sd": folds["auc"].std()}
    mlflow.log_metrics(_finite(metrics))
    for step, value in enumerate(folds["auc"]):
        if math.isfinite(value):
            mlflow.log_metric("cv/auc", float(value), step=step)
    figure = folder / "roc.svg"
    write_bytes(figure, arm_roc_svg(trained.judged.predictions, str(arm["arm"])))
    for file in (folder / PREDICTIONS, folder / FOLDS, figure):
        mlflow.log_artifact(str(file))
    if trained.settings.models and (folder / MODEL).is_file():
        _record_model(folder / MODEL, trained.table)


def _record_model(path: Path, table: FeatureTable) -> None:
    import mlflow.sklearn
    from mlflow.models import infer_signature

    model = load_model(path)
    rows = table.rows().head(3)[list(model.named_steps["columns"].columns)]  # what the arm looks at, and no more
    whole = rows.select_dtypes("integer").columns
    rows = rows.astype(dict.fromkeys(whole, float))  # an integer column could not be missing in a new patient
    signature = infer_signature(rows, model.predict_proba(rows))
    mlflow.sklearn.log_model(
        model,
        name="model",
        signature=signature,
        pyfunc_predict_fn="predict_proba",
        pip_requirements=REQUIREMENTS,
        serialization_format="skops",
        skops_trusted_types=trusted_types(path),
    )


@contextmanager
def _quiet_mlflow(study: Path) -> Iterator[str]:
    """Point MLflow at its store without telemetry or chatter, and put everything back afterwards."""
    before = {n: os.environ.get(n) for n in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_HTTP_REQUEST_MAX_RETRIES")}
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    import mlflow

    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{study.resolve() / 'mlflow.db'}"
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


def _read_tracked(store: Store) -> dict[str, str]:
    try:
        return dict(json.loads((store.root / TRACKED).read_text()))
    except (OSError, ValueError):
        return {}
