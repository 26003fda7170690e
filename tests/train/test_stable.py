"""Leaving out unstable features: which, by whose measurements, and the proof that nothing leaks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import InProcess

from radfuse.data.repeatability import agreement
from radfuse.data.table import FeatureTable
from radfuse.errors import DataError, StageError
from radfuse.harmonize.stage import Harmonize
from radfuse.run.judging import PERTURBED, judge
from radfuse.run.logs import RunLog
from radfuse.run.models import load_model
from radfuse.run.permuting import permute
from radfuse.run.progress import Silent
from radfuse.run.store import Store
from radfuse.train.arms import Arm
from radfuse.train.evaluation import fit_fold
from radfuse.train.permutation import whole_pipeline_auc
from radfuse.train.stability import StabilityFilter
from radfuse.train.stage import Train
from radfuse.train.steps.stable import Stable

QUICK: dict[str, Any] = {
    "fusions": ["early", "late"],
    "splits": {"folds": 3, "repeats": 1},
    "operating": None,
    "stability": {"icc": 0.75},
}


def measured_again(
    table: FeatureTable, unsteady: Sequence[str], repeats: int = 5, seed: int = 0, error: float = 0.1
) -> pd.DataFrame:
    """Perturbed measurements of a table: a little off, and for some columns nothing but noise."""
    rng = np.random.default_rng(seed)
    columns = list(table.values.columns)
    spread = table.values.std().to_numpy()
    frames = {}
    for number in range(repeats + 1):
        off = error * spread * rng.standard_normal(table.values.shape) * (number > 0)
        again = table.values + off
        if number:
            again[list(unsteady)] = rng.standard_normal((len(again), len(unsteady)))
        frames[number] = again
    stacked = pd.concat(frames, names=["perturbation", "subject"]).swaplevel().sort_index()
    return stacked[columns]


def arms_of(train: Train, table: FeatureTable, perturbed: pd.DataFrame | None) -> list[Arm]:
    return [arm if arm.stability is None else replace(arm, perturbed=perturbed) for arm in train.arms(table)]


@pytest.fixture
def table(make_table: Any) -> FeatureTable:
    return make_table(subjects=42, features=8)


@pytest.fixture
def unsteady(table: FeatureTable) -> list[str]:
    return [*table.columns_of("CT")[3:5], table.columns_of("PET")[2]]


# The step.


def test_it_keeps_what_agrees_and_lists_what_does_not(table: FeatureTable, unsteady: list[str]) -> None:
    rows = table.rows()
    step = Stable().fit(rows, None, measured_again(table, unsteady))
    assert step.dropped_ == unsteady
    given = step.transform(rows)
    assert list(given.columns) == [c for c in rows.columns if c not in unsteady]
    pd.testing.assert_frame_equal(given, rows.drop(columns=unsteady))


def test_its_threshold_is_on_the_interval_or_on_the_estimate(table: FeatureTable) -> None:
    perturbed = measured_again(table, [], repeats=2, error=0.5)
    values = perturbed[perturbed.index.get_level_values("perturbation") > 0].to_numpy().reshape(42, 2, -1)
    found = agreement(values, "3,1", 0.9)
    for by, reached in (("low", found.low), ("estimate", found.icc)):
        limit = float(np.median(reached))
        step = Stable(limit, by, "3,1", 0.9).fit(table.rows(), None, perturbed)
        assert step.kept_ == list(table.values.columns[reached >= limit])
        assert step.agreement_ == pytest.approx(reached)


def test_only_training_subjects_are_looked_at(table: FeatureTable, unsteady: list[str]) -> None:
    perturbed = measured_again(table, unsteady)
    training = table.rows().iloc[:30]
    other = perturbed.copy()
    other.loc[list(table.values.index[30:])] = np.random.default_rng(1).normal(size=other.iloc[30 * 6 :].shape)
    first, second = (Stable().fit(training, None, each) for each in (perturbed, other))
    assert first.agreement_.tobytes() == second.agreement_.tobytes()
    everyone = Stable().fit(table.rows(), None, other)
    assert everyone.agreement_.tobytes() != first.agreement_.tobytes()
    assert len(everyone.kept_) < len(first.kept_)


def test_the_unperturbed_row_and_the_outcome_play_no_part(table: FeatureTable, unsteady: list[str]) -> None:
    perturbed = measured_again(table, unsteady)
    spoiled = perturbed.copy()
    spoiled.loc[(slice(None), 0), :] = 1e9
    first = Stable().fit(table.rows(), table.outcome, perturbed)
    second = Stable().fit(table.rows(), 1 - table.outcome, spoiled)
    assert first.agreement_.tobytes() == second.agreement_.tobytes()


def test_its_refusals_say_what_to_do(table: FeatureTable, unsteady: list[str]) -> None:
    rows, perturbed = table.rows(), measured_again(table, unsteady)
    with pytest.raises(DataError, match="no perturbed measurements were given") as caught:
        Stable().fit(rows)
    assert "radfuse stability" in caught.value.hint
    with pytest.raises(DataError, match=r"lack 1 of 16 features, first 'CT.original_shape_MeshVolume'"):
        Stable().fit(rows, None, perturbed.iloc[:, 1:])
    with pytest.raises(DataError, match="fewer than 3 of 42 training subjects"):
        Stable().fit(rows, None, perturbed.loc[list(rows.index[:2])])
    with pytest.raises(DataError, match=r"none of 16 features reaches an ICC of 1 over 42 training subjects; the best"):
        Stable(icc=1.0).fit(rows, None, perturbed)
    with pytest.raises(DataError, match="have an index of subject and perturbation, found"):
        Stable().fit(rows, None, perturbed.reset_index(drop=True))


# The arms.


def test_without_the_setting_nothing_changes(table: FeatureTable, harmonizer: Any) -> None:
    train = Train.model_validate({**QUICK, "stability": None})
    assert all("stable" not in dict(arm.pipeline(["CT.x"], harmonizer).steps) for arm in train.arms(table))
    assert Train().stability is None


def test_every_radiomics_arm_leaves_unstable_features_out_in_every_fold(
    table: FeatureTable, unsteady: list[str], harmonizer: Any
) -> None:
    train = Train.model_validate(QUICK)
    perturbed = measured_again(table, unsteady)
    seen = set()
    for arm in arms_of(train, table, perturbed):
        result = train.run_arm(arm, table, train.splits(table), harmonizer)
        if arm.fusion == "baseline":
            assert arm.stability is None
            continue
        own = [column for column in unsteady if column.partition(".")[0] in arm.modalities]
        for report in result.fold_reports:
            assert report["left_out_unstable"] == own
            assert not set(own) & {column for chosen in report["chosen"].values() for column in chosen}
        seen.add(arm.fusion)
    assert seen == {"single", "early", "late"}


def test_a_modality_may_lose_all_its_features(table: FeatureTable, harmonizer: Any) -> None:
    train = Train.model_validate(QUICK)
    arms = {arm.name: arm for arm in arms_of(train, table, measured_again(table, table.columns_of("PET")))}
    for name in ("early-logistic", "late-logistic"):
        scores = train.run_arm(arms[name], table, train.splits(table), harmonizer).predictions.rows["score"]
        assert scores.notna().all()
    with pytest.raises(DataError, match=r"none of 8 features reaches an ICC of 0\.75"):
        train.run_arm(arms["single-PET-logistic"], table, train.splits(table), harmonizer)


def test_a_missing_table_stops_with_what_to_do(table: FeatureTable, harmonizer: Any) -> None:
    train = Train.model_validate(QUICK)
    with pytest.raises(DataError, match="no perturbed measurements were given"):
        train.run_arm(train.arms(table)[0], table, train.splits(table), harmonizer)


# Nothing leaks.


def fitted(model: Any) -> dict[str, str]:
    """A hash of the bytes of every attribute of every step of a pipeline."""
    return {
        f"{step}.{name}": joblib.hash(value)
        for step, part in model.named_steps.items()
        for name, value in vars(part).items()
    }


def test_validation_subjects_measurements_leave_every_fitted_attribute_bit_identical(
    table: FeatureTable, unsteady: list[str], harmonizer: Any
) -> None:
    train = Train.model_validate(QUICK)
    splits = train.splits(table)
    validates = list(splits[(splits["repeat"] == 0) & (splits["fold"] == 1)]["subject"])
    perturbed = measured_again(table, unsteady)
    other = perturbed.copy()
    other.loc[validates] = np.random.default_rng(5).normal(3, 50, other.loc[validates].shape)
    trains = [subject for subject in table.values.index if subject not in validates]
    noticed = perturbed.copy()
    noticed.loc[trains] += np.random.default_rng(5).normal(0, 0.2, noticed.loc[trains].shape)
    compared = 0
    for one, two, three in zip(*(arms_of(train, table, each) for each in (perturbed, other, noticed)), strict=True):
        if one.stability is None:
            continue
        before, same, changed = (fitted(fit_fold(arm, table, splits, 0, 1, harmonizer)) for arm in (one, two, three))
        assert before == same, one.name
        assert before["stable.agreement_"] != changed["stable.agreement_"], one.name
        compared += 1
    assert compared == 4


def test_permuted_outcomes_keep_the_same_features(table: FeatureTable, unsteady: list[str], harmonizer: Any) -> None:
    train = Train.model_validate(QUICK)
    flipped = FeatureTable(table.values, table.subjects.assign(outcome=1 - table.outcome))
    arm = arms_of(train, table, measured_again(table, unsteady))[0]
    splits = train.splits(table)
    one, other = (fit_fold(arm, each, splits, 0, 0, harmonizer).named_steps["stable"] for each in (table, flipped))
    assert one.kept_ == other.kept_
    assert one.agreement_.tobytes() == other.agreement_.tobytes()


# In a study.


def judged(root: Path, table: FeatureTable, train: Train) -> tuple[pd.DataFrame, int]:
    executor = InProcess()
    found = judge(
        Store(root), table, train, Harmonize.model_validate({"harmonizer": "none"}), executor, Silent(),  # type: ignore[arg-type]
        RunLog(root / "log.jsonl"),
    )  # fmt: skip
    assert not found.failed
    return found.auc, len(executor.done)


def test_a_study_judges_by_the_measurements_on_disk_and_keeps_none_in_its_models(
    table: FeatureTable, unsteady: list[str], tmp_path: Path
) -> None:
    train = Train.model_validate({**QUICK, "fusions": ["early"]})
    with pytest.raises(StageError, match="which does not exist") as caught:
        judged(tmp_path, table, train)
    assert "radfuse stability" in caught.value.hint
    (tmp_path / PERTURBED).parent.mkdir()
    measured_again(table, unsteady).to_parquet(tmp_path / PERTURBED)
    auc, trained = judged(tmp_path, table, train)
    assert trained == len(auc)
    assert judged(tmp_path, table, train)[1] == 0
    model = load_model(tmp_path / "train" / "early-logistic" / "model.skops")
    assert model.named_steps["stable"].dropped_ == unsteady
    assert model.predict_proba(table.rows()).shape == (42, 2)
    assert not any(isinstance(value, pd.DataFrame) for value in vars(model.named_steps["stable"]).values())
    measured_again(table, unsteady[:1]).to_parquet(tmp_path / PERTURBED)  # measured anew: the arms are out of date
    radiomics = [arm for arm in train.arms(table) if arm.stability is not None]
    assert judged(tmp_path, table, train)[1] == len(radiomics) < trained


def test_permutations_use_the_measurements_too(table: FeatureTable, unsteady: list[str], tmp_path: Path) -> None:
    train = Train.model_validate({**QUICK, "fusions": ["early"]})
    (tmp_path / PERTURBED).parent.mkdir()
    perturbed = measured_again(table, unsteady)
    perturbed.to_parquet(tmp_path / PERTURBED)
    judged(tmp_path, table, train)
    arms = [arm for arm in train.arms(table) if arm.fusion == "early"]
    harmonize = Harmonize.model_validate({"harmonizer": "none"})
    given: dict[str, Any] = {"permutations": 1, "seed": 0}
    found = permute(Store(tmp_path), table, arms, train.splits, harmonize, InProcess(), Silent(), **given)  # type: ignore[arg-type]
    own = arms_of(train, table, perturbed)[[arm.name for arm in train.arms(table)].index("early-logistic")]
    alone = whole_pipeline_auc([own], table, train.splits, harmonize.harmonizer.build())
    assert found.observed == alone
    bare = whole_pipeline_auc([replace(own, stability=None)], table, train.splits, harmonize.harmonizer.build())
    assert bare != alone  # leaving features out did something


def test_the_setting_reads_from_yaml() -> None:
    assert Train.model_validate({"stability": {}}).stability == StabilityFilter()
    assert Train.model_validate({"stability": {"icc": 0.9, "by": "estimate"}}).stability == StabilityFilter(
        icc=0.9, by="estimate"
    )
