"""Tissues that an outside tool draws: a real program is run once for each scan, and its failures are told."""

import shlex
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from radfuse.align.stage import Align
from radfuse.align.template import Template
from radfuse.config import Config
from radfuse.data.cohort import Scan
from radfuse.data.reading.images import read_mask, write_mask, write_volume
from radfuse.data.region import Outline
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, StageError
from radfuse.run.export import _bring_template
from radfuse.run.exported import _commands_said, _with_template
from radfuse.run.store import Record, Store, file_digest
from radfuse.run.subjects import load_aligned
from radfuse.run.tasks import SubjectTask, perform
from radfuse.run.tissues import MASK, STAGE, require_tools
from radfuse.run.validate import problems_of

TOOL = """\
import sys
import SimpleITK as sitk

image, mask, seen, how = sys.argv[1:]
with open(seen, "a") as file:
    print(image, file=file)
if how == "fails":
    sys.exit("out of memory")
found = sitk.Cast(sitk.ReadImage(image) > (1e9 if how == "empty" else -400), sitk.sitkUInt8)
if how == "elsewhere":
    found.SetOrigin((0.0, 0.0, 0.0))
if how != "silent":
    sitk.WriteImage(found, mask)
"""


@pytest.fixture
def scan(tmp_path: Path, ct: Volume, sphere: Mask) -> Scan:
    write_volume(tmp_path / "p1_ct.nii.gz", ct)
    write_mask(tmp_path / "p1_mask.nii.gz", sphere)
    return Scan("p1", "CT", tmp_path / "p1_ct.nii.gz", tmp_path / "p1_mask.nii.gz")


def study(folder: Path, how: str = "draws", **settings: Any) -> Align:
    (folder / "tool.py").write_text(TOOL)
    words = [sys.executable, str(folder / "tool.py"), "{image}", "{mask}", str(folder / "seen.txt"), how]
    tool = {"of": "tool", "command": shlex.join(words), "release": "1"} | settings
    scale = {"CT": {"method": "zscore", "over": "soft"}}
    return Align.model_validate(
        {
            "registration": "none",
            "spacing_mm": (1.0, 1.0, 2.0),
            "reference": "CT",
            "intensity": scale,
            "tissues": {"soft": tool},
        }
    )


def aligned(folder: Path, align: Align, scan: Scan, key: str = "k") -> Record:
    return perform(SubjectTask(align, "p1", (scan,), folder / "run", key))


def runs(folder: Path) -> list[str]:
    path = folder / "seen.txt"
    return path.read_text().split() if path.is_file() else []


def test_a_tool_draws_what_the_scale_looks_at_once_and_learns_no_name(tmp_path: Path, scan: Scan, ct: Volume) -> None:
    record = aligned(tmp_path, study(tmp_path), scan)
    assert record.done, record.what
    store = Store(tmp_path / "run")
    kept = read_mask(store.folder(STAGE, "p1/soft") / MASK)
    np.testing.assert_array_equal(kept.array == 1, ct.array > -400)
    found = load_aligned(store, "p1")
    soft = ct.array[ct.array > -400].astype(float)
    np.testing.assert_allclose(found.volumes["CT"].array, (ct.array - soft.mean()) / soft.std(), rtol=1e-5, atol=1e-5)
    assert not found.regions
    assert len(runs(tmp_path)) == 1
    seen = Path(runs(tmp_path)[0])
    assert seen.name == "image.nii.gz"
    assert seen.parent.name.startswith("radfuse-")
    assert not seen.parent.exists()

    aligned(tmp_path, study(tmp_path).model_copy(update={"spacing_mm": 2.0}), scan, "another key")
    assert len(runs(tmp_path)) == 1
    aligned(tmp_path, study(tmp_path, release="2"), scan, "a third")
    assert len(runs(tmp_path)) == 2


def test_what_the_manifest_draws_counts_and_no_tool_runs(tmp_path: Path, scan: Scan) -> None:
    assert scan.mask is not None
    drawn = Scan("p1", "CT", scan.image, scan.mask, (1,), (Outline("soft", scan.mask, (1,)),))
    assert aligned(tmp_path, study(tmp_path), drawn).done
    assert not runs(tmp_path)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("fails", "exit code 1: out of memory"),
        ("silent", "it left no mask.nii.gz; there is nothing"),
        ("elsewhere", "do not share a grid"),
        ("empty", "its mask is empty"),
    ],
)
def test_a_tool_that_fails_fails_the_subject_until_it_works(tmp_path: Path, scan: Scan, how: str, said: str) -> None:
    record = aligned(tmp_path, study(tmp_path, how), scan)
    assert not record.done
    assert said in record.what
    assert record.transient
    assert aligned(tmp_path, study(tmp_path), scan).done


def test_a_tool_that_is_not_there_is_told_before_work_begins(tmp_path: Path, scan: Scan) -> None:
    absent = Align.model_validate({"tissues": {"brain": {"of": "tool", "command": "mri_synthstripe -i {image}"}}})
    with pytest.raises(ConfigError, match="not found among the programs of this machine: 'mri_synthstripe'"):
        require_tools(absent)
    require_tools(study(tmp_path))
    broken = tmp_path / "broken"
    broken.write_text("no program")
    broken.chmod(0o755)
    record = aligned(tmp_path, study(tmp_path, command=f"{broken} {{image}}"), scan)
    assert "broken drew no outline" in record.what


def test_a_tool_may_be_named_by_a_path_from_here(tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "draw"
    program.write_text(f"#!{sys.executable}\n{TOOL}")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    align = study(tmp_path, command=f"./draw {{image}} {{mask}} {tmp_path / 'seen.txt'} draws")
    require_tools(align)
    record = aligned(tmp_path, align, scan)
    assert record.done, record.what


def test_what_align_would_lack_is_told_by_validate(tmp_path: Path, scan: Scan) -> None:
    rows = [("subject", "modality", "image", "mask", "region", "y")]
    rows += [("p1", "CT", scan.image.name, "p1_mask.nii.gz", name, "1") for name in ("brain", "tumour")]
    (tmp_path / "manifest.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    template = {"image": str(tmp_path / "mni.nii.gz"), "sha256": "0" * 64, "modality": "MR_T1"}
    tissues = {"brain": "manifest", "fat": {"of": "tool", "command": "draw_fat {image}", "modality": "MRI"}}
    cohort = {"root": str(tmp_path), "outcome": "y"}

    def told(**align: Any) -> list[str]:
        config = Config.model_validate({"cohort": cohort, "align": {"tissues": tissues, **align}})
        return [problem.what for problem in problems_of(config)]

    said = told(template=template)
    assert f"template not found: {tmp_path / 'mni.nii.gz'}" in said
    for slip in ("align.template.modality.MR_T1", "align.tissues.fat.modality.MRI"):
        assert f"{slip} is for no image of the manifest; it has CT" in said
    assert any("the main region 'brain' is among align.tissues" in what for what in said)
    assert any("'draw_fat' (align.tissues.fat)" in what for what in told())


def test_an_export_reads_its_own_template_and_runs_no_program(tmp_path: Path, scan: Scan) -> None:
    template = Template.model_validate({"image": str(scan.image), "sha256": file_digest(scan.image)})
    align = study(tmp_path).model_copy(update={"template": template})
    config = Config.model_validate({"cohort": {"outcome": "y"}}).model_copy(update={"align": align})
    run: Any = SimpleNamespace(config=config, cohort=None)
    folder, settings = tmp_path / "export", align.model_dump(mode="json")
    folder.mkdir()
    _bring_template(run, settings, folder)
    held = settings["template"]["image"]
    assert held == f"templates/{template.sha256}.nii.gz"
    manifest: Any = SimpleNamespace(files={held: template.sha256})
    shipped = config.model_copy(update={"align": Align.model_validate(settings)})
    opened = _with_template(shipped, folder, manifest).align
    assert opened.template is not None
    assert opened.template.read().image.array.shape == (12, 24, 24)
    assert opened.tissues["soft"].of == "manifest"
    assert "an export runs no programs" in _commands_said(shipped)[0]
    with pytest.raises(StageError, match="which the export does not hold"):
        _with_template(shipped, folder, SimpleNamespace(files={}))  # type: ignore[arg-type]
    shutil.rmtree(folder)
    folder.mkdir()
    own: Any = SimpleNamespace(scans=[scan])
    table: Any = SimpleNamespace(values=SimpleNamespace(index=["p1"]))
    with pytest.raises(StageError, match="an image of one of the study's patients"):
        _bring_template(SimpleNamespace(config=config, cohort=own, table=table), settings, folder)  # type: ignore[arg-type]
