"""Weights that learned from a cohort's own images are refused as its judge."""

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from conftest import radfuse

from radfuse.config import read_config
from radfuse.errors import ConfigError
from radfuse.fuse.mdafuse import SHIPPED
from radfuse.fuse.networks.mdafuse import MdAFuseNet
from radfuse.fuse.networks.weights import images_seen, save_weights
from radfuse.fuse.training import Progress
from radfuse.run.fusion_training import train_network
from radfuse.run.landmarks import learn_landmarks
from radfuse.run.seen import declared, refuse_seen, scales_learned, scans_behind
from radfuse.run.session import Session
from radfuse.run.store import file_digest

TWO = ("phantom-001", "phantom-002")


def test_weights_declare_the_images_of_their_training(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(save_weights({"a": torch.ones(2)}, images=["bb", "aa"]))
    assert images_seen(path) == {"aa", "bb"}
    assert images_seen(SHIPPED) == frozenset(), "the shipped weights saw phantoms only"
    assert images_seen(tmp_path / "absent") == frozenset()


@pytest.fixture(scope="module")
def weights(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that learned from aligned images of two of the demo's patients."""
    folder = tmp_path_factory.mktemp("weights")
    rows = [{"patient": f.name, "images": {m: str(f / f"{m}.nii.gz") for m in ("CT", "PET")}} for f in aligned(demo)]
    recipe = folder / "own.yaml"
    small = {"steps": 2, "batch": 1, "crop": 6, "validate_every": 2, "validation_crops": 1}
    recipe.write_text(yaml.safe_dump({"method": "mdafuse", "volumes": rows, **small}))

    def nothing(progress: Progress) -> None:
        pass

    return train_network(recipe, folder, "cpu", [], nothing)


def aligned(demo: Path) -> list[Path]:
    return [demo / "runs" / "main" / "align" / subject for subject in TWO]


def scans(demo: Path, *subjects: str) -> set[str]:
    """SHA-256 of the scans of some patients."""
    cohort = read_config(demo / "radfuse.yaml").read_cohort()
    return {file_digest(scan.image) for subject in subjects for scan in cohort.scans_of(subject)}


def test_training_on_patients_writes_their_digests_and_those_of_their_scans_into_the_weights(demo: Path, weights: Path):
    images = {file_digest(f / f"{m}.nii.gz") for f in aligned(demo) for m in ("CT", "PET")}
    assert len(images) == 4
    assert images_seen(weights) == images | scans(demo, *TWO)
    assert images.isdisjoint(scans(demo, *TWO))


def test_another_run_of_the_cohort_recognises_the_weights(demo: Path, weights: Path):
    own = {"method": "mdafuse", "weights": str(weights), "sha256": file_digest(weights)}
    method = yaml.safe_dump([own], default_flow_style=True).strip()
    config = read_config(demo / "radfuse.yaml", ["align.spacing_mm=3", f"fuse.methods={method}"])
    with pytest.raises(ConfigError, match=r"learned from images of 2 of this cohort \(phantom-001, phantom-002\)"):
        refuse_seen(Session(config, demo, "coarser", looking=True))
    refuse_seen(Session(read_config(demo / "radfuse.yaml"), demo, "coarser", looking=True))


def test_whatever_lies_in_a_run_tells_its_scans(demo: Path, tmp_path: Path):
    run = demo / "runs" / "main"
    (fused, *_) = (run / "fuse" / "phantom-001").glob("*.nii.gz")
    copied = tmp_path / "aligned" / "somebody"
    shutil.copytree(run / "align" / "phantom-001", copied)
    link = tmp_path / "link.nii.gz"
    link.symlink_to(run / "align" / "phantom-001" / "CT.nii.gz")
    for image in (fused, copied / "CT.nii.gz", link):
        assert scans_behind(image) == scans(demo, "phantom-001")
    for text in ("[1]", "no JSON", '{"name": "of another program"}'):
        (tmp_path / "subject.json").write_text(text)
        assert scans_behind(tmp_path / "CT.nii.gz") == frozenset()


def test_an_aligned_image_that_does_not_tell_its_scans_is_not_learned_from(demo: Path, tmp_path: Path):
    folder = tmp_path / "phantom-001"
    shutil.copytree(demo / "runs" / "main" / "align" / "phantom-001", folder)
    contents = json.loads((folder / "subject.json").read_text())
    del contents["scans"]  # as radfuse once wrote it
    (folder / "subject.json").write_text(json.dumps(contents))
    with pytest.raises(ConfigError, match=r"phantom-001 came of an earlier radfuse and does not say of which") as found:
        declared({folder / "CT.nii.gz": "0" * 64})
    assert "radfuse align --redo" in found.value.hint


def test_scales_learned_from_aligned_images_tell_the_scans_behind(demo: Path, tmp_path: Path):
    images = [folder / "PET.nii.gz" for folder in aligned(demo)]
    rows = [[image.parent.name, "PET", str(image)] for image in images]
    pd.DataFrame(rows, columns=["subject", "modality", "image"]).to_csv(tmp_path / "manifest.csv", index=False)
    learned = learn_landmarks(tmp_path / "manifest.csv", "PET", tmp_path / "PET.json").landmarks
    assert set(learned.images) == {*map(file_digest, images)} | scans(demo, *TWO)
    step = {"method": "histogram_match", "template": str(images[0]), "sha256": file_digest(images[0])}
    setting = f"align.intensity.PET={yaml.safe_dump(step, default_flow_style=True).strip()}"
    (seen,) = scales_learned(read_config(demo / "radfuse.yaml", [setting])).values()
    assert seen == {file_digest(images[0])} | scans(demo, "phantom-001")


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
