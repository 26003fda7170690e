"""`radfuse fusion train`: weights with a card, and the same weights after an interruption."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import yaml
from conftest import REPOSITORY, radfuse

from radfuse.errors import ConfigError, DataError, GeometryError
from radfuse.fuse.networks.recipe import FusionTraining
from radfuse.fuse.phantoms import phantom
from radfuse.fuse.training import Progress
from radfuse.run import fusion_training
from radfuse.run.fusion_training import read_training, train_network

RECIPE = REPOSITORY / "configs" / "fusion" / "mdafuse.yaml"
SMALL = ["phantoms=2", "validation_phantoms=1", "validation_crops=2", "held_out_phantoms=1", "crop=8", "batch=1"]


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


@pytest.fixture
def cut(listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint that a training of the three patients left when it was stopped after its second step."""
    monkeypatch.setattr(fusion_training, "EVERY", 2)

    def stop(progress: Progress) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_network(listed, tmp_path / "out", "cpu", [], stop)
    return tmp_path / "out" / "mdafuse.checkpoint.pt"


def test_an_interrupted_training_ends_with_the_same_weights(cut: Path, listed: Path, tmp_path: Path) -> None:
    whole = train_network(listed, tmp_path / "whole", "cpu", [], nothing)
    told: list[int] = []
    steps: list[int] = []
    again = train_network(listed, cut.parent, "cpu", [], lambda p: steps.append(p.step), resumed=told.append)
    assert told == [2]
    assert steps == [3, 4]
    assert again.read_bytes() == whole.read_bytes()
    assert not cut.exists()


def other_settings(recipe: Path) -> list[str]:
    return ["learning_rate=0.001", "normalisation.CT={kind: spread}"]


def other_image(recipe: Path) -> list[str]:
    shutil.copy(recipe.with_name("P0_PET.nii.gz"), recipe.with_name("P1_PET.nii.gz"))
    return []


def fewer_patients(recipe: Path) -> list[str]:
    return [f"volumes={yaml.safe_load(recipe.read_text())['volumes'][:2]}"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_settings, r"CT.kind: window there, spread here; learning_rate: 0.003 there, 0.001 here; .* 8 more$"),
        (other_image, r"training: volumes.2.images.PET: \w{64} there, \w{64} here$"),
        (fewer_patients, r"training: volumes.3.patient: P2 there, nothing here; "),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_and_stays(
    cut: Path, listed: Path, change: Callable[[Path], list[str]], said: str
) -> None:
    before = cut.read_bytes()
    with pytest.raises(ConfigError, match=said) as found:
        train_network(listed, cut.parent, "cpu", change(listed), nothing)
    assert "--redo" in found.value.hint
    assert cut.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"no checkpoint at all", None])
def test_a_checkpoint_that_cannot_be_read_is_refused_and_stays(cut: Path, listed: Path, content: bytes | None) -> None:
    if content is None:
        torch.save({"key": "0" * 64, "history": [1.0]}, cut)  # as radfuse once wrote it
    else:
        cut.write_bytes(content)
    before = cut.read_bytes()
    with pytest.raises(ConfigError, match=r"checkpoint .* (is damaged|another version of radfuse)"):
        train_network(listed, cut.parent, "cpu", [], nothing)
    assert cut.read_bytes() == before


def test_the_same_training_goes_on_although_its_images_have_moved(cut: Path, listed: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for file in (listed, *tmp_path.glob("*.nii.gz")):
        file.rename(moved / file.name)
    done = radfuse("fusion", "train", moved / listed.name, "-o", cut.parent, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "goes on from step 2\n" in done.stderr
    assert not cut.exists()


def test_weights_and_another_checkpoint_are_replaced_only_when_asked_to(cut: Path, listed: Path) -> None:
    steps: list[int] = []
    weights = train_network(
        listed, cut.parent, "cpu", ["learning_rate=0.001"], lambda p: steps.append(p.step), redo=True
    )
    assert steps == [1, 2, 3, 4]
    before = weights.read_bytes()
    with pytest.raises(ConfigError, match="holds weights already") as found:
        train_network(listed, cut.parent, "cpu", [], nothing)
    assert "--redo" in found.value.hint
    assert weights.read_bytes() == before
    assert train_network(listed, cut.parent, "cpu", [], nothing, redo=True).read_bytes() != before


def test_a_checkpoint_of_a_gpu_goes_on_without_one(cut: Path, listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The file says of every tensor where it was; this one says what a GPU's says.
    content = torch.load(cut, weights_only=True)
    with monkeypatch.context() as patched:
        patched.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(content, cut)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="map_location"):
            torch.load(cut, weights_only=True)
    assert train_network(listed, cut.parent, "cpu", [], nothing).is_file()


def test_volumes_on_two_grids_are_refused_and_the_patient_is_named(listed: Path, tmp_path: Path) -> None:
    image = sitk.ReadImage(str(tmp_path / "P1_PET.nii.gz"))
    image.SetOrigin([place + 30 for place in image.GetOrigin()])
    sitk.WriteImage(image, str(tmp_path / "P1_PET.nii.gz"))
    with pytest.raises(GeometryError, match=r"CT against PET: origin shifted by .*30.* mm") as found:
        train_network(listed, tmp_path / "out", "cpu", [], nothing)
    assert found.value.__notes__ == ["while reading the images of P1"]


def test_an_image_that_is_not_there_is_named_with_its_patient(listed: Path, tmp_path: Path) -> None:
    (tmp_path / "P2_CT.nii.gz").unlink()
    with pytest.raises(DataError, match=r"the CT of P2 cannot be read: .*P2_CT.nii.gz"):
        train_network(listed, tmp_path / "out", "cpu", [], nothing)


def test_the_card_tells_the_command_and_no_place_on_this_machine(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = ["steps=1", "normalisation.CT={kind: spread}"]
    train_network(listed.resolve(), (tmp_path / "out").resolve(), "cpu", settings, nothing)
    card = (tmp_path / "out" / "mdafuse.md").read_text()
    command = "radfuse fusion train recipe.yaml -o out --set steps=1 --set 'normalisation.CT={kind: spread}'"
    assert f"- Command: `{command}`" in card
    assert str(tmp_path) not in card
    told = FusionTraining.model_validate_json(card.partition("```json")[2].partition("```")[0])
    assert told.volumes[0].images == {"CT": Path("P0_CT.nii.gz"), "PET": Path("P0_PET.nii.gz")}


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
    assert str(tmp_path) not in json.dumps(run.data.params)
    assert str(tmp_path) not in mlflow.artifacts.load_text(f"{run.info.artifact_uri}/recipe.yaml")
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
