"""Weights that learned from a cohort's own images are refused as its judge."""

import hashlib
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from conftest import radfuse

from radfuse.fuse.mdafuse import SHIPPED
from radfuse.fuse.networks.mdafuse import MdAFuseNet
from radfuse.fuse.networks.weights import images_seen, save_weights
from radfuse.fuse.training import Progress
from radfuse.run.fusion_training import train_network
from radfuse.run.store import file_digest


def test_weights_declare_the_images_of_their_training(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(save_weights({"a": torch.ones(2)}, images=["bb", "aa"]))
    assert images_seen(path) == {"aa", "bb"}
    assert images_seen(SHIPPED) == frozenset(), "the shipped weights saw phantoms only"
    assert images_seen(tmp_path / "absent") == frozenset()


def test_training_on_patients_writes_their_digests_into_the_weights(demo: Path, tmp_path: Path):
    aligned = [demo / "runs" / "main" / "align" / f"phantom-{k:03d}" for k in (1, 2)]
    rows = [{"patient": f.name, "images": {m: str(f / f"{m}.nii.gz") for m in ("CT", "PET")}} for f in aligned]
    recipe = tmp_path / "own.yaml"
    small = {"steps": 2, "batch": 1, "crop": 6, "validate_every": 2, "validation_crops": 1}
    recipe.write_text(yaml.safe_dump({"method": "mdafuse", "volumes": rows, **small}))

    def nothing(progress: Progress) -> None:
        pass

    weights = train_network(recipe, tmp_path, "cpu", [], nothing)
    assert images_seen(weights) == {file_digest(f / f"{m}.nii.gz") for f in aligned for m in ("CT", "PET")}


@pytest.mark.slow
def test_a_cohort_is_not_judged_by_weights_that_saw_it(demo: Path, tmp_path: Path):
    folder = tmp_path / "study"
    shutil.copytree(demo, folder)
    manifest = pd.read_csv(folder / "manifest.csv")  # a few patients will do
    few = manifest["subject"].drop_duplicates().head(12)
    manifest[manifest["subject"].isin(few)].to_csv(folder / "manifest.csv", index=False)
    image = folder / "runs" / "main" / "align" / "phantom-002" / "PET.nii.gz"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        content = save_weights(MdAFuseNet().state_dict(), images=[file_digest(image), "0" * 64])
    (folder / "own.safetensors").write_bytes(content)
    own = {"method": "mdafuse", "weights": str(folder / "own.safetensors")}
    method = yaml.safe_dump([own | {"sha256": hashlib.sha256(content).hexdigest()}], default_flow_style=True).strip()
    arguments = ("--set", f"fuse.methods={method}", "--set", "train.splits.repeats=1", "--set", "train.splits.folds=2")
    assert radfuse("fuse", *arguments, cwd=folder).returncode == 0
    assert radfuse("extract", *arguments, cwd=folder).returncode == 0
    done = radfuse("train", *arguments, cwd=folder)
    assert done.returncode == 2
    assert "the weights of mdafuse learned from images of 1 of this cohort (phantom-002)" in done.stderr
