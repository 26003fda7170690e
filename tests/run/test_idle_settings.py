"""Settings that are for no image: told before hours are spent, and no reason to stop."""

from pathlib import Path

import pytest

from radfuse.cli.settings import warn_of_settings
from radfuse.config import Config
from radfuse.run.idle_settings import idle_settings

FEW = {"setting": {"binWidth": 25}}


def study(tmp_path: Path, **settings: object) -> Config:
    (tmp_path / "manifest.csv").write_text("subject,modality,image\np1,CT,a.nii\np1,MR_T1,b.nii\n")
    return Config.model_validate({"cohort": {"root": str(tmp_path), "outcome": "y"}, **settings})


@pytest.mark.parametrize(
    ("settings", "place", "hint"),
    [
        ({"align": {"intensity": {"MR": "zscore"}}}, "align.intensity.MR", "Did you mean MR_T1?"),
        ({"align": {"interpolation": {"ct": "nearest"}}}, "align.interpolation.ct", ""),
        ({"fuse": {"inputs": [["CT", "MR"]]}}, "fuse.inputs: MR", "Did you mean MR_T1?"),
        ({"fuse": {"normalisation": {"US": {"kind": "spread"}}}}, "fuse.normalisation.US", ""),
        ({"extract": {"parameters": {"MRI": FEW, "default": FEW}}}, "extract.parameters.MRI", ""),
    ],
)
def test_a_setting_for_no_image_is_named_with_what_may_be_meant(tmp_path, capsys, settings, place, hint):
    config = study(tmp_path, **settings)
    (problem,) = idle_settings(config)
    assert problem.what == f"{place} is for no image of the manifest; it has CT, MR_T1"
    assert problem.hint == hint
    assert not problem.fatal
    warn_of_settings(config)
    assert capsys.readouterr().err == f"warning: {problem.what}. {hint}".rstrip() + "\n"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"align": {"intensity": {"MR_T1": "zscore"}}},
        {"fuse": {"normalisation": {"MR": {"kind": "spread"}}}},
        {"extract": {"parameters": dict.fromkeys(("MR", "MR_T1", "fused", "fused-average-CT_MR_T1", "default"), FEW)}},
    ],
)
def test_defaults_kinds_and_exact_names_are_in_use(tmp_path, settings):
    assert idle_settings(study(tmp_path, **settings)) == []
