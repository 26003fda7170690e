"""`radfuse ibsi`, and `radfuse extract --method ibsi`."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import radfuse
from typer.testing import CliRunner

from radfuse.cli.app import app
from radfuse.data.reading.images import write_mask, write_volume
from radfuse.data.volume import Mask, Volume
from radfuse.run import ibsi


@pytest.fixture(autouse=True)
def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RADFUSE_DATA", raising=False)


def test_the_scorecard_is_printed_and_every_value_written(tmp_path: Path) -> None:
    done = radfuse("ibsi", "--csv", "rows.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "features of PyRadiomics: 107 of 107 pass" in done.stdout
    assert "all values, with image processing: 482 of 482 pass" in done.stdout
    assert "configurations A to E were not run" in done.stdout
    assert "FAIL" not in done.stdout
    assert len(pd.read_csv(tmp_path / "rows.csv")) == 482


def test_a_value_that_fails_is_listed_and_makes_the_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    table = ibsi.reference_values()
    table.loc["stat_mean", "digital"] = 2.2
    monkeypatch.setattr(ibsi, "reference_values", lambda: table)
    done = CliRunner().invoke(app, ["ibsi"])
    assert done.exit_code == 1
    assert "FAIL digital stat_mean (Q4LE): 2.14865, reference 2.2 +- 0" in done.stdout
    assert "481 of 482 pass" in done.stdout


def test_a_folder_without_the_phantom_is_a_mistake_of_usage(tmp_path: Path) -> None:
    done = radfuse("ibsi", "--data", tmp_path)
    assert done.returncode == 2
    assert "holds no CT phantom" in done.stderr
    assert "github.com/theibsi/data_sets" in done.stderr


def test_extract_measures_the_ibsi_way(tmp_path: Path, ct: Volume, sphere: Mask) -> None:
    write_volume(tmp_path / "ct.nii.gz", ct)
    write_mask(tmp_path / "mask.nii.gz", sphere)
    (tmp_path / "manifest.csv").write_text("subject,modality,image,mask\na,CT,ct.nii.gz,mask.nii.gz\n")
    (tmp_path / "p.yaml").write_text("setting: {binWidth: 25, resegmentRange: [-500, 400]}\n")
    command = ("extract", "--manifest", "manifest.csv", "-p", "p.yaml", "--method", "ibsi", "-o", "f.csv", "-j", 1)
    done = radfuse(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = pd.read_csv(tmp_path / "f.csv").iloc[0]
    inside = np.rint(ct.array[sphere.inside].astype(float))
    moments = [np.mean((inside - inside.mean()) ** power) for power in (2, 4)]
    assert row["CT.original_firstorder_Kurtosis"] == pytest.approx(moments[1] / moments[0] ** 2 - 3)
    least = np.floor((inside.min() + 500) / 25) + 1  # the first bin begins at -500
    assert row["CT.original_histogram_Minimum"] == least
    assert row["CT.original_gldzm_ZonePercentage"] == row["CT.original_glszm_ZonePercentage"]  # as many zones
