"""The section on which features were chosen."""

from dataclasses import replace

import pandas as pd
import pytest

from radfuse.data.study import Study
from radfuse.report.section import Fold, Table
from radfuse.report.selection import SHOWN, selection

ARMS = {"early-logistic": ("early", 0.8), "early-svm": ("early", 0.7), "single-CT-logistic": ("single", 0.6)}


@pytest.fixture
def study() -> Study:
    auc = pd.DataFrame(
        [(arm, fusion, value) for arm, (fusion, value) in ARMS.items()], columns=["arm", "fusion", "auc"]
    )
    steady = pd.DataFrame(
        [(arm, 0.5, 0.4, 0.6, 3.0, 200, 10) for arm in ARMS],
        columns=["arm", "stability", "low", "high", "features", "candidates", "folds"],
    )
    chosen = pd.DataFrame(
        [(arm, f"CT.feature{i:02d}", (30 - i) / 30, 30 - i) for arm in ARMS for i in range(25)],
        columns=["arm", "feature", "share", "folds"],
    )
    tables = {"selection_stability": steady, "selection": chosen}
    nothing = pd.DataFrame()
    return Study("s", {}, nothing, nothing, auc=auc, tables=tables)


def tables_of(study: Study) -> dict[str, Table]:
    blocks = [block for section in selection(study) for block in section.blocks]
    inner = [each for block in blocks if isinstance(block, Fold) for each in block.blocks]
    return {block.caption: block for block in (*blocks, *inner) if isinstance(block, Table)}


def test_the_best_arm_of_each_level_comes_first_with_the_features_it_chose_most(study):
    found = tables_of(study)
    leading = found["The best arm of each level"].rows
    assert sorted(row[0] for row in leading) == ["early-logistic", "single-CT-logistic"]
    assert leading[0][1:] == ("3.0", "200", "0.50", "0.40 to 0.60")
    assert [row[0] for row in found["The other arms"].rows] == ["early-svm"]
    features = found["Features that early-logistic chose most often"].rows
    assert len(features) == SHOWN
    assert features[0] == ("CT.feature00", "30", "100 %")
    assert "Features that early-svm chose most often" not in found


def test_chosen_settings_are_listed_where_there_are_any(study):
    assert "How often each value was chosen" not in tables_of(study)
    tuned = pd.DataFrame(
        [("early-svm", "kernel", "rbf", 0.8, 8)], columns=["arm", "setting", "value", "share", "folds"]
    )
    found = tables_of(replace(study, tables={**study.tables, "tuning": tuned}))
    assert found["How often each value was chosen"].rows == [("early-svm", "kernel", "rbf", "8", "80 %")]


def test_without_arms_there_is_no_section(study):
    assert selection(replace(study, tables={})) == []
    assert selection(replace(study, auc=None)) == []
