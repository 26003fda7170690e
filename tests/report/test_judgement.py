"""The sections on differences, probabilities and decisions, from tables as `Train.tables` makes them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import scored

from radfuse.data.study import Study
from radfuse.report.answer import answer
from radfuse.report.calibration import calibration
from radfuse.report.comparisons import comparisons, corrected
from radfuse.report.section import Block, Fold, Picture, Section, Table, Words
from radfuse.train.stage import Train

ARMS = {
    "single-CT-logistic": ("single", "CT", "logistic", 0.3),
    "single-PET-logistic": ("single", "PET", "logistic", 0.2),
    "single-CT-lda": ("single", "CT", "lda", 0.3),
    "single-PET-lda": ("single", "PET", "lda", 0.2),
    "early-logistic": ("early", "CT+PET", "logistic", 0.8),
    "early-lda": ("early", "CT+PET", "lda", 0.8),
    "late_vote-logistic": ("late", "CT+PET", "logistic", 0.5),
    "late_vote-lda": ("late", "CT+PET", "lda", 0.5),
    "baseline-volume": ("baseline", "CT", "logistic", 0.2),
}


@pytest.fixture(scope="module")
def study() -> Study:
    """A hundred and twenty subjects, 45 events; thresholds from scores as good as those of the folds."""
    rng, outcome = np.random.default_rng(1), (np.arange(120) % 8 < 3).astype(int)
    shared, folds = rng.normal(size=120), [np.arange(120) // 3 % 4]
    predictions = scored(
        ARMS, outcome, folds, lambda signal: signal * (2 * outcome - 1) + shared + rng.normal(size=120)
    )
    train = Train.model_validate(
        {"classifiers": ["logistic", "lda"], "fusions": ["early", {"method": "late", "combine": "vote"}],
         "primary": {"against": "PET"}, "bootstrap": 200, "operating": {"sensitivity": 0.8}}
    )  # fmt: skip
    rows = predictions.rows[predictions.rows["arm"].isin(["early-logistic", "single-PET-logistic"])].assign(error="")
    everyone = rows.drop(columns=["repeat", "fold"])
    inner = pd.concat([rows[rows["fold"] != fold].assign(fold=fold) for fold in range(4)])
    inner.loc[(inner["fold"] == 0) & (inner["arm"] == "early-logistic"), "score"] = np.nan
    return Study(
        name="made up",
        config={"train": train.model_dump(mode="json")},
        roster=pd.DataFrame(),
        failures=pd.DataFrame(columns=["subject", "stage", "what", "hint"]),
        predictions=predictions,
        auc=train.score(predictions),
        contrast=train.contrast(predictions),
        tables=train.tables(predictions, {"inner": inner, "inner_all": everyone}),
    )


@pytest.fixture(scope="module")
def probabilities(study: Study) -> Section:
    """The section, drawn once."""
    return calibration(study)


def flat(blocks: Any) -> list[Block]:
    return [part for block in blocks for part in (flat(block.blocks) if isinstance(block, Fold) else [block])]


def tables_of(section: Any) -> dict[str, Table]:
    return {block.caption: block for block in flat(section.blocks) if isinstance(block, Table)}


def words_of(section: Any) -> str:
    return " ".join(block.text for block in flat(section.blocks) if isinstance(block, Words))


def test_the_declared_classifier_comes_first_and_the_rest_is_folded(study: Study):
    section = comparisons(study)
    open_tables = [block for block in section.blocks if isinstance(block, Table)]
    assert [len(table.rows) for table in open_tables] == [4]
    rows = {(row[0], row[1]): row for row in open_tables[0].rows}
    declared = rows["early-logistic (declared)", "single-PET-logistic"]
    source = study.tables["comparisons"].set_index(["arm", "against"]).loc[("early-logistic", "single-PET-logistic")]
    assert declared[2] == f"{source['difference']:.3f}"
    assert declared[5] == f"{source['p_holm']:.3f}"
    folds = [block.title for block in section.blocks if isinstance(block, Fold)]
    assert folds == [
        "Further classifiers of the same family (4)",
        "Fusion against baseline: not corrected, for orientation (4)",
    ]
    assert "8 comparisons, adjusted together by Holm's method" in words_of(section)


def test_the_answer_tells_what_the_correction_leaves(study: Study):
    said = words_of(answer(study))
    table = study.tables["comparisons"]
    kept = int((table["p_holm"] < 0.05).sum())
    assert "Counted as one of the 8 comparisons of fusion levels with single modalities" in said
    assert f"after the correction {kept} of the 8 stay below 0.05" in said
    assert "a true difference under about" in said
    assert corrected(replace(study, contrast=None)) is None
    assert corrected(replace(study, tables={})) is None
    elsewhere = {"arm": "early-logistic", "against": "baseline-volume"}
    assert corrected(replace(study, contrast=elsewhere)) is None


def test_probabilities_are_shown_for_arms_that_give_any(probabilities: Section):
    tables = tables_of(probabilities)
    first = [row[0] for row in tables["Best arm of each level, and the declared arms"].rows]
    assert {"early-logistic", "single-PET-logistic", "baseline-volume"} <= set(first)
    assert not [arm for arm in first if "vote" in arm]
    assert len(tables["All arms"].rows) == len(ARMS)
    assert "late_vote-lda: shares of votes or margins of a rule: an order, not probabilities" in words_of(probabilities)
    pictures = {block.name: block for block in probabilities.blocks if isinstance(block, Picture)}
    assert set(pictures) == {"calibration.svg", "decision.svg"}
    assert all(arm in pictures["decision.svg"].alt for arm in first)


def test_operating_points_name_the_rule_and_the_folds_without_one(study: Study, probabilities: Section):
    rows = tables_of(probabilities)["Operating points"].rows
    assert [row[1] for row in rows] == ["Youden", "sensitivity 0.8"] * 2
    assert "early-logistic, youden: no threshold in 1 of 4 folds." in words_of(probabilities)
    cell = study.tables["operating_points"].set_index(["arm", "rule"]).loc[("single-PET-logistic", "youden")]
    shown = next(row for row in rows if row[0] == "single-PET-logistic")
    assert shown[3].startswith(f"{cell['sensitivity']:.2f} (")


def test_what_did_not_run_is_said_to_be_absent(study: Study):
    bare = replace(study, tables={})
    assert "No two arms were compared." in words_of(comparisons(bare))
    assert "No arm has been trained." in words_of(calibration(bare))
    alone = {name: study.tables[name] for name in ("calibration",)}
    assert list(tables_of(calibration(replace(study, tables=alone)))) == ["All arms"]


def test_tables_read_back_from_files_give_the_same_sections(study: Study, probabilities: Section, tmp_path: Any):
    read = {}
    for name, table in study.tables.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        read[name] = pd.read_csv(tmp_path / f"{name}.csv")
    again = replace(study, tables=read)
    for first, second in ((comparisons(study), comparisons(again)), (probabilities, calibration(again))):
        assert flat(first.blocks) == flat(second.blocks)
