"""Late fusion in a study: each way of combining decisions is an arm."""

import pytest
from pydantic import ValidationError

from radfuse.errors import ConfigError
from radfuse.train.fusion.late import Late
from radfuse.train.stage import Train


def test_a_rule_must_be_written_and_about_the_study(make_table):
    with pytest.raises(ConfigError, match="has no rule"):
        Late(combine="rule").build(("CT", "PET"), None, None, 0)
    train = Train(fusions=[{"method": "late", "combine": {"method": "rule", "when": "SPECT > 0.5"}}])
    with pytest.raises(ConfigError, match="names SPECT; the modalities are CT, PET"):
        train.arms(make_table())


def test_each_combination_is_an_arm_of_its_own_and_may_be_the_primary(make_table):
    late = [{"method": "late", "combine": name} for name in ("mean", "stacking", "product")]
    train = Train(fusions=late, primary={"fusion": "late_stacking"})
    names = [arm.name for arm in train.arms(make_table()) if arm.fusion == "late"]
    assert names == ["late-logistic", "late_stacking-logistic", "late_product-logistic"]
    with pytest.raises(ValidationError, match="names late_stacking twice"):
        Train(fusions=[late[1], late[1]])
