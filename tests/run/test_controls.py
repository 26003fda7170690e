"""Controls on a run: beside the arms, never over them; resumable; shown only while they belong to the present arms."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import InProcess

from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError
from radfuse.harmonize.stage import Harmonize
from radfuse.run.controls import (
    Asked,
    Judging,
    control_metrics,
    plan_controls,
    require,
    run_controls,
    told,
    with_shared,
)
from radfuse.run.judging import Judged, judge, read_tables
from radfuse.run.logs import RunLog
from radfuse.run.progress import Silent
from radfuse.run.store import Store, file_digest
from radfuse.train.stage import Train

TRAIN = Train.model_validate({"fusions": ["early"], "splits": {"folds": 2, "repeats": 1}, "bootstrap": 20})


@pytest.fixture(scope="module")
def table() -> FeatureTable:
    rng = np.random.default_rng(2)
    outcome = (np.arange(30) % 5 < 2).astype(int)
    index = pd.Index([f"s{i:02d}" for i in range(30)], name="subject")
    values = {
        f"{modality}.original_firstorder_F{k}": rng.normal(size=30) + (1.2 * outcome if k < 2 else 0)
        for modality in ("CT", "PET") for k in range(4)
    }  # fmt: skip
    return FeatureTable(pd.DataFrame(values, index), pd.DataFrame({"outcome": outcome}, index))


def study(root: Path, table: FeatureTable, train: Train = TRAIN) -> tuple[Judging, Judged]:
    of = Judging(Store(root), table, train, Harmonize.model_validate({"harmonizer": "none"}))
    judged = judge(
        of.store, table, train, of.harmonize, InProcess(), Silent(), RunLog(root / "log.jsonl"),  # type: ignore[arg-type]
    )  # fmt: skip
    return of, judged


@pytest.fixture(scope="module")
def once(table: FeatureTable, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Judged]:
    root = tmp_path_factory.mktemp("once")
    return root, study(root, table)[1]


@pytest.fixture
def trained(once: tuple[Path, Judged], table: FeatureTable, tmp_path: Path) -> tuple[Judging, Judged]:
    """A run of its own, already trained."""
    shutil.copytree(once[0], tmp_path, dirs_exist_ok=True)
    return Judging(Store(tmp_path), table, TRAIN, Harmonize.model_validate({"harmonizer": "none"})), once[1]


def controlled(of: Judging, judged: Judged, asked: Asked, lines: list[str] | None = None) -> tuple[Judged, int]:
    executor = InProcess()
    tell = (lambda line: None) if lines is None else lines.append
    return run_controls(of, judged, asked, executor, Silent(), tell=tell), len(executor.done)  # type: ignore[arg-type]


def test_controls_stand_beside_the_arms_and_are_not_done_twice(
    trained: tuple[Judging, Judged], table: FeatureTable, tmp_path: Path
) -> None:
    of, judged = trained
    before = {path: file_digest(path) for path in (tmp_path / "train").rglob("*") if path.is_file()}
    lines: list[str] = []
    asked = Asked(("shuffle:PET",), draws=2)
    assert plan_controls(of, asked, 1)["control shuffle:PET"].items() >= {"reuse": 0, "redo": 4}.items()
    found, done = controlled(of, judged, asked, lines)
    assert done == 4  # early and single PET, twice; single CT is untouched
    assert lines[0].startswith("shuffle:PET: 4 trainings, about ")
    assert {path: file_digest(path) for path in before} == before
    shown = found.tables["controls"]
    assert list(shown["arm"]) == ["single-PET-logistic", "early-logistic"]
    assert shown["auc"].tolist() == [judged.auc.set_index("arm")["auc"][arm] for arm in shown["arm"]]
    assert shown["against"].tolist()[1] == "single-CT-logistic"
    assert list(shown["auc_control"] < shown["auc"]) == [True, True]
    pd.testing.assert_frame_equal(read_tables(of.store)["controls"], shown, check_exact=False)

    again, done = controlled(of, judged, asked)
    assert done == 0
    pd.testing.assert_frame_equal(again.tables["controls"], shown)
    assert plan_controls(of, asked, 1)["control shuffle:PET"] == {"reuse": 4, "redo": 0, "seconds": 0}
    more, done = controlled(of, judged, Asked(("shuffle:PET", "noise:CT"), ("early-logistic",), draws=3))
    assert done == 1 + 3
    assert more.tables["controls"][["control", "draws"]].to_numpy().tolist() == [
        ["noise:CT", 3], ["shuffle:PET", 2], ["shuffle:PET", 3]
    ]  # fmt: skip


def test_controls_of_other_settings_or_features_are_left_out(
    trained: tuple[Judging, Judged], table: FeatureTable, tmp_path: Path
) -> None:
    of, judged = trained
    assert "controls" in controlled(of, judged, Asked(("noise:PET",), draws=1))[0].tables
    for train, features in (
        (TRAIN.model_copy(update={"seed": 1}), table),
        (TRAIN, table.with_values(table.values + 1.0)),
    ):
        of, judged = study(tmp_path, features, train)
        found, done = controlled(of, judged, Asked())
        assert "controls" not in found.tables
        assert "controls" not in read_tables(of.store)
        assert done == 0


def test_permutations_are_of_the_declared_comparison_unless_arms_are_named(
    trained: tuple[Judging, Judged], table: FeatureTable, tmp_path: Path
) -> None:
    of, judged = trained
    found, done = controlled(of, judged, Asked(("permute-outcome",), permutations=3))
    assert done == 6
    shown = found.tables["permuted"].set_index("arm")
    assert set(shown.index) == {"early-logistic", "single-CT-logistic"}
    assert (shown["permutations"] == 3).all()
    assert (shown["p"] >= 0.25).all()
    named, done = controlled(of, judged, Asked(("permute-outcome",), ("single-PET-logistic",), permutations=2))
    assert done == 2
    assert len(named.tables["permuted"]) == 3
    numbers = control_metrics(named.tables)["permute-outcome"]
    assert numbers["early-logistic/p"] == shown["p"]["early-logistic"]


def test_with_three_modalities_the_arm_is_also_trained_without_the_controlled_one(
    table: FeatureTable, tmp_path: Path
) -> None:
    third = table.values[[c for c in table.values if c.startswith("PET.")]].rename(columns=lambda c: "MR" + c[3:])
    wide = FeatureTable(pd.concat([table.values, third[::-1].set_axis(third.index)], axis=1), table.subjects)
    of, judged = study(tmp_path, wide)
    asked = Asked(("shuffle:MR", "noise:MR"), ("early-logistic",), draws=1)
    found, done = controlled(of, judged, asked)
    assert done == 3  # the bar is trained once for both
    bar, shown = found.tables["controls"]["against"], found.tables["controls"]
    assert bar.tolist() == ["early-logistic without MR"] * 2
    alone = table.with_values(wide.values.drop(columns=third.columns))
    _, less = study(tmp_path / "less", alone)
    level = less.auc.set_index("arm")["auc"]["early-logistic"]
    assert (shown["auc"] - shown["gain"]).tolist() == pytest.approx([level] * 2)
    assert controlled(of, judged, asked)[1] == 0


def test_clinical_facts_that_are_a_modality_are_controlled_like_one(table: FeatureTable, tmp_path: Path) -> None:
    facts = table.subjects.assign(age=60.0 + 9 * table.outcome + np.random.default_rng(0).normal(size=30))
    with_age = FeatureTable(table.values, facts)
    of, judged = study(tmp_path, with_age, TRAIN.model_copy(update={"clinical_modality": ("age",)}))
    asked = Asked(("shuffle:clinical",), ("single-clinical-logistic", "early-logistic"), draws=1)
    found, done = controlled(of, judged, asked)
    assert done == 3
    shown = found.tables["controls"].set_index("arm")
    assert shown.loc["single-clinical-logistic", "auc"] > 0.95
    assert shown.loc["single-clinical-logistic", "auc_control"] < 0.75
    assert shown.loc["early-logistic", "against"] == "early-logistic without clinical"
    _, less = study(tmp_path / "less", with_age)
    level = less.auc.set_index("arm")["auc"]["early-logistic"]
    assert shown.loc["early-logistic", "auc"] - shown.loc["early-logistic", "gain"] == pytest.approx(level)
    assert controlled(of, judged, asked)[1] == 0


def test_a_draw_that_fails_is_a_failure_and_the_others_count(
    trained: tuple[Judging, Judged], monkeypatch: pytest.MonkeyPatch
) -> None:
    import radfuse.run.controls as module

    of, judged = trained
    honest, calls = module.whole_pipeline_auc, iter(range(9))

    def fails_once(*given: Any) -> Any:
        return {given[0][0].name: float("nan")} if next(calls) == 1 else honest(*given)

    monkeypatch.setattr(module, "whole_pipeline_auc", fails_once)
    found, _ = controlled(of, judged, Asked(("shuffle:CT",), ("early-logistic",), draws=3))
    assert found.tables["controls"]["draws"].tolist() == [2]
    (problem,) = found.failed
    assert problem.subject == "early-logistic"
    assert problem.what.startswith("train: shuffle:CT, draw 2: no fold holds both outcomes")


def test_what_a_study_does_not_have_is_refused_before_training(table: FeatureTable, tmp_path: Path) -> None:
    of = Judging(Store(tmp_path), table, TRAIN, Harmonize())
    for asked, match in (
        (Asked(("shuffle:MR",)), "one of CT, PET"),
        (Asked(("shuffle:CT",), ("erly-logistic",)), "did you mean 'early-logistic'"),
        (Asked(("shuffle:CT",), ("single-PET-logistic",)), "changes none of the arms single-PET-logistic"),
    ):
        with pytest.raises(ConfigError, match=match):
            require(of, asked)
    with pytest.raises(ConfigError, match="no control is asked for"):
        Asked(arms=("early-logistic",))
    assert plan_controls(of, Asked(("noise:CT",)), 1) == {"control noise:CT": {"reuse": 0, "redo": 10}}
    assert "unknown" in told(None)


def test_what_modalities_share_goes_beside_the_judgement(
    trained: tuple[Judging, Judged], table: FeatureTable, tmp_path: Path
) -> None:
    of, judged = trained
    found = with_shared(of, judged)
    assert set(found.tables) - set(judged.tables) == {"shared_information", "shared_classes"}
    assert set(read_tables(of.store)) >= {"shared_information", "shared_classes"}
