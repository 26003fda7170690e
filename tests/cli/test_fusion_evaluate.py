"""`radfuse fusion evaluate` on files, on a CSV of pairs, and on a study's run."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import radfuse
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from radfuse.cli.app import app
from radfuse.config import read_config
from radfuse.data.colour import lightness
from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_volume, write_volume
from radfuse.data.reading.pictures import read_picture, write_picture
from radfuse.data.volume import Volume
from radfuse.errors import ConfigError, DataError, GeometryError, RadfuseError, StageError
from radfuse.fuse.average import Average
from radfuse.fuse.normalisation import Window
from radfuse.fuse.quality import PUBLISHED, evaluate
from radfuse.run.demo import write_demo
from radfuse.run.fuse_images import Request, fuse_images
from radfuse.run.fusion_quality import Measuring, Triple, judge_files, judge_study, read_pairs
from radfuse.run.session import Session


def typed(*arguments: object) -> SimpleNamespace:
    """Type a command without starting a process; errors come back as the exception they are."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(done.exception, RadfuseError):
        raise done.exception
    return SimpleNamespace(code=done.exit_code, stdout=done.stdout, stderr=done.stderr)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey MR, a coloured PET, their average and maximum, and files that cannot be judged."""
    folder = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[:64, :72] - 32.0
    head = (x / 28) ** 2 + (y / 30) ** 2 < 1
    mr = head * (0.5 + 0.3 * np.sin(x / 3) * np.cos(y / 4))
    uptake = gaussian_filter(head * (0.4 + 0.6 * ((x - 8) ** 2 + (y + 5) ** 2 < 80)), 2)
    write_picture(folder / "mr.png", mr)
    write_picture(folder / "pet.png", np.stack([uptake, uptake**2, uptake**4], axis=-1))
    luma = lightness(read_picture(folder / "pet.png"))
    write_picture(folder / "average.png", (mr + luma) / 2)
    write_picture(folder / "maximum.png", np.maximum(mr, luma))
    write_picture(folder / "small.png", mr[:50])
    write_picture(folder / "flat.png", np.full((64, 72), 0.4))
    (folder / "broken.png").write_text("not a picture")
    return folder


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT in HU and a PET in SUV on one grid, fused by the average with a record, and a PET on another grid."""
    folder = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(3)
    grid = Geometry((24, 22, 12), (2.0, 2.0, 3.0))
    body = np.zeros(grid.shape, dtype=bool)
    body[2:10, 3:20, 4:21] = True
    ct = np.where(body, 40 + 60 * gaussian_filter(rng.normal(size=grid.shape), 1) * 5, -1024).astype(np.float32)
    pet = np.where(body, 3 + 8 * np.abs(gaussian_filter(rng.normal(size=grid.shape), 1.5)) * 5, 0).astype(np.float32)
    write_volume(folder / "ct.nii.gz", Volume(ct, grid, "CT", "HU"))
    write_volume(folder / "pet.nii.gz", Volume(pet, grid, "PET", "SUV"))
    mr = np.where(body, 300 + 900 * np.abs(gaussian_filter(rng.normal(size=grid.shape), 1)) * 5, 0).astype(np.float32)
    write_volume(folder / "mr.nii.gz", Volume(mr, grid, "MR", "a.u."))
    moved = Geometry((24, 22, 12), (2.0, 2.0, 3.0), (8.0, 0.0, 0.0))
    write_volume(folder / "moved.nii.gz", Volume(pet, moved, "PET", "SUV"))
    images = (folder / "ct.nii.gz", folder / "pet.nii.gz")
    window = {"CT": Window(low=-200, high=300)}
    fuse_images(Request(images, folder / "fused.nii.gz", Average(), ("CT", "PET"), window), "cpu")
    return folder


# Single files.


def test_a_coloured_picture_is_judged_by_its_luma_and_that_is_said(pictures: Path) -> None:
    images = ("--image", pictures / "mr.png", "--image", pictures / "pet.png")
    done = typed("fusion", "evaluate", "--fused", pictures / "average.png", *images, "--json")
    found = json.loads(done.stdout)
    assert done.code == 0
    assert found["convention"] == "standard"
    assert "colour pictures are judged by their luma Y (YCbCr, ITU-R BT.601)" in found["notes"]
    fused, mr = (read_picture(pictures / name) for name in ("average.png", "mr.png"))
    luma = lightness(read_picture(pictures / "pet.png"))
    expected = evaluate(fused, {"image1": mr, "NM": luma})
    assert found["images"][0]["values"] == expected.record()["values"]
    assert found["images"][0]["values"]["QNR"] is not None  # the coloured one is taken for the functional one
    assert found["images"][0]["reasons"] == dict(expected.reasons)
    assert found["images"][0]["region"] == "all 64 x 72 pixels (y, x)"
    assert found["files"] == []


def test_the_table_names_the_convention_what_is_missing_and_where_it_lies(pictures: Path, tmp_path: Path) -> None:
    images = ("--image", pictures / "mr.png", "--image", pictures / "pet.png")
    options = ("--convention", "mdafuse", "-o", tmp_path / "q.csv")
    done = typed("fusion", "evaluate", "--fused", pictures / "average.png", *images, *options)
    assert "mdafuse convention" in done.stdout
    assert "taken as the method gave it" in done.stdout
    table, means = pd.read_csv(tmp_path / "q.csv"), pd.read_csv(tmp_path / "q_means.csv")
    assert table["convention"].tolist() == means["convention"].tolist() == ["mdafuse"]
    assert [name for name in means if name in PUBLISHED] == list(PUBLISHED)
    plain = typed("fusion", "evaluate", "--fused", pictures / "average.png", *images)
    assert "no MS-SSIM for 1 of 1: slices of 64x72 are too small for five scales, which need 176" in plain.stdout
    assert "judged: all 64 x 72 pixels (y, x)" in plain.stdout


def test_the_resolution_that_qnr_was_measured_with_is_chosen_told_and_written(pictures: Path, tmp_path: Path) -> None:
    images = ("--image", pictures / "mr.png", "--image", pictures / "pet.png")
    mr, luma = read_picture(pictures / "mr.png"), lightness(read_picture(pictures / "pet.png"))
    fused = read_picture(pictures / "average.png")
    found = {}
    for coarser, given in ((1, ()), (2, ("--coarser", 2))):
        options = ("--fused", pictures / "average.png", *images, "-o", tmp_path / "q.csv", *given)
        done = typed("fusion", "evaluate", *options)
        assert f"to be {coarser} x as wide as these (--coarser)" in done.stdout
        row = pd.read_csv(tmp_path / "q.csv").iloc[0]
        assert row["coarser"] == coarser
        found[coarser] = row["QNR"]
        assert row["QNR"] == pytest.approx(evaluate(fused, {"MR": mr, "NM": luma}, coarser=coarser).values["QNR"])
    assert abs(found[1] - found[2]) > 0.01
    options = ("--fused", pictures / "average.png", *images, "-o", tmp_path / "q.csv", "--metrics", "CC")
    assert "QNR" not in typed("fusion", "evaluate", *options).stdout
    assert pd.read_csv(tmp_path / "q.csv")["coarser"].isna().all()
    with pytest.raises(ConfigError, match="--coarser is a number of pixels, 1 or more; found 0"):
        Measuring(coarser=0)


def test_only_the_metrics_asked_for_are_measured(pictures: Path) -> None:
    images = ("--image", pictures / "mr.png", "--image", pictures / "pet.png")
    options = ("--metrics", "fmi, ssim", "--json")
    done = typed("fusion", "evaluate", "--fused", pictures / "average.png", *images, *options)
    assert set(json.loads(done.stdout)["images"][0]["values"]) == {"SSIM", "FMI"}


def test_volumes_are_judged_on_the_scale_recorded_when_they_were_fused(volumes: Path) -> None:
    triple = Triple(volumes / "fused.nii.gz", (volumes / "pet.nii.gz", volumes / "ct.nii.gz"), "one")
    found = judge_files([triple], Measuring())
    fused = read_volume(volumes / "fused.nii.gz", "fused", "fused").array
    ct = (read_volume(volumes / "ct.nii.gz", "CT", "HU").array + 200) / 500
    pet = read_volume(volumes / "pet.nii.gz", "PET", "SUV").array / 20
    expected = evaluate(fused, {"PET": pet, "CT": ct})
    assert found.judged[0].quality.values == pytest.approx(expected.values, nan_ok=True, rel=1e-5)
    assert found.judged[0].quality.region == "body box of 8 x 17 x 17 voxels (z, y, x) in 12 x 22 x 24"
    assert "sources are on the scale recorded beside the fused volume" in found.notes


def test_without_a_record_modality_and_window_tell_the_scale(volumes: Path, tmp_path: Path) -> None:
    write_volume(tmp_path / "alone.nii.gz", read_volume(volumes / "fused.nii.gz", "fused", "fused"))
    images = ("--image", volumes / "ct.nii.gz", "--image", volumes / "pet.nii.gz")
    named = ("--modality", "CT", "--modality", "PET", "--window", "CT=-200:300")
    done = typed("fusion", "evaluate", "--fused", tmp_path / "alone.nii.gz", *images, *named, "--json")
    recorded = judge_files([Triple(volumes / "fused.nii.gz", (images[1], images[3]), "one")], Measuring())
    values = json.loads(done.stdout)["images"][0]["values"]
    assert values["MSE"] == pytest.approx(recorded.judged[0].quality.values["MSE"])


def test_a_window_that_clips_much_is_told(volumes: Path) -> None:
    images = ("--image", volumes / "ct.nii.gz", "--image", volumes / "pet.nii.gz")
    named = ("--modality", "CT", "--modality", "PET", "--window", "CT=0:50", "--metrics", "CC")
    done = typed("fusion", "evaluate", "--fused", volumes / "fused.nii.gz", *images, *named)
    assert "values outside [0, 1] were clipped, up to" in done.stdout


def test_sources_without_a_name_are_scaled_by_their_own_spread_and_that_is_said(volumes: Path) -> None:
    images = ("--image", volumes / "mr.nii.gz", "--image", volumes / "pet.nii.gz")
    done = typed("fusion", "evaluate", "--fused", volumes / "fused.nii.gz", *images)
    assert "name them with --modality" in done.stdout
    # A CT so scaled has nothing left but air and tissue beyond 1.
    triple = Triple(volumes / "mr.nii.gz", (volumes / "ct.nii.gz", volumes / "mr.nii.gz"), "one")
    with pytest.raises(DataError, match=r"image1 is constant: 1 everywhere in body box .*, clipped to \[0, 1\]"):
        judge_files([triple], Measuring())


@pytest.mark.parametrize(
    ("fused", "images", "kind", "message"),
    [
        (
            "small.png",
            ("mr.png", "pet.png"),
            GeometryError,
            r"image1 has shape \(64, 72\) and the fused image \(50, 72\)",
        ),
        ("flat.png", ("mr.png", "pet.png"), DataError, "the fused image is constant: 0.4"),
        ("average.png", ("mr.png", "flat.png"), DataError, "image2 is constant"),
        ("broken.png", ("mr.png", "pet.png"), DataError, "broken.png cannot be read as a picture"),
        ("none.png", ("mr.png", "pet.png"), DataError, "none.png does not exist"),
        ("average.png", ("mr.png",), DataError, "two or more sources, found 1"),
        ("average.png", ("mr.png", "x.nii.gz"), DataError, "pictures and volumes are mixed"),
    ],
)
def test_what_is_wrong_with_a_single_file_is_one_message(
    pictures: Path, fused: str, images: tuple[str, ...], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        judge_files([Triple(pictures / fused, tuple(pictures / name for name in images), "x")], Measuring())


def test_volumes_on_different_grids_are_refused(volumes: Path) -> None:
    triple = Triple(volumes / "fused.nii.gz", (volumes / "ct.nii.gz", volumes / "moved.nii.gz"), "x")
    with pytest.raises(GeometryError, match=r"moved.nii.gz is not on the grid of .*fused.nii.gz: origin"):
        judge_files([triple], Measuring())


def test_options_that_do_not_belong_together_are_refused(pictures: Path) -> None:
    a, b, f = pictures / "mr.png", pictures / "pet.png", pictures / "average.png"
    for arguments, message in [
        (("--fused", f), "--fused and --image belong together"),
        (("--image", a, "--image", b), "--fused and --image belong together"),
        (("--fused", f, "--image", a, "--pairs", "p.csv"), "--fused and --pairs exclude each other"),
        (("--fused", f, "--image", a, "--run", "other"), "with --fused or --pairs there is no study"),
        (("--modality", "CT"), "--modality is for files"),
        (("--coarser", 2), "--coarser is for files: a study knows its own scans"),
        (("--fused", f, "--image", a, "--image", b, "--modality", "MR"), "modalities are named: 1, and sources: 2"),
        (("--fused", f, "--image", a, "--image", b, "--window", "MR=0:1"), "--window is given for MR"),
        (("--fused", f, "--image", a, "--image", b, "--convention", "other"), "unknown convention 'other'"),
        (("--fused", f, "--image", a, "--image", b, "--metrics", "psnr,x"), "no metric x"),
        (
            ("--fused", f, "--image", a, "--image", b, "--modality", "A", "--modality", "B", "--window", "A=0:1"),
            "--window is for volumes",
        ),
    ]:
        with pytest.raises(ConfigError, match=message):
            typed("fusion", "evaluate", *arguments)


# A CSV of pairs.


def test_pairs_are_judged_and_averaged_by_set_while_bad_ones_are_named(pictures: Path, tmp_path: Path) -> None:
    rows = [
        ("mr.png", "pet.png", "average.png", "one", "average"),
        ("mr.png", "pet.png", "maximum.png", "one", "maximum"),
        ("mr.png", "pet.png", "average.png", "two", "maximum"),
        ("mr.png", "broken.png", "maximum.png", "three", "maximum"),
        ("mr.png", "pet.png", "small.png", "four", "maximum"),
    ]
    names = ["a", "b", "fused", "name", "set"]
    table = pd.DataFrame([[*(str(pictures / f) for f in row[:3]), *row[3:]] for row in rows], columns=names)
    table.to_csv(tmp_path / "pairs.csv", index=False)
    done = radfuse("fusion", "evaluate", "--pairs", "pairs.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert "evaluate: 5 to do, 0 reused" in done.stderr
    assert "2 failures; the others finished" in done.stderr
    assert "three: evaluate:" in done.stderr
    assert "broken.png cannot be read" in done.stderr
    assert "four: evaluate: image1 has shape (64, 72) and the fused image (50, 72)" in done.stderr
    assert "Fusion quality, means, standard convention" in done.stdout
    judged = pd.read_csv(tmp_path / "fusion_quality.csv")
    means = pd.read_csv(tmp_path / "fusion_quality_means.csv")
    assert judged[["set", "name"]].values.tolist() == [["average", "one"], ["maximum", "one"], ["maximum", "two"]]
    assert means[["set", "n"]].values.tolist() == [["average", 1], ["maximum", 2]]
    assert means["SSIM"][1] == pytest.approx(judged["SSIM"][1:].mean())


def test_pairs_may_have_more_sources_and_no_name(pictures: Path, tmp_path: Path) -> None:
    sources = [str(pictures / name) for name in ("mr.png", "pet.png", "maximum.png", "average.png")]
    pd.DataFrame([sources], columns=["a", "b", "c", "fused"]).to_csv(tmp_path / "p.csv", index=False)
    (triple,) = read_pairs(tmp_path / "p.csv")
    assert (triple.name, triple.set, len(triple.images)) == ("average.png", "all", 3)
    assert len(judge_files([triple], Measuring()).judged[0].quality.sources) == 3


def test_a_picture_that_was_stretched_when_saved_is_brought_back(pictures: Path, tmp_path: Path) -> None:
    mr, luma = (read_picture(pictures / "mr.png"), lightness(read_picture(pictures / "pet.png")))
    fused = (0.9 * np.maximum(mr, luma) - 0.15).astype(float)  # from -0.15 on, as a network without bounds may give
    low, high = float(fused.min()), float(fused.max())
    write_picture(tmp_path / "stretched.png", (fused - low) / (high - low), bits=16)
    row = [str(pictures / "mr.png"), str(pictures / "pet.png"), "stretched.png", low, high]
    pd.DataFrame([row], columns=["a", "b", "fused", "low", "high"]).to_csv(tmp_path / "p.csv", index=False)
    for convention in ("standard", "mdafuse"):
        found = judge_files(read_pairs(tmp_path / "p.csv"), Measuring(convention)).judged[0].quality.values
        expected = evaluate(fused, {"image1": mr, "NM": luma}, convention).values
        assert found == pytest.approx(expected, rel=2e-3, nan_ok=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "p.csv does not exist"),
        ("", "cannot read .*p.csv as a CSV table"),
        ("a,b\nx,y\n", "has no column fused; found columns a, b"),
        ("a,b,fused\n", "has no rows"),
        ("a,b,fused\nx,,z\n", "row 2 has no b"),
        ("a,b,fused,low,high\nx,y,z,0.5,none\n", "row 2 has low '0.5' and high 'none'"),
        ("a,b,fused,low,high\nx,y,z,1,-1\n", "expected numbers, low below high"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_pairs(tmp_path / "p.csv")


# A study.


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom study of two subjects, aligned and fused."""
    config = write_demo(tmp_path_factory.mktemp("study") / "demo", seed=1, subjects=2)
    text = config.read_text()
    config.write_text(text.replace("methods: [average, maximum, dwt3d, mdafuse]", "methods: [average, maximum]"))
    with Session(read_config(config, ["execution.jobs=1"]), config.parent) as session:
        session.align()
        session.fuse()
    return config


def test_every_fused_volume_of_a_run_is_judged_as_fusing_saw_its_sources(study: Path) -> None:
    done = typed("fusion", "evaluate", study)
    assert done.code == 0
    report = study.parent / "runs" / "main" / "report"
    assert f"written: {report / 'fusion_quality_standard.csv'}" in done.stdout
    table = pd.read_csv(report / "fusion_quality_standard.csv")
    means = pd.read_csv(report / "fusion_quality_standard_means.csv")
    assert sorted(set(table["set"])) == ["fused-average-CT_PET", "fused-maximum-CT_PET"]
    assert list(means["n"]) == [2, 2]
    row = table[(table["set"] == "fused-average-CT_PET")].iloc[0]
    folder = study.parent / "runs" / "main" / "align" / row["name"]
    matched = json.loads((folder / "subject.json").read_text())["matched"]
    files = {name: folder / f"{name}{'.matched' if name in matched else ''}.nii.gz" for name in ("CT", "PET")}
    ct = (read_volume(files["CT"], "CT", "HU").array.astype(float) + 1024) / 2000
    pet = read_volume(files["PET"], "PET", "SUV").array.astype(float) / 20
    # Where both scans are: PET was shifted, and does not reach every voxel of CT's grid.
    reach = [read_volume(folder / f"{name}.seen.nii.gz", name, "").array > 0 for name in ("CT", "PET")
             if (folder / f"{name}.seen.nii.gz").is_file()]  # fmt: skip
    outside = ~np.all(reach, axis=0)
    assert 0 < outside.mean() < 0.5
    ct[outside] = pet[outside] = 0
    # The study's functional pixels are read from the scan's header: phantom PET is 4 mm, the grid 2 mm.
    expected = evaluate((ct + pet) / 2, {"CT": ct, "PET": pet}, coarser=2)
    for metric in ("CC", "MSE", "SSIM", "rSFe", "QNR", "Qabf"):
        assert row[metric] == pytest.approx(expected.values[metric], rel=1e-3)
    assert row["region"] == expected.region
    assert list(table["coarser"]) == [2] * 4
    assert "to be 2 x as wide as these (by their headers)" in done.stdout
    assert "evaluate: 2 to do, 0 reused" in done.stderr
    assert typed("fusion", "evaluate", study, "--quiet").stderr == ""


def test_a_study_can_be_judged_in_part_and_by_the_other_convention(study: Path, tmp_path: Path) -> None:
    found = judge_study(
        read_config(study, ["execution.jobs=1"]),
        study.parent,
        "main",
        Measuring("mdafuse"),
        only=["phantom-002"],
        output=tmp_path / "part.csv",
    )
    assert {each.name for each in found.judged} == {"phantom-002"}
    assert "axial slices" in found.judged[0].quality.region
    assert found.files == (tmp_path / "part.csv", tmp_path / "part_means.csv")


def test_a_run_that_has_not_been_fused_or_was_made_otherwise_is_refused(study: Path) -> None:
    with pytest.raises(StageError, match="holds no results of fuse"):
        typed("fusion", "evaluate", study, "--run", "other")
    with pytest.raises(StageError, match="2 of 2 subjects have no result of fuse with these scans and settings"):
        typed("fusion", "evaluate", study, "--set", "fuse.methods=[average]")
    assert not (study.parent / "runs" / "other").exists()


def test_a_damaged_fused_volume_fails_its_subject_only(study: Path) -> None:
    path = study.parent / "runs" / "main" / "fuse" / "phantom-001" / "fused-average-CT_PET.nii.gz"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        found = judge_study(read_config(study, ["execution.jobs=1"]), study.parent, "main", Measuring())
    finally:
        path.write_bytes(whole)
    assert [problem.subject for problem in found.failed] == ["phantom-001"]
    assert "fused-average-CT_PET.nii.gz" in found.failed[0].what
    assert {each.name for each in found.judged} == {"phantom-002"}
