"""`radfuse view`: coloured planes of a study's subjects, with their scale beside them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radfuse.cli.app import app
from radfuse.data.reading.images import write_mask, write_volume
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError

CONFIG = """
name: followed
cohort: {manifest: manifest.csv, tables: [facts.csv], outcome: outcome, reference: CT}
align: {spacing_mm: 2.0, registration: {method: none}}
fuse: {methods: [average], inputs: [[CT, PET_early], [CT, PET_late]]}
execution: {jobs: 1}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory, ct: Volume, pet: Volume, sphere: Mask) -> Path:
    """Two patients with CT and PET at two times, of which one is fused and the other only aligned."""
    folder = tmp_path_factory.mktemp("study")
    rows = []
    for subject in ("a", "b"):
        for name, volume, factor in (("CT", ct, 1.0), ("PET_early", pet, 1.0), ("PET_late", pet, 0.5)):
            write_volume(folder / subject / f"{name}.nii.gz", volume.with_array(volume.array * np.float32(factor)))
            write_mask(folder / subject / "mask.nii.gz", sphere)
            rows.append((subject, name, f"{subject}/{name}.nii.gz", f"{subject}/mask.nii.gz"))
    pd.DataFrame(rows, columns=["subject", "modality", "image", "mask"]).to_csv(folder / "manifest.csv", index=False)
    pd.DataFrame({"subject": ["a", "b"], "outcome": [0, 1]}).to_csv(folder / "facts.csv", index=False)
    (folder / "radfuse.yaml").write_text(CONFIG)
    typed("align", folder)
    typed("fuse", folder, "--subject", "a")
    return folder


def typed(command: str, folder: Path, *arguments: str) -> None:
    app([command, str(folder / "radfuse.yaml"), "--quiet", *arguments], standalone_mode=False)


def test_time_points_share_a_scale_that_is_written_beside_the_picture(study: Path, tmp_path: Path, capsys) -> None:
    typed("view", study, "--subject", "a", "--to", str(tmp_path))
    assert f"picture: {tmp_path / 'a-PET.png'}" in capsys.readouterr().out
    record = json.loads((tmp_path / "a-PET.json").read_text())
    assert record["uptake"] == ["PET_early", "PET_late"]
    assert record["luminance"]["PET_late"] == "fused-average-CT_PET_late"
    assert record["scale"]["unit"] == "SUV"
    assert record["scale"]["uptake"][1] % 0.5 == 0
    assert record["change"]["against"] == "PET_early"
    assert record["for"] == "display only"
    assert set(record["planes"]) == {"axial", "coronal", "sagittal"}
    with Image.open(tmp_path / "a-PET.png") as picture:
        assert picture.size[0] > 600
        assert picture.size[1] > 600  # three rows


def test_one_plane_on_a_scan_in_other_colours(study: Path, tmp_path: Path) -> None:
    arguments = ("--fused", "CT", "--plane", "coronal", "--colours", "plasma", "--gain", "0")
    typed("view", study, "--subject", "b", "--to", str(tmp_path), *arguments)
    record = json.loads((tmp_path / "b-PET.json").read_text())
    assert list(record["planes"]) == ["coronal"]
    assert set(record["luminance"].values()) == {"CT"}
    assert record["scale"] | {"uptake": 0} == {
        "luminance": [-160.0, 240.0], "uptake": 0, "unit": "SUV", "gain": 0.0, "energy_mm": 4.0, "colours": "plasma",
    }  # fmt: skip


def test_the_same_study_gives_the_same_bytes(study: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        typed("view", study, "--subject", "a", "--to", str(tmp_path / name))
    for name in ("a-PET.png", "a-PET.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_who_is_not_fused_yet_is_named_and_the_others_are_written(study: Path, tmp_path: Path, capsys) -> None:
    code = app(["view", str(study / "radfuse.yaml"), "--to", str(tmp_path), "--plane", "axial"], standalone_mode=False)
    said = capsys.readouterr()
    assert code == 1
    assert "b: b is not fused with the present scans and settings" in said.err
    assert "--fused CT" in said.err
    assert [path.name for path in sorted(tmp_path.glob("*.png"))] == ["a-PET.png"]


def test_unknown_planes_colours_and_volumes_are_refused(study: Path, tmp_path: Path) -> None:
    for arguments, told in (
        (("--plane", "axiel"), "unknown plane 'axiel'"),
        (("--colours", "hot"), "unknown colours 'hot'"),
        (("--fused", "MR"), "a has no volume 'MR'"),
    ):
        with pytest.raises(ConfigError, match=told):
            typed("view", study, "--subject", "a", "--to", str(tmp_path), *arguments)
    assert list(tmp_path.iterdir()) == []


def test_how_the_scans_lie_on_each_other_is_written_for_each_registered_scan(study: Path, tmp_path: Path) -> None:
    typed("view", study, "--subject", "b", "--alignment", "--to", str(tmp_path))
    names = {f"b-PET_{when}-alignment{end}" for when in ("early", "late") for end in (".png", "-flicker.png", ".json")}
    assert {path.name for path in tmp_path.iterdir()} == names
    with Image.open(tmp_path / "b-PET_early-alignment-flicker.png") as turning:
        assert turning.n_frames == 2
    assert json.loads((tmp_path / "b-PET_late-alignment.json").read_text())["accepted"] is False


def test_who_is_not_aligned_cannot_be_looked_at(study: Path, tmp_path: Path, capsys) -> None:
    options = ("--set", "align.spacing_mm=3.0", "--alignment", "--subject", "b", "--to", str(tmp_path))
    assert app(["view", str(study / "radfuse.yaml"), *options], standalone_mode=False) == 1
    assert "b is not aligned with the present scans and settings" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
