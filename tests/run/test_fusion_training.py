"""`radfuse fusion train`: weights with a card, and the same weights after an interruption."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import yaml
from conftest import REPOSITORY, radfuse

from radfuse.errors import ConfigError
from radfuse.fuse.phantoms import phantom
from radfuse.fuse.training import Progress
from radfuse.run import fusion_training
from radfuse.run.fusion_training import read_training, train_network

RECIPE = REPOSITORY / "configs" / "fusion" / "mdafuse.yaml"
SMALL = ["phantoms=2", "validation_phantoms=1", "validation_crops=2", "held_out_phantoms=1", "crop=8", "batch=1"]


EVERY = 6  # a checkpoint comes sooner than in earnest


def nothing(progress: Progress) -> None:
    pass


@pytest.mark.slow
def test_the_command_writes_weights_and_their_card(tmp_path: Path) -> None:
    settings = [part for setting in [*SMALL, "steps=3"] for part in ("--set", setting)]
    done = radfuse("fusion", "train", RECIPE, "-o", tmp_path, "--device", "cpu", *settings)
    assert done.returncode == 0, done.stderr
    weights = (tmp_path / "mdafuse.safetensors").read_bytes()
    card = (tmp_path / "mdafuse.md").read_text()
    assert hashlib.sha256(weights).hexdigest() in card
    assert "Apache-2.0" in card
    assert "no image of any patient" in card


@pytest.mark.slow
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion_training, "EVERY", EVERY)
    settings = [*SMALL, f"steps={EVERY + 4}"]
    whole = train_network(RECIPE, tmp_path / "whole", "cpu", settings, nothing).read_bytes()

    def stop(progress: Progress) -> None:
        if progress.step == EVERY + 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_network(RECIPE, tmp_path / "cut", "cpu", settings, stop)
    assert (tmp_path / "cut" / "mdafuse.checkpoint.pt").is_file()
    seen: list[int] = []
    again = train_network(RECIPE, tmp_path / "cut", "cpu", settings, lambda progress: seen.append(progress.step))
    assert seen[0] == EVERY + 1
    assert again.read_bytes() == whole
    assert not (tmp_path / "cut" / "mdafuse.checkpoint.pt").exists()


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A recipe that learns from three small patients written to disk."""
    rows = []
    for k in range(3):
        for name, volume in phantom(np.random.default_rng([3, k]), (12, 16, 16)).items():
            if name != "MR":
                sitk.WriteImage(volume.to_sitk(), str(tmp_path / f"P{k}_{name}.nii.gz"))
        rows.append({"patient": f"P{k}", "images": {name: f"P{k}_{name}.nii.gz" for name in ("CT", "PET")}})
    small = {"steps": 4, "batch": 1, "crop": 6, "validate_every": 2, "validation_crops": 2}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"method": "mdafuse", "volumes": rows, **small}))
    return recipe


def test_patients_are_learned_from_set_aside_and_named_in_the_card(listed: Path, tmp_path: Path) -> None:
    config = read_training(listed, [])
    assert all(file.is_file() for scans in config.volumes for file in scans.images.values())
    (learnt, aside) = ({scans.patient for scans in part} for part in config.split())
    train_network(listed, tmp_path / "out", "cpu", [], nothing)
    card = (tmp_path / "out" / "mdafuse.md").read_text()
    assert f"{len(learnt)} patients named in recipe.yaml: {', '.join(sorted(learnt))}. Stopped by: {min(aside)}" in card
    assert "so the figure is a little too good" in card
    assert "that of the images" in card


@pytest.mark.filterwarnings("ignore")  # MLflow's own packages warn of each other
def test_training_is_recorded_in_the_study(listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = train_network(listed, tmp_path / "out", "cpu", [], nothing, study=tmp_path / "study")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'study' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("fusion training")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "mdafuse"
    assert run.info.status == "FINISHED"
    assert run.data.params["learning_rate"] == "0.003"
    assert {"held_out/trained", "held_out/untrained", "held_out/average", "best_step"} <= set(run.data.metrics)
    assert [point.step for point in client.get_metric_history(run.info.run_id, "loss/training")] == [1, 2, 3, 4]
    assert [point.step for point in client.get_metric_history(run.info.run_id, "loss/validation")] == [2, 4]
    assert run.data.tags["radfuse.weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"recipe.yaml", "mdafuse.safetensors", "mdafuse.md"}


def test_without_a_study_nothing_is_recorded(listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    train_network(listed, tmp_path / "out", "cpu", ["steps=1"], nothing)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"mdafuse.safetensors", "mdafuse.md"}


def test_a_tracking_server_that_fails_costs_a_warning_and_not_the_weights(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert train_network(listed, tmp_path / "out", "cpu", ["steps=1"], nothing).is_file()
    assert "the training is not recorded at http://127.0.0.1:9" in caplog.text
    assert "secret" not in caplog.text.partition(":9: ")[0]


def test_a_misspelt_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        read_training(RECIPE, ["step=3"])
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            train_network(RECIPE, tmp_path, "cuda", [*SMALL, "steps=1"], nothing)


def test_volumes_that_are_no_list_are_named(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("method: mdafuse\nvolumes: 2\n")
    with pytest.raises(ConfigError, match=r"own.yaml cannot be used:\n  - volumes: "):
        read_training(tmp_path / "own.yaml", [])
