"""`radfuse view`: coloured planes of a study's subjects, with their scale beside them."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

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
    usual = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    typed("view", study, "--subject", "b", "--alignment", "--to", str(tmp_path), "--at", "axial=1")
    assert all(path.read_bytes() != usual[path.name] for path in tmp_path.glob("*.png"))


def test_who_is_not_aligned_cannot_be_looked_at(study: Path, tmp_path: Path, capsys) -> None:
    options = ("--set", "align.spacing_mm=3.0", "--alignment", "--subject", "b", "--to", str(tmp_path))
    assert app(["view", str(study / "radfuse.yaml"), *options], standalone_mode=False) == 1
    assert "b is not aligned with the present scans and settings" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [(), ("--alignment",)])
def test_a_dry_run_names_what_would_be_written_and_writes_nothing(
    study: Path, tmp_path: Path, capsys, kind: tuple[str, ...]
) -> None:
    arguments = ("--subject", "a", "--to", str(tmp_path / "to"), *kind)
    typed("view", study, "--dry-run", *arguments)
    told = capsys.readouterr().out.replace("would write: ", "picture: ")
    assert not (tmp_path / "to").exists()
    typed("view", study, *arguments)
    assert capsys.readouterr().out == told
    assert told.count("picture: ") == len(list((tmp_path / "to").glob("*.png"))) > 0


@pytest.mark.parametrize("option", [("--redo",), ("--retry-failed",), ("--jobs", "2"), ("--device", "cpu")])
def test_options_without_an_effect_are_not_offered(study: Path, option: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["view", str(study / "radfuse.yaml"), *option])
    assert done.exit_code == 2
    assert "No such option" in done.stderr


def test_the_slice_can_be_chosen(study: Path, tmp_path: Path) -> None:
    """The 24 x 24 x 12 phantom on a grid of 2 mm: every plane has its own slice."""
    given = {"axial": 5, "coronal": 7, "sagittal": 9}
    options = [part for plane, index in given.items() for part in ("--at", f"{plane}={index}")]
    for name, chosen in (("there", options), ("usual", [])):
        typed("view", study, "--subject", "a", "--to", str(tmp_path / name), *chosen)
    records = {name: json.loads((tmp_path / name / "a-PET.json").read_text()) for name in ("there", "usual")}
    assert records["there"]["planes"] == given
    assert records["usual"]["planes"] != given
    assert (tmp_path / "there" / "a-PET.png").read_bytes() != (tmp_path / "usual" / "a-PET.png").read_bytes()
    # The usual slices named give the usual picture, whatever way the grid runs.
    named = [part for plane, index in records["usual"]["planes"].items() for part in ("--at", f"{plane}={index}")]
    typed("view", study, "--subject", "a", "--to", str(tmp_path / "named"), *named)
    assert (tmp_path / "named" / "a-PET.png").read_bytes() == (tmp_path / "usual" / "a-PET.png").read_bytes()


def test_a_slice_that_there_is_not_or_that_is_not_shown_is_refused(study: Path, tmp_path: Path, capsys) -> None:
    for text, told in (
        ("axial", "expected PLANE=INDEX"),
        ("axial=-1", "expected PLANE=INDEX"),
        ("axiel=3", "unknown plane 'axiel'"),
    ):
        with pytest.raises(ConfigError, match=told):
            typed("view", study, "--to", str(tmp_path), "--at", text)
    for given, told in (
        (("--plane", "axial", "--at", "coronal=3"), "--at coronal=3: what is shown is axial"),
        (("--alignment", "--at", "sagittal=3"), "--at sagittal=3: what is shown is axial, coronal"),
        (("--alignment", "--plane", "axial", "--gain", "1"), "--plane, --gain cannot be given with --alignment"),
    ):
        with pytest.raises(ConfigError, match=told):
            typed("view", study, "--to", str(tmp_path), *given)
    options = ("--subject", "a", "--to", str(tmp_path), "--at", "axial=99")
    assert app(["view", str(study / "radfuse.yaml"), *options], standalone_mode=False) == 1
    assert re.search(r"a has axial slices 0 to \d+, found --at axial=99", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_program_is_told_the_pictures_and_a_reader_how_far_it_is(study: Path, tmp_path: Path, capsys) -> None:
    options = (str(study / "radfuse.yaml"), "--to", str(tmp_path), "--plane", "axial")
    assert app(["view", *options, "--json"], standalone_mode=False) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["pictures"] == [str(tmp_path / "a-PET.png")]
    assert json.loads(said.out)["failures"][0]["subject"] == "b"
    assert "view: 2 to do" not in said.err
    assert app(["view", *options], standalone_mode=False) == 1
    said = capsys.readouterr().err
    assert "view: 2 to do, 0 reused" in said
    assert "view failed for b: b is not fused" in said
    assert "view: done in" in said
