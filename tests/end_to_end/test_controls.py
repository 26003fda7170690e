"""Negative controls as a user types them, on a table of one's own."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import radfuse

TYPED = (
    "train", "--features", "F.csv", "--subjects", "S.csv", "--outcome", "y", "--fusion", "early", "-o", "RUN",
    "--set", "train.splits.repeats=1", "--set", "train.splits.folds=3", "--jobs", 1,
)  # fmt: skip


@pytest.mark.slow
def test_controls_are_told_shown_recorded_and_kept(tmp_path: Path, rng: np.random.Generator) -> None:
    n = 60
    hidden = rng.normal(size=(n, 2))
    values = {
        f"{modality}.original_firstorder_F{k}": (hidden[:, place] if k < 3 else 0) + 0.5 * rng.normal(size=n)
        for place, modality in enumerate(("CT", "PET")) for k in range(5)
    }  # fmt: skip
    index = pd.Index([f"s{i:02d}" for i in range(n)], name="subject")
    pd.DataFrame(values, index).to_csv(tmp_path / "F.csv")
    pd.DataFrame({"y": (hidden.sum(axis=1) > 0).astype(int)}, index).to_csv(tmp_path / "S.csv")

    refused = radfuse(*TYPED, "--control", "shufle:PET", cwd=tmp_path)
    assert refused.returncode == 2
    assert "did you mean 'shuffle'" in refused.stderr
    assert not (tmp_path / "RUN" / "train").exists()  # refused before the training

    asked = ("--control", "shuffle:PET", "--draws", 2, "--permutations", 4, "--arm", "early-logistic")
    done = radfuse(*TYPED, *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "shuffle:PET: 2 trainings, about " in done.stderr
    assert "the gain over single-CT-logistic goes from +0." in " ".join(done.stdout.split())
    assert "Under 4 permuted outcomes early-logistic reaches" in " ".join(done.stdout.split())
    page = (tmp_path / "RUN" / "report" / "index.html").read_text()
    assert "With PET shuffled (2 draws) early-logistic falls from" in page
    assert "What the modalities share" in page

    tables = tmp_path / "RUN" / "report" / "tables"
    shown = pd.read_csv(tables / "controls.csv").set_index("arm")
    with sqlite3.connect(tmp_path / "RUN" / "mlflow.db") as database:
        rows = database.execute(
            "select t.value, m.key, m.value from tags t join latest_metrics m on m.run_uuid = t.run_uuid "
            "where t.key = 'control'"
        ).fetchall()
    told = {(control, key): value for control, key, value in rows}
    assert told["shuffle:PET", "early-logistic/gain_control"] == pytest.approx(shown["gain_control"]["early-logistic"])
    assert told["permute-outcome", "early-logistic/p"] == 0.2

    before = {name: (tables / name).read_bytes() for name in ("controls.csv", "permuted.csv")}
    again = radfuse(*TYPED, cwd=tmp_path)  # without asking: what stands is shown, and recorded once
    assert again.returncode == 0, again.stderr
    assert {name: (tables / name).read_bytes() for name in before} == before
    with sqlite3.connect(tmp_path / "RUN" / "mlflow.db") as database:
        assert database.execute("select count(*) from tags where key = 'control'").fetchone() == (2,)
    assert set(json.loads((tmp_path / "RUN" / "tracked.json").read_text())["controls"]) == {
        "shuffle:PET", "permute-outcome"
    }  # fmt: skip
