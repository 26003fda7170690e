"""What the page says of negative controls and of shared information."""

from dataclasses import replace

import pandas as pd
import pytest

from radfuse.data.study import Study
from radfuse.report.arms import arms
from radfuse.report.controls import controls
from radfuse.report.section import DASH, Picture, Section, Table, Words
from radfuse.report.shared import shared

CONTROL = {
    "control": "shuffle:PET", "arm": "early", "draws": 5, "auc": 0.82, "auc_control": 0.71, "auc_control_low": 0.66,
    "auc_control_high": 0.75, "against": "single-CT", "gain": 0.10, "gain_control": -0.01, "gain_control_low": -0.06,
    "gain_control_high": 0.03, "reading": "With PET shuffled early falls.",
}  # fmt: skip
ALONE = CONTROL | {
    "arm": "single-PET", "against": None, "gain": None, "gain_control": None, "gain_control_low": None,
    "gain_control_high": None, "reading": "With PET shuffled single-PET falls.",
}  # fmt: skip
PERMUTED = {
    "arm": "early", "permutations": 99, "auc": 0.82, "null_mean": 0.5, "null_low": 0.4, "null_high": 0.6, "p": 0.01,
    "p_adjusted": 0.02, "reading": "Under 99 permuted outcomes early reaches 0.50 on average.",
}  # fmt: skip


@pytest.fixture
def study() -> Study:
    return Study("s", {}, pd.DataFrame(), pd.DataFrame(columns=["subject", "stage", "what", "hint"]))


def tables(section: Section) -> list[Table]:
    return [block for block in section.blocks if isinstance(block, Table)]


def words(section: Section) -> str:
    return " ".join(block.text for block in section.blocks if isinstance(block, Words))


def test_without_a_control_the_page_says_how_to_run_one(study: Study) -> None:
    assert "--control shuffle:MODALITY" in words(controls(study))
    assert "Nothing has been compared" in words(shared(study))


def test_every_control_is_told_in_words_and_in_a_table(study: Study) -> None:
    frames = {"controls": pd.DataFrame([ALONE, CONTROL]), "permuted": pd.DataFrame([PERMUTED])}
    section = controls(replace(study, tables=frames))
    told = words(section)
    assert "With PET shuffled early falls." in told
    assert "Under 99 permuted outcomes" in told
    modality, outcome = tables(section)
    assert modality.rows[1][2:] == (
        "5", "0.820", "0.710", "0.660 to 0.750", "single-CT", "0.100",
        "\N{MINUS SIGN}0.010 (\N{MINUS SIGN}0.060 to 0.030)",
    )  # fmt: skip
    assert modality.rows[0][6:] == ("", "", "")
    assert outcome.rows[0] == ("early", "99", "0.820", "0.500", "0.400 to 0.600", "0.010", "0.020")
    assert all(len(row) == len(table.columns) for table in (modality, outcome) for row in table.rows)


def test_the_permuted_p_stands_beside_its_arm(study: Study) -> None:
    auc = pd.DataFrame(
        [(arm, "early", "CT+PET", "logistic", 0.8, 0.7, 0.9, 39, 14) for arm in ("early", "other")],
        columns=["arm", "fusion", "modalities", "classifier", "auc", "ci_low", "ci_high", "n", "events"],
    )
    plain, beside = (
        tables(arms(replace(study, auc=auc, tables=found)))[0] for found in ({}, {"permuted": pd.DataFrame([PERMUTED])})
    )
    assert len(plain.columns) + 1 == len(beside.columns)
    assert {row[0]: row[-1] for row in beside.rows} == {"early": "0.010", "other": DASH}


def test_shared_information_is_never_called_synergy_with_the_outcome(study: Study) -> None:
    pairs = [("CT", "PET", 0.37, 0.001), ("CT", "MR", 0.01, 0.4)]
    found = pd.DataFrame(
        [
            {"one": one, "other": other, "n": 39, "features_one": 10, "features_other": 12, "cka": cka,
             "cka_chance": 0.0, "cka_p": p, "rv": 0.45, "rv_chance": 0.4, "rv_p": p}
            for one, other, cka, p in pairs
        ]
    )  # fmt: skip
    classes = pd.DataFrame(
        [
            {"one": one, "other": other, "class_one": a, "class_other": b, "features_one": 5, "features_other": 6,
             "correlation": 0.3, "chance": 0.13}
            for one, other, _, _ in pairs for a in ("glcm", "firstorder") for b in ("glcm", "gldm", "glszm")
        ]
    )  # fmt: skip
    section = shared(replace(study, tables={"shared_information": found, "shared_classes": classes}))
    told = words(section)
    assert "CT and PET share information: debiased CKA 0.37, p = 0.001." in told
    assert "CT and MR share no more than chance would" in told
    assert "shared information, not synergy" in told
    assert "without the outcome" in told
    assert tables(section)[0].rows[0][:3] == ("CT and PET", "39", "10, 12")
    (picture,) = [block for block in section.blocks if isinstance(block, Picture)]
    assert picture.content.startswith(b"<?xml")
    again = shared(replace(study, tables={"shared_information": found, "shared_classes": classes}))
    assert picture.content == next(b.content for b in again.blocks if isinstance(b, Picture))
