"""The commands that need no images."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import radfuse

from radfuse.cli.extract import _with_method
from radfuse.cli.options import StudyOptions
from radfuse.config import read_config
from radfuse.data.reading.tables import read_manifest, read_table
from radfuse.errors import CohortError, ConfigError
from radfuse.run.tables import _stage_settings


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [(s, m, f"{s}_{m}.nii.gz", f"{s}_mask.nii.gz") for s in ("a", "b") for m in ("CT", "PET", "MR_T1")]
    pd.DataFrame(rows, columns=["subject", "modality", "image", "mask"]).to_csv(tmp_path / "m.csv", index=False)
    table = {"subject": ["a", "b"], "mets": [0, 1], "age": [50, 61], "scanner_ct": ["x", "y"], "site": ["p", "q"]}
    pd.DataFrame(table).to_csv(tmp_path / "c.csv", index=False)
    return tmp_path / "m.csv"


def test_init_writes_a_config_that_validates_and_guesses_out_loud(manifest: Path) -> None:
    folder = manifest.parent
    done = radfuse("init", "m.csv", "--table", "c.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    text = (folder / "radfuse.yaml").read_text()
    assert "a guess, check it" in text
    config = read_config(folder / "radfuse.yaml")
    assert config.cohort.outcome == "mets"
    assert config.cohort.batches == {"CT": "scanner_ct", "PET": "site", "MR_T1": "site"}
    assert set(config.extract.parameters) == {"CT", "PET", "MR_T1", "fused"}
    validated = radfuse("validate", cwd=folder)
    assert validated.returncode == 2  # one patient of each outcome cannot be cross-validated
    assert "a: CT image not found" in validated.stdout
    assert "5 folds need 5 patients" in validated.stdout


def test_init_refuses_an_outcome_that_no_table_has(manifest: Path) -> None:
    done = radfuse("init", "m.csv", "--table", "c.csv", "--outcome", "met", cwd=manifest.parent)
    assert done.returncode == 2
    assert "did you mean 'mets'?" in done.stderr
    assert not (manifest.parent / "radfuse.yaml").exists()


def test_init_never_overwrites(manifest: Path) -> None:
    (manifest.parent / "radfuse.yaml").write_text("mine")
    done = radfuse("init", "m.csv", cwd=manifest.parent)
    assert done.returncode == 2
    assert "already there" in done.stderr
    assert (manifest.parent / "radfuse.yaml").read_text() == "mine"


def test_the_resolved_config_repeats_itself(manifest: Path) -> None:
    folder = manifest.parent
    radfuse("init", "m.csv", "--table", "c.csv", cwd=folder)
    config = read_config(folder / "radfuse.yaml", ["align.spacing_mm=2", "train.splits.repeats=3"])
    (folder / "again.yaml").write_text(config.to_yaml())
    assert read_config(folder / "again.yaml") == config
    assert yaml.safe_load(config.to_yaml())["train"]["splits"]["repeats"] == 3


def test_list_names_every_family_and_its_settings() -> None:
    said = radfuse("list").stdout
    for word in ("mdafuse", "combat", "rigid", "late", "xgboost", "zscore", "pyradiomics"):
        assert word in said
    said = radfuse("list", "harmonizer", "--settings").stdout
    assert "empirical_bayes = True" in said
    unknown = radfuse("list", "wizards")
    assert unknown.returncode == 2
    assert "Known: registration" in unknown.stderr


def test_doctor_checks_this_machine() -> None:
    done = radfuse("doctor")
    assert done.returncode == 0, done.stdout
    assert "PyRadiomics' compiled matrices" in done.stdout


def test_an_unknown_fusion_level_is_refused_with_the_known_ones(manifest: Path) -> None:
    (manifest.parent / "F.csv").write_text("subject,CT.a,PET.a\na,1,2\nb,2,3\n")
    arguments = ("--features", "F.csv", "--subjects", "c.csv", "--outcome", "mets", "--fusion", "soon")
    done = radfuse("train", *arguments, cwd=manifest.parent)
    assert done.returncode == 2
    assert "Known: early, intermediate, late, all" in done.stderr


def test_a_feature_table_without_modalities_is_refused(manifest: Path) -> None:
    (manifest.parent / "F.csv").write_text("subject,a,b\na,1,2\nb,2,3\n")
    done = radfuse("train", "--features", "F.csv", "--subjects", "c.csv", "--outcome", "mets", cwd=manifest.parent)
    assert done.returncode == 2
    assert "prefix up to the first dot" in done.stderr


def test_json_is_json(manifest: Path) -> None:
    radfuse("init", "m.csv", "--table", "c.csv", cwd=manifest.parent)
    found = json.loads(radfuse("validate", "--json", cwd=manifest.parent).stdout)
    assert {"subject", "what", "hint", "fatal", "absent"} == set(found[0])


@pytest.mark.parametrize(
    "arguments",
    [("extract", "--manifest", "m.csv"), ("harmonize", "--features", "F.csv"), ("train", "--features", "F.csv")],
)
def test_what_only_a_study_can_do_is_refused_on_a_table(arguments, manifest):
    done = radfuse(*arguments, "--dry-run", "--retry-failed", cwd=manifest.parent)
    assert done.returncode == 2
    assert f"--dry-run and --retry-failed cannot be given with {arguments[1]}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--voxelwise", "--manifest", "m.csv"), "--voxelwise maps the volumes of a study"),
        (("--voxelwise", "--method", "fast"), "maps are computed in one way"),
        (("--feature", "*", "--threads", 2), "--feature and --threads can only be given with --voxelwise"),
        (("--whole-kernel", "--manifest", "m.csv"), "--whole-kernel can only be given with --voxelwise"),
        (("--params", "p.yaml"), "--params can only be given with --manifest; a study has its parameters in its"),
    ],
)
def test_options_of_extract_that_do_not_go_together_are_named(arguments, said, tmp_path: Path) -> None:
    done = radfuse("extract", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", "").split())


@pytest.mark.parametrize("given", [(), ("-p", "MR=p.yaml"), ("--set", "extract.extractor.method=fast")])
def test_a_manifest_without_parameters_is_refused_once_and_before_anything_is_read(given, manifest: Path) -> None:
    (manifest.parent / "p.yaml").write_text("setting: {binWidth: 25}\n")
    done = radfuse("extract", "--manifest", "m.csv", *given, cwd=manifest.parent)
    assert done.returncode == 2
    assert f"no PyRadiomics parameters for CT, PET{'' if '-p' in given else ', MR_T1'}:" in done.stderr
    assert "Give -p FILE for every modality, or -p CT=FILE" in done.stderr
    assert not (manifest.parent / "features.radfuse").exists()


@pytest.mark.parametrize(
    ("extract", "method", "left_out", "chosen"),
    [
        ({"extractor": {"method": "fast", "log_margin": "full", "max_bins": 50}}, "pyradiomics",
         "extractor.log_margin=full", {"method": "pyradiomics", "max_bins": 50}),
        ({"ibsi": True}, "fast", "ibsi=True", {"method": "fast"}),
        ({"ibsi": True, "extractor": {"method": "ibsi", "rounding": "always"}}, "pyradiomics",
         "extractor.rounding=always, ibsi=True", {"method": "pyradiomics"}),
        ({"extractor": "fast"}, "ibsi", "", {"method": "ibsi"}),
        ({"extractor": {"method": "fast", "log_margin": "full"}}, "fast", "", {"log_margin": "full"}),
    ],
)  # fmt: skip
def test_another_method_leaves_the_settings_of_the_configs_out(
    extract, method, left_out, chosen, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (manifest.parent / "radfuse.yaml").write_text(
        yaml.safe_dump({"name": "s", "cohort": {"manifest": "m.csv", "outcome": "y"}, "extract": extract})
    )
    options = _with_method(StudyOptions(config=manifest.parent / "radfuse.yaml"), method, alone=False)
    found = options.read_config().extract.extractor.model_dump()
    assert chosen.items() <= found.items()
    assert found["method"] == method
    said = capsys.readouterr().err
    assert said == (f"--method {method} leaves out settings of another method: {left_out}\n" if left_out else "")


def test_a_misspelt_setting_of_the_same_method_is_still_refused(manifest: Path) -> None:
    config = {
        "name": "s",
        "cohort": {"manifest": "m.csv", "outcome": "y"},
        "extract": {"extractor": {"method": "fast", "marg": 1}},
    }
    (manifest.parent / "radfuse.yaml").write_text(yaml.safe_dump(config))
    done = radfuse("extract", "--method", "fast", cwd=manifest.parent)
    assert done.returncode == 2
    assert "marg: unknown setting" in done.stderr


def test_subjects_and_runs_of_a_study_are_not_silently_ignored_on_a_table() -> None:
    for options in (StudyOptions(subject=["a"]), StudyOptions(run="second")):
        with pytest.raises(ConfigError, match=r"--(subject|run) cannot be given with --features"):
            options.on_a_table("--features")
    StudyOptions(subject=["a"]).on_a_table("--manifest")


def test_a_table_or_manifest_without_rows_is_named(tmp_path: Path) -> None:
    """A header alone was taken for text where numbers should be."""
    (tmp_path / "t.csv").write_text("subject,CT.original_firstorder_Mean,image\n")
    for read in (read_table, read_manifest):
        with pytest.raises(CohortError, match=r"t\.csv has no rows"):
            read(tmp_path / "t.csv")


def test_a_setting_that_is_no_yaml_is_refused_on_a_table() -> None:
    for override in ("train.splits=[", "train.bootstrap"):
        with pytest.raises(ConfigError, match="--set"):
            _stage_settings([override], "train")
