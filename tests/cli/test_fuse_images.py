"""`radfuse fuse --image A --image B -o F`: single images, without a study."""

import json
from pathlib import Path

import numpy as np
import pytest

from radfuse.cli.app import app
from radfuse.data.colour import lightness
from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_volume, write_volume
from radfuse.data.reading.pictures import read_picture, write_picture
from radfuse.data.volume import Volume
from radfuse.errors import ConfigError, DataError, GeometryError
from radfuse.fuse import FusionMethod
from radfuse.run.store import file_digest

GRID = Geometry((14, 12, 8), (1.0, 1.0, 3.0), (4.0, 5.0, 6.0))


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """mr.png and ct.png in grey, pet.png in colour; ct.nii.gz and pet.nrrd on one grid, away.nii.gz beside it."""
    monkeypatch.chdir(tmp_path)
    y, x = np.meshgrid(np.linspace(-1, 1, 24), np.linspace(-1, 1, 30), indexing="ij")
    grey = np.clip(0.5 + 0.3 * np.sin(8 * x), 0, 1) * (x**2 + y**2 < 0.8)
    hot = np.exp(-(x**2 + y**2) / 0.2)
    write_picture(tmp_path / "mr.png", grey)
    write_picture(tmp_path / "ct.png", np.clip(grey.T[:24, :24], 0, 1)[:, :1] * np.ones((24, 30)))
    write_picture(tmp_path / "pet.png", np.stack([hot, hot**3, hot**9], axis=-1))
    write_volume(tmp_path / "ct.nii.gz", Volume(rng.normal(0, 200, GRID.shape).astype(np.float32), GRID, "CT", "HU"))
    suv = Volume(rng.gamma(2.0, 1.0, GRID.shape).astype(np.float32), GRID, "PET", "SUV")
    write_volume(tmp_path / "pet.nrrd", suv)
    moved = Geometry(GRID.size, GRID.spacing_mm, (4.0, 5.0, 9.0))
    write_volume(tmp_path / "away.nii.gz", Volume(suv.array, moved, "PET", "SUV"))
    return tmp_path


def fuse(*arguments: str) -> None:
    app(["fuse", *arguments], standalone_mode=False)


PAIR = ("--image", "ct.nii.gz", "--image", "pet.nrrd")
NAMED = ("--modality", "CT", "--modality", "PET")
PICTURES = ("--image", "mr.png", "--image", "pet.png")


def test_two_pictures_are_fused_by_the_default_method(folder: Path, capsys) -> None:
    fuse("--image", "mr.png", "--image", "ct.png", "-o", "f.png")
    assert "fused: f.png" in capsys.readouterr().out
    mr, ct = (read_picture(folder / name)[None] for name in ("mr.png", "ct.png"))
    expected = FusionMethod.choose("mdafuse").build("cpu")(
        [mr, ct], ["image1", "image2"], Geometry((30, 24, 1), (1, 1, 1))
    )
    assert np.abs(read_picture(folder / "f.png") - np.clip(expected[0], 0, 1)).max() <= 0.5 / 255 + 1e-6
    record = json.loads((folder / "f.png.fusion.json").read_text())
    assert record["method"]["method"] == "mdafuse"
    assert record["inputs"][0] == {"modality": "image1", "file": "mr.png", "sha256": file_digest(folder / "mr.png")}


def test_the_colours_are_put_back_on_the_fused_luma(folder: Path) -> None:
    fuse(*PICTURES, "-o", "f.png", "--method", "average", "--bits", "16")
    fused = read_picture(folder / "f.png").astype(float)
    mr, pet = (read_picture(folder / name).astype(float) for name in ("mr.png", "pet.png"))
    np.testing.assert_allclose(lightness(fused), 0.5 * (mr + lightness(pet)), atol=2e-5)
    now, before = (np.diff(picture, axis=-1) for picture in (fused, pet))
    coloured = np.abs(before).max(axis=-1) > 0.1
    assert (now * before >= -1e-4).all()
    assert coloured.sum() > 50
    assert (np.abs(now).max(axis=-1) > 0.05)[coloured].mean() > 0.9


def test_a_settings_value_reaches_the_method(folder: Path) -> None:
    """Weights 1 and 3: a quarter of the grey picture."""
    fuse(*PICTURES, "-o", "f.png", "--modality", "MR", "--modality", "PET", "--method", "average",
         "--set", "weights.MR=1", "--set", "weights.PET=3", "--bits", "16")  # fmt: skip
    mr, pet = (read_picture(folder / name).astype(float) for name in ("mr.png", "pet.png"))
    fused = read_picture(folder / "f.png")
    np.testing.assert_allclose(lightness(fused), 0.25 * mr + 0.75 * lightness(pet), atol=2e-5)


@pytest.mark.parametrize("method", ["ihs", "ycbcr", "atsif"])
def test_intensity_substitution_is_a_choice_and_the_order_does_not_matter(folder: Path, method: str) -> None:
    fuse(*PICTURES, "-o", "a.png", "--colour-method", method)
    fuse("--image", "pet.png", "--image", "mr.png", "-o", "b.png", "--colour-method", method)
    assert (folder / "a.png").read_bytes() == (folder / "b.png").read_bytes()
    assert json.loads((folder / "a.png.fusion.json").read_text())["colour_method"]["method"] == method
    mr, fused = (read_picture(folder / name).astype(float) for name in ("mr.png", "a.png"))
    means = {"ihs": fused.mean(axis=-1), "ycbcr": lightness(fused)}
    if method in means:
        np.testing.assert_allclose(means[method], mr, atol=1 / 255)


def test_volumes_are_fused_in_float_with_the_inverse_beside_them(folder: Path, capsys) -> None:
    fuse(*PAIR, *NAMED, "-o", "f.nii.gz", "--method", "average", "--json")
    record = json.loads((folder / "f.nii.gz.fusion.json").read_text())
    assert json.loads(capsys.readouterr().out) == record
    assert record["normalisation"] == {
        "CT": {"low": -1024.0, "width": 2000.0, "unit": "HU"}, "PET": {"low": 0.0, "width": 20.0, "unit": "SUV"},
    }  # fmt: skip
    fused = read_volume(folder / "f.nii.gz", "F", "fused")
    assert fused.geometry.matches(GRID)
    assert fused.array.dtype == np.float32
    ct, pet = (read_volume(folder / name, "x", "").array.astype(float) for name in ("ct.nii.gz", "pet.nrrd"))
    np.testing.assert_allclose(fused.array, 0.5 * ((ct + 1024) / 2000 + pet / 20), atol=1e-6)


def test_a_record_hits_no_file_of_others_and_each_result_has_its_own(folder: Path) -> None:
    (folder / "sub-01_fused.json").write_text("BIDS")
    fuse(*PAIR, *NAMED, "-o", "sub-01_fused.nii.gz", "--method", "average")
    fuse(*PICTURES, "-o", "sub-01_fused.png", "--method", "average")
    assert (folder / "sub-01_fused.json").read_text() == "BIDS"
    for name in ("sub-01_fused.nii.gz", "sub-01_fused.png"):
        assert json.loads((folder / f"{name}.fusion.json").read_text())["output"] == name


def test_an_inverse_is_told_only_where_there_is_one(folder: Path) -> None:
    fuse(*PAIR, *NAMED, "-o", "a.nii", "--method", "average")
    fuse(*PAIR, *NAMED, "-o", "e.nii", "--method", "edge_map")
    fuse(*PICTURES, "-o", "p.png", "--method", "average")
    records = [json.loads((folder / f"{name}.fusion.json").read_text()) for name in ("a.nii", "e.nii", "p.png")]
    assert ["inverse" in record for record in records] == [True, False, False]
    # It is the inverse: of CT fused with itself, CT.
    write_volume(folder / "same.nii", read_volume(folder / "ct.nii.gz", "CT", "HU"))
    fuse("--image", "ct.nii.gz", "--image", "same.nii", "--modality", "CT", "--modality", "CT_2",
         "-o", "s.nii", "--method", "average")  # fmt: skip
    scale = json.loads((folder / "s.nii.fusion.json").read_text())["normalisation"]["CT"]
    back = read_volume(folder / "s.nii", "F", "fused").array * scale["width"] + scale["low"]
    np.testing.assert_allclose(back, read_volume(folder / "ct.nii.gz", "CT", "HU").array, atol=1e-3)


def test_unnamed_volumes_are_scaled_by_their_own_spread_and_a_window_replaces_the_modalitys(
    folder: Path, capsys
) -> None:
    fuse(*PAIR, "-o", "f.nii.gz", "--method", "average", "--json")
    said = capsys.readouterr()
    scale = json.loads(said.out)["normalisation"]["image2"]
    ends = f"{scale['low']:g} became 0 and {scale['low'] + scale['width']:g} became 1"
    assert f"image2 (pet.nrrd): {ends}, by its own spread" in said.err
    assert "name them by --modality" in said.err
    found = json.loads((folder / "f.nii.gz.fusion.json").read_text())["normalisation"]
    ct = read_volume(folder / "ct.nii.gz", "x", "").array
    assert found["image1"]["low"] == pytest.approx(float(ct.min()))
    fuse(*PAIR, *NAMED, "-o", "g.nrrd", "--method", "average", "--window", "CT=-160:240")
    found = json.loads((folder / "g.nrrd.fusion.json").read_text())["normalisation"]
    assert found["CT"] == {"low": -160.0, "width": 400.0, "unit": "HU"}
    assert found["PET"]["width"] == 20.0
    assert capsys.readouterr().err == ""
    fuse(*PAIR, "--modality", "CT", "--modality", "MR", "-o", "h.nrrd", "--method", "average")
    said = capsys.readouterr().err
    assert said.startswith("MR (pet.nrrd): ")
    assert "--modality" not in said


def test_the_same_request_gives_the_same_bytes(folder: Path) -> None:
    for name in ("a", "b"):
        fuse(*PAIR, *NAMED, "-o", f"{name}.nii.gz")
    assert (folder / "a.nii.gz").read_bytes() == (folder / "b.nii.gz").read_bytes()
    one, other = (json.loads((folder / f"{name}.nii.gz.fusion.json").read_text()) for name in ("a", "b"))
    assert one | {"output": ""} == other | {"output": ""}


def test_other_grids_and_other_sizes_are_refused_with_the_differences(folder: Path) -> None:
    with pytest.raises(GeometryError, match=r"origin shifted by \(0, 0, 3\) mm \(1.00 voxels\)"):
        fuse("--image", "ct.nii.gz", "--image", "away.nii.gz", *NAMED, "-o", "f.nii.gz")
    write_picture(folder / "small.png", np.zeros((10, 12)))
    with pytest.raises(DataError, match=r"mr.png has 30 x 24 pixels, small.png has 12 x 10 pixels"):
        fuse("--image", "mr.png", "--image", "small.png", "-o", "f.png")
    assert not list(folder.glob("f.*"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--image", "mr.png", "-o", "f.png"), "two or more images, found 1"),
        ((*PICTURES,), "needs the name of a file"),
        ((*PICTURES, "-o", "f.jpg"), "a fused picture's name ends in .png; found f.jpg"),
        ((*PAIR, "-o", "f.png"), "a fused volume's name ends in .nii"),
        ((*PICTURES, "-o", "pet.png"), "pet.png is one of the images"),
        (("--image", "mr.png", "--image", "ct.nii.gz", "-o", "f.png"), "pictures and volumes cannot be fused"),
        ((*PICTURES, "-o", "f.png", "--modality", "MR"), "modalities are named: 1, and images: 2"),
        ((*PICTURES, "-o", "f.png", "--modality", "MR", "--modality", "MR"), "MR names two images"),
        ((*PICTURES, "-o", "f.png", "--window", "MR=0:1"), "--window is for volumes"),
        ((*PICTURES, "-o", "f.png", "--bits", "12"), "found --bits 12"),
        ((*PICTURES, "-o", "f.png", "--method", "average", "--colour-method", "ihs"), "exclude each other"),
        ((*PICTURES, "-o", "f.png", "--method", "avarage"), "did you mean 'average'"),
        ((*PICTURES, "-o", "f.png", "--method", "average", "--set", "wights=1"), "did you mean 'weights'"),
        ((*PICTURES, "-o", "f.png", "--set", "weights"), "expected KEY=VALUE"),
        ((*PICTURES, "-o", "f.png", "--jobs", "2", "--redo"), "--jobs, --redo cannot be given"),
        (("radfuse.yaml.old", *PICTURES, "-o", "f.png"), "the study's config cannot be given"),
        ((*PAIR, "-o", "f.nii", "--colour-method", "ihs"), "--colour-method is for pictures"),
        ((*PAIR, "-o", "f.nii", "--bits", "16"), "--bits is for pictures"),
        ((*PAIR, "-o", "f.nii", "--window", "CT=0:1"), "modalities named: none"),
        ((*PAIR, *NAMED, "-o", "f.nii", "--window", "CT=1:0"), "expected NAME=LOW:HIGH"),
        ((*PAIR, *NAMED, "-o", "f.nii", "--window", "CT"), "expected NAME=LOW:HIGH"),
        (("--method", "average", "--bits", "8"), "--method, --bits can only be given with --image"),
    ],
)
def test_what_cannot_be_asked_is_refused(folder: Path, arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        fuse(*arguments)
    assert told in refused.value.message
    assert not list(folder.glob("f.*"))


def test_what_the_pictures_do_not_allow_is_refused(folder: Path) -> None:
    write_picture(folder / "pet2.png", read_picture(folder / "pet.png")[::-1])
    with pytest.raises(DataError, match="2 pictures are in colour"):
        fuse("--image", "pet.png", "--image", "pet2.png", "-o", "f.png")
    with pytest.raises(DataError, match="one grey picture and one in colour, found 2 grey and 0 in colour"):
        fuse("--image", "mr.png", "--image", "ct.png", "-o", "f.png", "--colour-method", "ihs")
    with pytest.raises(DataError, match="found 2 grey and 1 in colour"):
        fuse(*PICTURES, "--image", "ct.png", "-o", "f.png", "--colour-method", "ihs")


def test_three_pictures_one_of_them_in_colour(folder: Path) -> None:
    fuse(*PICTURES, "--image", "ct.png", "-o", "f.png", "--method", "average", "--bits", "16")
    mr, pet, ct = (read_picture(folder / name).astype(float) for name in ("mr.png", "pet.png", "ct.png"))
    np.testing.assert_allclose(lightness(read_picture(folder / "f.png")), (mr + lightness(pet) + ct) / 3, atol=2e-5)


def test_without_images_it_is_the_studys_stage(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"config not found: radfuse\.yaml"):
        fuse()
