"""Every fusion method judged on one cohort, in one command."""

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import pipeline

from radfuse.errors import ConfigError
from radfuse.fuse import FusionMethod, weights_for
from radfuse.fuse.laplacian import Laplacian
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
    assert set(table["method"]) == {"average", "average_1to3", "average_3to1", "maximum"}
    assert table["auc"].is_monotonic_decreasing
    assert table["p_chance"].between(0.05, 1).all()
    # Where the phantom planted uptake and density, mixing the two finds them; the maximum shows bone and bladder.
    best = table.set_index("method")["auc"]
    assert best["average"] > best["maximum"]
    # 0.05 is the least that 19 permutations can say; 99 of them say 0.01 of the best, and 0.04 of `average`.
    assert table["p_chance"][0] == pytest.approx(0.05), "the phantom's signal is real"
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
    assert {"average", "average_1to3", "average_3to1", "dwt3d_3to1", "mdafuse"} <= set(titles)


@pytest.mark.parametrize(
    ("label", "names", "shares"),
    [
        ("1to3", ("CT", "PET"), (0.75, 0.25)),
        ("3to1", ("CT", "PET"), (0.25, 0.75)),
        ("1to3", ("CT", "MR", "PET"), (3 / 7, 3 / 7, 1 / 7)),
        ("3to1", ("CT", "MR", "PET"), (0.2, 0.2, 0.6)),
    ],
)
def test_the_functional_modality_weighs_what_the_label_says_of_pairs_and_of_three(label, names, shares):
    found = candidates(["average"], ("CT", "MR", "PET"))
    method = next(method for method in found if method.title == f"average_{label}")
    assert weights_for(names, method.model_dump()["weights"]) == pytest.approx(shares)


def test_methods_with_settings_of_their_own_join_those_by_default():
    own = (
        FusionMethod.choose({"method": "average", "label": "mine", "weights": {"CT": 9.0, "PET": 1.0}}),
        Laplacian(levels=2),
    )
    found = {method.title: method for method in candidates((), ("CT", "PET"), own)}
    assert found["average_mine"] is own[0]
    assert found["laplacian"] is own[1]
    assert [method.title for method in candidates(["average"], ("CT", "PET"), own)][-1] == "average_mine"


def test_an_unknown_method_is_refused_by_name():
    with pytest.raises(ConfigError, match="unknown fusion methods: wavelets"):
        candidates(["wavelets"], ("CT", "PET"))
