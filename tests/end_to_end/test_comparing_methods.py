"""Every fusion method judged on one cohort, in one command."""

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import pipeline

from radfuse.errors import ConfigError
from radfuse.run.comparing_methods import candidates, compared_sets


def compare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["compare_fusion_methods.py", folder / "radfuse.yaml", folder, "--run", "main", "--permutations", "19"]
    fast = ["--set", "train.splits.repeats=1", "--set", "train.operating=null", "--set", "tracking.models=false"]
    return pipeline(*command, *fast, *arguments)


@pytest.mark.slow
def test_methods_are_compared_and_a_second_run_reuses_everything(demo: Path, tmp_path: Path):
    folder = tmp_path / "study"
    shutil.copytree(demo, folder)
    done = compare(folder, "--method", "average", "--method", "maximum")
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(folder / "runs" / "main" / "report" / "fusion_methods.csv")
    assert set(table["method"]) == {"average", "average_w25", "average_w75", "maximum"}
    assert table["auc"].is_monotonic_decreasing
    assert table["p_chance"].between(0.05, 1).all()
    # Where the phantom planted uptake and density, mixing the two finds them; the maximum shows bone and bladder.
    best = table.set_index("method")["auc"]
    assert best["average"] > best["maximum"]
    assert table.set_index("method")["p_chance"]["average"] == pytest.approx(0.05), "the phantom's signal is real"
    assert "Best of 4 images: " in done.stdout
    assert "Choosing the image inside each training part (chosen-logistic) earns" in done.stdout
    assert "19 permutations of 4 arms: about" in done.stderr
    again = compare(folder, "--method", "average", "--method", "maximum")
    assert again.returncode == 0, again.stderr
    assert "permutations: 0 to do, 20 reused" in again.stderr
    repeated = pd.read_csv(folder / "runs" / "main" / "report" / "fusion_methods.csv")
    pd.testing.assert_frame_equal(repeated.drop(columns="seconds"), table.drop(columns="seconds"))


def test_sets_hold_the_functional_modality_where_there_is_one():
    assert compared_sets(["MR_T1", "MR_T2", "CT"]) == [
        ("CT", "MR_T1"), ("CT", "MR_T2"), ("MR_T1", "MR_T2"), ("CT", "MR_T1", "MR_T2"),
    ]  # fmt: skip
    assert compared_sets(["PET", "CT"]) == [("CT", "PET")]


def test_candidates_are_all_methods_and_weights_favour_the_functional_modality_by_name():
    titles = [method.title for method in candidates((), ("CT", "PET"))]
    assert len(set(titles)) == len(titles)
    assert {"average", "average_w25", "average_w75", "dwt3d_w75", "mdafuse"} <= set(titles)
    heavy = next(method for method in candidates(["average"], ("CT", "MR", "PET")) if method.title == "average_w75")
    assert heavy.model_dump()["weights"] == {"CT": 0.25, "MR": 0.25, "PET": 0.75}


def test_an_unknown_method_is_refused_by_name():
    with pytest.raises(ConfigError, match="unknown fusion methods: wavelets"):
        candidates(["wavelets"], ("CT", "PET"))
