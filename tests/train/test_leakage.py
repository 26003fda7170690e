"""The proof that nothing leaks: out of noise comes 1/2, and validation rows leave no trace in what is fitted."""

from typing import Any, Self

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.data.table import FeatureTable, feature_columns
from radfuse.harmonize.combat import ComBat
from radfuse.train.evaluation import fit_fold
from radfuse.train.stage import Train

QUICK: dict[str, Any] = {
    "classifiers": ["logistic", {"method": "random_forest", "trees": 10}, {"method": "xgboost", "trees": 10}],
    "fusions": ["early", {"method": "intermediate", "fits": 2, "epochs": 30, "features": 4}, "late"],
    "baselines": {"clinical": ["age", "sex"]},
    "splits": {"folds": 3, "repeats": 1},
    "operating": None,  # its own proof is in test_operating.py
}
PERMUTATIONS = 15


class KnowsTheOutcome(TransformerMixin, BaseEstimator):
    """A harmoniser that leaks: it shifts every row by what its outcome would make it."""

    def __init__(self, outcome: pd.Series) -> None:
        self.outcome = outcome

    def fit(self, rows: pd.DataFrame, outcome: Any = None) -> Self:
        self.fitted_ = True
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        changed, columns = rows.copy(), feature_columns(rows)
        changed[columns] += 1.5 * self.outcome.loc[rows.index].to_numpy()[:, None]
        return changed


class MeanOfAllRows(TransformerMixin, BaseEstimator):
    """A harmoniser that leaks: it centres by the mean of the whole table, validation rows included."""

    def __init__(self, everything: pd.DataFrame) -> None:
        self.everything = everything

    def fit(self, rows: pd.DataFrame, outcome: Any = None) -> Self:
        self.mean_ = self.everything[feature_columns(rows)].mean().to_numpy()
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        changed, columns = rows.copy(), feature_columns(rows)
        changed[columns] = rows[columns] - self.mean_
        return changed


def permuted(table: FeatureTable, seed: int) -> FeatureTable:
    order = np.random.default_rng(seed).permutation(len(table.subjects))
    return FeatureTable(table.values, table.subjects.assign(outcome=table.outcome.to_numpy()[order]))


def mean_auc(train: Train, table: FeatureTable, arm_name: str, harmonizer: Any) -> float:
    arm = next(arm for arm in train.arms(table) if arm.name == arm_name)
    return float(train.run_arm(arm, table, train.splits(table), harmonizer).folds["auc"].mean())


@pytest.fixture
def combat() -> Any:
    """The harmoniser that people run, protecting what they would protect."""
    return ComBat(protect=("age", "sex")).build()


@pytest.mark.slow
def test_permuted_outcomes_give_one_half_in_every_arm(make_table, combat):
    """Strong signal, strong batches; the outcome permuted. Mean AUC within four standard errors of 1/2."""
    table, train = make_table(subjects=40, features=12, fused=True), Train.model_validate(QUICK)
    found: dict[str, list[float]] = {}
    for seed in range(PERMUTATIONS):
        shuffled = permuted(table, seed)
        splits = train.splits(shuffled)
        for arm in train.arms(shuffled):
            if arm.fusion in ("single", "image") and "CT" not in arm.modalities and arm.classifier != "logistic":
                continue  # the same code as single-CT-*, which runs with every classifier
            result = train.run_arm(arm, shuffled, splits, combat)
            found.setdefault(arm.name, []).append(float(result.folds["auc"].mean()))
    assert len(found) == 4 + 1 + 3 + 1 + 3 + 4
    for name, values in found.items():
        error = np.std(values, ddof=1) / PERMUTATIONS**0.5
        assert error < 0.04, name
        assert abs(np.mean(values) - 0.5) < 4 * error, (name, np.mean(values), error)


def test_the_permutation_proof_notices_a_leak(make_table):
    table, train = make_table(subjects=40, features=12), Train.model_validate(QUICK)
    shuffled = [permuted(table, seed) for seed in range(3)]
    values = [mean_auc(train, one, "single-CT-logistic", KnowsTheOutcome(one.outcome)) for one in shuffled]
    assert min(values) > 0.8


def altered(table: FeatureTable, subjects: pd.Index) -> FeatureTable:
    """Other features, gaps, batches, facts and outcomes for the given subjects."""
    rng = np.random.default_rng(9)
    values, facts = table.values.copy(), table.subjects.copy()
    noise = rng.normal(3, 50, (len(subjects), values.shape[1]))
    noise[rng.random(noise.shape) < 0.3] = np.nan
    values.loc[subjects] = noise
    values.loc[subjects[0], table.columns_of("CT")] = np.nan
    facts.loc[subjects, "outcome"] = 1 - facts.loc[subjects, "outcome"]
    facts.loc[subjects, "age"] = 1e6
    facts.loc[subjects, "sex"] = "unheard of"
    for batch in [c for c in facts if c.startswith("batch.")]:
        facts.loc[subjects, batch] = "a new scanner"
    return FeatureTable(values, facts)


def fitted(model: Any) -> dict[str, str]:
    """A hash of the bytes of every attribute of every step of a pipeline, trees and network weights included."""
    return {
        f"{step}.{name}": joblib.hash(value)
        for step, part in model.named_steps.items()
        for name, value in vars(part).items()
    }


def test_validation_rows_leave_every_fitted_attribute_bit_identical(make_table, combat):
    table, train = make_table(subjects=40, fused=True), Train.model_validate(QUICK)
    splits = train.splits(table)
    validates = splits[(splits["repeat"] == 0) & (splits["fold"] == 1)]["subject"]
    other = altered(table, pd.Index(validates))
    for arm in train.arms(table):
        before = fitted(fit_fold(arm, table, splits, 0, 1, combat))
        after = fitted(fit_fold(arm, other, splits, 0, 1, combat))
        elsewhere = fitted(fit_fold(arm, table, splits, 0, 2, combat))
        assert before == after, arm.name
        assert len(before) > 4
        assert before != elsewhere, arm.name


def test_the_bit_identity_proof_notices_a_leak(make_table):
    table, train = make_table(subjects=40), Train.model_validate(QUICK)
    splits = train.splits(table)
    other = altered(table, pd.Index(splits[splits["fold"] == 1]["subject"]))
    arm = train.arms(table)[0]
    before = fitted(fit_fold(arm, table, splits, 0, 1, MeanOfAllRows(table.values)))
    after = fitted(fit_fold(arm, other, splits, 0, 1, MeanOfAllRows(other.values)))
    assert before["harmonize.mean_"] != after["harmonize.mean_"]


def test_the_outcome_is_never_among_the_rows_that_a_model_sees(make_table, harmonizer):
    table, train = make_table(), Train.model_validate(QUICK)
    flipped = FeatureTable(table.values, table.subjects.assign(outcome=1 - table.outcome))
    pd.testing.assert_frame_equal(table.rows(), flipped.rows())
    for arm in train.arms(table):
        columns = arm.pipeline(list(table.rows().columns), harmonizer).named_steps["columns"].columns
        assert not [column for column in columns if "outcome" in column or "group" in column]
        assert arm.fusion == "baseline" or not [
            c for c in columns if c.startswith("@batch") and c[7:] not in arm.modalities
        ]


def test_only_the_harmoniser_may_use_covariates(make_table, harmonizer):
    """Facts about the patient change nothing in a radiomics arm whose harmoniser ignores them."""
    table, train = make_table(), Train.model_validate(QUICK)
    splits = train.splits(table)
    rng = np.random.default_rng(0)
    changed = FeatureTable(table.values, table.subjects.assign(age=rng.normal(size=60), sex="X"))
    for arm in [arm for arm in train.arms(table) if arm.fusion != "baseline"]:
        first, second = (fit_fold(arm, t, splits, 0, 0, harmonizer).predict_proba(t.rows()) for t in (table, changed))
        assert (first == second).all(), arm.name
