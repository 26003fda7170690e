"""What the report says of sites that were left out."""

from dataclasses import replace

import pandas as pd

from radfuse.data.study import Study
from radfuse.report.answer import answer
from radfuse.report.arms import arms
from radfuse.report.methods import methods
from radfuse.report.section import DASH, Table, Words
from radfuse.report.sites import sites

FOUND = pd.DataFrame(
    [
        ("early-logistic", "north", 20, 8, 0.7, 0.5, 0.9, 20),
        ("early-logistic", "south", 6, 0, float("nan"), float("nan"), float("nan"), 0),
        ("single-CT-logistic", "north", 20, 8, 0.6, 0.4, 0.8, 20),
        ("single-CT-logistic", "south", 6, 0, float("nan"), float("nan"), float("nan"), 0),
        ("late-logistic", "north", 20, 8, 0.65, 0.4, 0.8, 20),
        ("late-logistic", "south", 6, 0, float("nan"), float("nan"), float("nan"), 0),
    ],
    columns=["arm", "site", "n", "events", "auc", "ci_low", "ci_high", "raw"],
)


def study_of(found: pd.DataFrame, **harmonizer: str) -> Study:
    config = {
        "harmonize": {"harmonizer": {"method": "combat", **harmonizer}},
        "train": {"splits": {"method": "leave_one_site_out", "site": "hospital"}},
    }
    contrast = {"arm": "early-logistic", "against": "single-CT-logistic"}
    return Study("s", config, pd.DataFrame(), pd.DataFrame(), tables={"sites": found}, contrast=contrast)


def words_of(study: Study) -> str:
    (section,) = sites(study)
    return " ".join(block.text for block in section.blocks if isinstance(block, Words))


def test_the_declared_arms_come_first_and_a_site_without_a_pair_has_dashes() -> None:
    (section,) = sites(study_of(FOUND))
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert table.rows == [
        ("north", "early-logistic", "20", "8", "0.700", "0.500 to 0.900"),
        ("north", "single-CT-logistic", "20", "8", "0.600", "0.400 to 0.800"),
        ("south", "early-logistic", "6", "0", DASH, DASH),
        ("south", "single-CT-logistic", "6", "0", DASH, DASH),
    ]
    assert "south: one outcome only, so no pair to compare and no AUC" in words_of(study_of(FOUND))


def test_both_means_over_the_sites_stand_beside_each_other() -> None:
    """One site of 96 pairs at 0.7 and one of 2 at 1.0: 0.85 where sites count alike, 69.2 / 98 where pairs do."""
    together = pd.DataFrame([("early-logistic", 2, 98, 0.85, 69.2 / 98), ("single-CT-logistic", 2, 98, 0.8, 0.7)],
                            columns=["arm", "sites", "pairs", "auc", "auc_by_pairs"])  # fmt: skip
    study = study_of(FOUND)
    auc = pd.DataFrame({"arm": ["early-logistic", "single-CT-logistic"], "fusion": ["early", "single"],
                        "modalities": ["CT+PET", "CT"], "classifier": "logistic", "auc": [0.85, 0.8], "ci_low": 0.5,
                        "ci_high": 0.9, "n": 26, "events": 8})  # fmt: skip
    study = replace(study, auc=auc, tables={**study.tables, "sites_together": together})
    (section,) = sites(study)
    (table, *_) = [block for block in section.blocks if isinstance(block, Table)]
    assert table.rows[0] == ("early-logistic", "2", "0.850", "98", "0.706")
    assert "by pairs of patients 0.71 of early-logistic and 0.70 of single-CT-logistic" in str(answer(study))
    (first, *_) = [block for block in arms(study).blocks if isinstance(block, Table)]
    assert {row[0]: row[-1] for row in first.rows} == {"early-logistic": "0.706", "single-CT-logistic": "0.700"}
    assert "AUC by pairs" not in str(arms(replace(study, tables={})))


def test_what_the_harmoniser_did_is_said() -> None:
    raw = words_of(study_of(FOUND, unseen="pass"))
    assert "beside training rows that were harmonised (harmonizer combat, unseen: pass): north 20" in raw
    largest = words_of(study_of(FOUND, unseen="largest"))
    assert "as if they were of the largest training batch" in largest
    assert "No row was left as measured" in words_of(study_of(FOUND.assign(raw=0), unseen="pass"))
    assert "not harmonised, neither in training" in words_of(study_of(FOUND.assign(raw=0), method="none"))


def test_other_studies_have_no_such_section() -> None:
    assert sites(Study("s", {}, pd.DataFrame(), pd.DataFrame())) == []
    assert sites(study_of(FOUND.iloc[:0])) == []


def test_the_methods_say_that_sites_were_left_out() -> None:
    text = str(methods(study_of(FOUND)))
    assert "Each site (hospital) was left out in turn and judged by models trained on all the others." in text
