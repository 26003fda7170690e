"""pipelines/, configs/ and notebooks/ are working parts."""

import os
from pathlib import Path

import nbformat
import pytest
import yaml
from conftest import REPOSITORY, pipeline
from nbclient import NotebookClient

from radfuse.config import read_config
from radfuse.extract.stage import Extract

CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(REPOSITORY / "configs")))
def test_every_config_loads(path: Path) -> None:
    if path.parent.name == "pyradiomics":
        Extract.model_validate({"parameters": {"default": yaml.safe_load(path.read_text())}})
    elif path.parent.name == "fusion":
        from radfuse.run.fusion_training import read_training

        assert read_training(path, []).steps > 0
    else:
        assert read_config(path).train.primary.fusion == "early"


@pytest.mark.slow
def test_the_full_pipeline_repeats_the_command(demo: Path) -> None:
    done = pipeline("full.py", demo / "radfuse.yaml", demo)
    assert done.returncode == 0, done.stderr
    assert "early-logistic" in done.stdout
    assert "interval" in done.stdout


@pytest.mark.slow
def test_fusion_levels_are_compared_in_pairs(demo: Path) -> None:
    done = pipeline("compare_fusion_levels.py", demo / "runs" / "main", "--resamples", 200)
    assert done.returncode == 0, done.stderr
    assert "late-logistic" in done.stdout
    assert "ci_low" in done.stdout


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Jupyter's own packages warn of each other
@pytest.mark.parametrize("path", sorted((REPOSITORY / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_run_and_are_stored_without_output(
    path: Path, demo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    monkeypatch.setenv("RADFUSE_RUN", str(demo / "runs" / "main"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    assert os.environ["RADFUSE_RUN"]
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(str(cell.get("outputs")) for cell in notebook.cells)
    assert "do not claim a gain" in said or "predicted better" in said
