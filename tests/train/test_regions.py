import numpy as np
import pandas as pd
import pytest

from radfuse.data.table import FeatureTable
from radfuse.train.stage import Train
from radfuse.train.steps.imputer import MISSING, Imputer


@pytest.fixture
def table(rng: np.random.Generator) -> FeatureTable:
    """Forty subjects; the outcome is in the rim of CT alone, and a quarter have no node."""
    ids = pd.Index([f"s{number:02d}" for number in range(40)], name="subject")
    outcome = np.arange(40) % 2
    values = pd.DataFrame(
        {
            f"{place}.original_firstorder_F{number}": rng.normal(size=40)
            for place in ("CT", "PET", "CT:rim", "CT:node")
            for number in range(3)
        },
        index=ids,
    )
    values["CT:rim.original_firstorder_F0"] += 4 * outcome
    values.loc[ids[::4], [name for name in values if ":node" in name]] = np.nan
    return FeatureTable(values, pd.DataFrame({"outcome": outcome}, index=ids))


def test_regions_belong_to_their_modality_and_carry_its_signal(table: FeatureTable) -> None:
    train = Train.model_validate(
        {"splits": {"folds": 2, "repeats": 1}, "fusions": ["early"], "bootstrap": 20, "baselines": {"batch": False}}
    )
    arms = {arm.name: arm for arm in train.arms(table)}
    assert set(arms) == {"single-CT-logistic", "single-PET-logistic", "early-logistic"}
    columns = list(table.rows().columns)
    seen = arms["single-CT-logistic"].visible(columns)
    assert seen == [name for name in columns if not name.startswith("PET")]
    from sklearn.preprocessing import FunctionTransformer

    splits = train.splits(table)
    auc = {
        name: train.run_arm(arms[name], table, splits, FunctionTransformer()).folds["auc"].mean()
        for name in ("single-CT-logistic", "single-PET-logistic")
    }
    assert auc["single-CT-logistic"] > 0.9 > auc["single-PET-logistic"]


def test_an_absent_region_is_filled_in_and_is_no_missing_modality(table: FeatureTable) -> None:
    filled = Imputer().fit(table.rows()).transform(table.rows())
    node = "CT:node.original_firstorder_F1"
    assert filled[node].iloc[0] == table.values[node].median()
    assert [name for name in filled if name.startswith(MISSING)] == [f"{MISSING}CT", f"{MISSING}PET"]
    assert (filled[f"{MISSING}CT"] == 0).all()
