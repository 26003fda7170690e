"""`radfuse landmarks`: a scale learned from other patients, and refused for the patients it was learned from."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from radfuse.align.intensity.landmarks import DECILES
from radfuse.align.stage import Align
from radfuse.cli.app import app
from radfuse.config import read_config
from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_volume, write_mask, write_volume
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError
from radfuse.run.landmarks import learn_landmarks
from radfuse.run.newcomers import learned_from
from radfuse.run.seen import refuse_seen, scales_learned
from radfuse.run.session import Session
from radfuse.run.store import Store, file_digest

GRID = Geometry((12, 10, 8), (1.0, 1.0, 2.0))


@pytest.fixture
def manifest(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Three patients, alike but for the gain of their scanner; the third is blank; a region `fat` in the first two."""
    folder = tmp_path / "others"
    shape = rng.gamma(3.0, 50.0, GRID.shape) + 100
    shape[:2] = 0
    labels = np.zeros(GRID.shape, np.uint8)
    labels[3:5, 3:6, 3:6], labels[6:, 6:, 6:] = 1, 2
    rows = []
    for subject, gain in (("A", 1.0), ("B", 4.0), ("C", 0.0)):
        image = folder / f"{subject}.nii.gz"
        write_volume(image, Volume((gain * shape).astype(np.float32), GRID, "MR", "a.u."))
        write_mask(folder / f"{subject}_mask.nii.gz", Mask(labels, GRID))
        for region, label in (("tumour", 1), ("fat", 2)):
            rows.append([subject, "MR", image.name, f"{subject}_mask.nii.gz", label, region])
    pd.DataFrame(rows, columns=["subject", "modality", "image", "mask", "label", "region"]).to_csv(
        folder / "manifest.csv", index=False
    )
    return folder / "manifest.csv"


def test_gains_do_not_matter_and_the_file_says_what_it_saw(manifest: Path, tmp_path: Path) -> None:
    made = learn_landmarks(manifest, "MR", tmp_path / "MR.json")
    assert made.subjects == ("A", "B")
    assert [(problem.subject, "zero variance" in problem.what) for problem in made.failed] == [("C", True)]
    held = json.loads(made.path.read_text())
    assert held["images"] == sorted(file_digest(manifest.parent / f"{s}.nii.gz") for s in "AB")
    assert file_digest(made.path) == made.sha256
    one = learn_landmarks(manifest, "MR", tmp_path / "again.json", only=["A", "B"])
    assert one.sha256 == made.sha256
    values = np.asarray(held["values"])
    # Gains cancel, so that the mean of both images is either's; percentiles are NumPy's.
    array = read_volume(manifest.parent / "A.nii.gz", "MR", "a.u.").array.astype(float)
    tissue = array[array > 0.1 * np.percentile(array, 99)]
    expected = np.percentile(tissue, DECILES)
    np.testing.assert_allclose(values, 100 * (expected - expected[0]) / (expected[-1] - expected[0]), atol=1e-4)


def test_a_region_or_all_but_the_tumour_may_be_looked_at(manifest: Path, tmp_path: Path) -> None:
    found = {over: learn_landmarks(manifest, "MR", tmp_path / f"{over}.json", over=over) for over in ("outside", "fat")}
    assert {over: made.landmarks.over for over, made in found.items()} == {"outside": "outside", "fat": "fat"}
    assert found["fat"].landmarks.values != found["outside"].landmarks.values
    with pytest.raises(DataError, match=r"0 of 3 images of MR could be learned from.*no region 'bone'"):
        learn_landmarks(manifest, "MR", tmp_path / "bone.json", over="bone")


def test_bad_wishes_are_one_config_error_each(manifest: Path, tmp_path: Path) -> None:
    good = tmp_path / "x.json"
    with pytest.raises(ConfigError, match="no modality 'CT'; it has MR"):
        learn_landmarks(manifest, "CT", good)
    with pytest.raises(ConfigError, match="not in the manifest: Z"):
        learn_landmarks(manifest, "MR", good, only=["Z"])
    with pytest.raises(ConfigError, match=r"--before: unknown method 'n5'\. Known: "):
        learn_landmarks(manifest, "MR", good, before=["n5"])
    with pytest.raises(ConfigError, match="threshold"):
        learn_landmarks(manifest, "MR", good, threshold=1.5)
    with pytest.raises(ConfigError, match="written as JSON"):
        learn_landmarks(manifest, "MR", tmp_path / "x.txt")
    with pytest.raises(DataError, match="1 of 1 images"):
        learn_landmarks(manifest, "MR", good, only=["A"])
    assert not good.exists()


def test_the_command_prints_what_goes_into_the_config_and_training_refuses_its_own_patients(
    manifest: Path, tmp_path: Path
) -> None:
    told = CliRunner().invoke(
        app, ["landmarks", str(manifest), "-m", "MR", "-o", str(tmp_path / "MR.json"), "--before", "sqrt"]
    )
    assert told.exit_code == 1, "the blank patient is told"
    line = next(line for line in told.stdout.splitlines() if line.startswith("into radfuse.yaml:"))
    settings = yaml.safe_load(line.removeprefix("into radfuse.yaml:"))
    assert [step if isinstance(step, str) else step["method"] for step in settings["align"]["intensity"]["MR"]] == [
        "sqrt",
        "nyul",
    ]
    study = tmp_path / "study"
    shutil.copytree(manifest.parent, study)
    pd.DataFrame({"subject": list("ABC"), "event": [0, 1, 0]}).to_csv(study / "clinical.csv", index=False)
    cohort = {"manifest": "manifest.csv", "tables": ["clinical.csv"], "outcome": "event"}
    (study / "radfuse.yaml").write_text(yaml.safe_dump({"cohort": cohort} | settings))
    config = read_config(study / "radfuse.yaml")
    (images,) = scales_learned(config).values()
    assert len(images) == 2
    with pytest.raises(ConfigError, match=r"align.intensity.MR: nyul learned from images of 2 of this cohort \(A, B\)"):
        refuse_seen(Session(config, study))
    run = SimpleNamespace(config=config, fuses=False)
    learnt = learned_from(run, config.read_cohort(), Store(tmp_path / "nothing"))  # type: ignore[arg-type]
    assert learnt == dict.fromkeys("AB", "an example of an intensity scale")
    only_c = pd.read_csv(study / "manifest.csv").query("subject == 'C'")
    only_c.to_csv(study / "manifest.csv", index=False)
    pd.DataFrame({"subject": ["C"], "event": [0]}).to_csv(study / "clinical.csv", index=False)
    refuse_seen(Session(read_config(study / "radfuse.yaml"), study))


def test_landmarks_learned_after_other_steps_than_the_study_has_are_refused(manifest: Path, tmp_path: Path) -> None:
    made = learn_landmarks(manifest, "MR", tmp_path / "MR.json", before=["sqrt"])
    nyul = {"method": "nyul", "landmarks": str(made.path), "sha256": made.sha256}
    Align.model_validate({"intensity": {"MR": ["sqrt", nyul]}}).require()
    for steps in (nyul, ["log1p", nyul], [nyul, "sqrt"]):
        with pytest.raises(ConfigError, match=r"learned after sqrt, and here nyul comes after (none|log1p)"):
            Align.model_validate({"intensity": {"MR": steps}}).require()
