"""Leaving sites out in a run: plain ComBat is refused before any work, a choice that is said goes on and is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import InProcess
from sklearn.metrics import roc_auc_score

from radfuse.config import Config, read_config
from radfuse.data.study import Study
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.none import Untouched
from radfuse.harmonize.stage import Harmonize
from radfuse.report.sites import sites
from radfuse.run.judging import Judged, judge, load_table, read_tables
from radfuse.run.left_out import refuse_unsaid
from radfuse.run.logs import RunLog
from radfuse.run.permuting import permute
from radfuse.run.progress import Silent
from radfuse.run.store import Store
from radfuse.run.validate import outcome_problems, problems_of
from radfuse.train.stage import Train

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def table(rng: np.random.Generator) -> FeatureTable:
    """Thirty patients of three scanners; each scanner adds a shift of its own."""
    index = pd.Index([f"P{i:02d}" for i in range(30)], name="subject")
    outcome, site = np.arange(30) % 2, np.repeat([1, 2, 3], 10)
    values = rng.normal(size=(30, 4)) + 1.2 * outcome[:, None] + 5.0 * site[:, None]
    columns = [f"CT.original_firstorder_F{i}" for i in range(4)]
    facts = pd.DataFrame({"outcome": outcome, "batch.CT": site.astype(str)}, index=index)
    return FeatureTable(pd.DataFrame(values, index, columns), facts)


TRAIN = Train(splits={"method": "leave_one_site_out", "site": "batch.CT"}, baselines={"batch": False}, bootstrap=50)


def judged_by(folder: Path, table: FeatureTable, harmonizer: Any) -> Judged:
    log = RunLog(folder / "log.jsonl")
    return judge(Store(folder), table, TRAIN, Harmonize(harmonizer=harmonizer), InProcess(), Silent(), log)  # type: ignore[arg-type]


def test_plain_combat_is_refused_and_leaves_nothing(table: FeatureTable, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="in 3 of 3 sites combat was not told"):
        judged_by(tmp_path, table, ComBat())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("harmonizer", "raw", "said"),
    [
        (ComBat(unseen="pass"), 10, "(harmonizer combat, unseen: pass): 1 10, 2 10, 3 10"),
        (ComBat(unseen="largest"), 0, "largest training batch (harmonizer combat, unseen: largest)"),
        (Untouched(), 0, "were not harmonised, neither in training nor in the site left out"),
    ],
)
def test_a_choice_that_is_said_goes_on_and_is_in_the_report(
    harmonizer: Any, raw: int, said: str, table: FeatureTable, tmp_path: Path
) -> None:
    judged = judged_by(tmp_path, table, harmonizer)
    drawn = pd.read_csv(tmp_path / "splits.csv")
    assert list(drawn.columns) == ["subject", "repeat", "fold", "site"]
    found = read_tables(Store(tmp_path))["sites"]
    assert found["site"].tolist() == ["1", "2", "3"]
    assert found["raw"].tolist() == [raw] * 3
    rows = judged.predictions.rows
    for row in found.to_dict("records"):
        own = rows[rows["fold"] == int(row["site"]) - 1]
        assert row["auc"] == pytest.approx(roc_auc_score(own["outcome"], own["score"]), abs=1e-12)
    assert judged.auc["auc"].iloc[0] == pytest.approx(found["auc"].mean(), abs=1e-12)
    settings = {"harmonize": {"harmonizer": harmonizer.model_dump(mode="json")}, "train": TRAIN.model_dump(mode="json")}
    study = Study("s", settings, table.subjects, pd.DataFrame(), auc=judged.auc, tables={"sites": found})
    (section,) = sites(study)
    words = " ".join(block.text for block in section.blocks if block.kind == "words")
    assert said in words
    assert "Each of the 3 sites" in words


def test_what_was_found_with_other_settings_is_not_judged_again(table: FeatureTable, tmp_path: Path) -> None:
    """Site by site, thresholds and importance are of models that are gone: their numbers would be of nobody."""
    assert {"sites", "operating_points"} <= set(judged_by(tmp_path, table, Untouched()).tables)
    plain = Train(splits={"folds": 3, "repeats": 1}, baselines={"batch": False}, operating=None, explain=None)
    log, harmonize = RunLog(tmp_path / "log.jsonl"), Harmonize(harmonizer=Untouched())
    again = judge(Store(tmp_path), table, plain, harmonize, InProcess(), Silent(), log)  # type: ignore[arg-type]
    assert not {"sites", "operating_points"} & set(again.tables)
    assert sorted(path.stem for path in tmp_path.glob("train/*/evidence/*")) == ["chosen"]


def test_permutations_of_such_a_run_keep_each_site_as_it_is(table: FeatureTable, tmp_path: Path) -> None:
    harmonize = Harmonize(harmonizer=Untouched())
    judged = judged_by(tmp_path, table, Untouched())
    store = Store(tmp_path)
    arms = TRAIN.arms(load_table(store))
    found = permute(store, table, arms, TRAIN.splits, harmonize, InProcess(), Silent(), permutations=3, seed=0)  # type: ignore[arg-type]
    assert found.observed[arms[0].name] == pytest.approx(judged.auc["auc"].iloc[0], abs=1e-12)
    assert found.null[arms[0].name].between(0, 1).all()


def test_who_lacks_the_modality_has_no_batch_of_it(table: FeatureTable) -> None:
    """The only rows of a scanner have no image of it: nothing of them is harmonised."""
    facts = table.subjects.assign(
        hospital=["n"] * 14 + ["s"] * 16, **{"batch.CT": ["x", "y", "x"] * 9 + ["x", "y", "new"]}
    )
    splits = Train(splits={"method": "leave_one_site_out", "site": "hospital"}).splits
    whole = FeatureTable(table.values, facts)
    with pytest.raises(ConfigError, match=r"batch\.CT new"):
        refuse_unsaid(ComBat(), whole, splits(whole))
    values = table.values.copy()
    values.iloc[-1] = np.nan
    without = FeatureTable(values, facts)
    refuse_unsaid(ComBat(), without, splits(without))


def test_validate_says_it_before_anything_is_computed(tmp_path: Path) -> None:
    subjects = [f"P{i}" for i in range(6)]
    manifest = pd.DataFrame({"subject": subjects, "modality": "CT", "image": "none.nii.gz", "mask": "none.nii.gz"})
    manifest["image"] = [f"{name}.nii.gz" for name in subjects]
    manifest.to_csv(tmp_path / "manifest.csv", index=False)
    facts = pd.DataFrame({"subject": subjects, "y": [0, 1] * 3, "scanner": list("aabbcc"), "centre": list("nnssnn")})
    facts.to_csv(tmp_path / "facts.csv", index=False)

    def told(harmonizer: Any, **splits: Any) -> str:
        cohort = {"root": tmp_path, "tables": ["facts.csv"], "outcome": "y", "batches": {"CT": "scanner"}}
        train = {"splits": {"method": "leave_one_site_out", **splits}}
        config = Config.model_validate({"cohort": cohort, "harmonize": {"harmonizer": harmonizer}, "train": train})
        return json.dumps([problem.what for problem in problems_of(config) if not problem.subject])

    assert "in 3 of 3 sites combat was not told" in told("combat")
    assert "was not told" not in told({"method": "combat", "unseen": "pass"})
    assert "was not told" not in told("none")
    assert "in 1 of 2 sites combat was not told" in told("combat", site="centre")  # n holds two scanners, s one
    assert "no table has a column 'ward'" in told("none", site="ward")


@pytest.mark.cohort
def test_the_scanners_of_the_sarcoma_cohort(sts: Path) -> None:
    """Soft-tissue sarcoma (TCIA, DOI 10.7937/K9/TCIA.2015.7GO2GSKS): four labels of MR scanners, among them two
    patients of an unknown one who are counted as GE; each PET/CT scanner is met beside several MR scanners."""
    splits = ["train.splits={method: leave_one_site_out, site: batch.MR}"]
    config = read_config(CONFIGS / "sts.yaml", [f"cohort.root={sts}", *splits])
    cohort = config.read_cohort()
    sites = config.train.splits.strata(cohort.subjects)
    assert sites.value_counts().to_dict() == {"GE": 25, "PHILIPS": 6, "SIEMENS": 6, "UNKNOWN_VIA_ARIA": 2}
    assert cohort.subjects["outcome"].groupby(sites).sum().to_dict()["UNKNOWN_VIA_ARIA"] == 0
    (problem,) = outcome_problems(config, cohort)
    assert "in 2 of 4 sites combat was not told" in problem.what
    assert problem.what.endswith("without PHILIPS: batch.MR PHILIPS")
    for said in ("harmonize.harmonizer.unseen=largest", "harmonize.harmonizer=none"):
        told = read_config(CONFIGS / "sts.yaml", [f"cohort.root={sts}", *splits, said])
        assert outcome_problems(told, cohort) == []


def test_sites_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    written = pd.DataFrame({"site": ["01", "NA", "7"], "arm": "early", "auc": [0.5, float("nan"), 0.7]})
    (tmp_path / "report" / "tables").mkdir(parents=True)
    written.to_csv(tmp_path / "report" / "tables" / "sites.csv", index=False)
    pd.testing.assert_frame_equal(read_tables(Store(tmp_path))["sites"], written)
