"""`radfuse fusion train`: weights with a card, and the same weights after an interruption."""

import hashlib
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY, radfuse

from radfuse.errors import ConfigError
from radfuse.fuse.training import Progress
from radfuse.run.fusion_training import EVERY, read_training, train_network

RECIPE = REPOSITORY / "configs" / "fusion" / "mdafuse.yaml"
SMALL = ["phantoms=2", "held_out_phantoms=1", "crop=8", "batch=1"]


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
    assert "no patient" in card


@pytest.mark.slow
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
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


def test_a_misspelt_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        read_training(RECIPE, ["step=3"])
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            train_network(RECIPE, tmp_path, "cuda", [*SMALL, "steps=1"], nothing)
