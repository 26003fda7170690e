"""Late fusion in a study: each way of combining decisions is an arm."""

import pytest
from pydantic import ValidationError

from radfuse.errors import ConfigError
from radfuse.run.judging import arm_settings, chosen_arms, chosen_fusions
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


def test_the_primary_level_is_one_of_those_listed():
    stacking = {"method": "late", "combine": "stacking"}
    assert Train(fusions=[stacking], primary={"fusion": "late"})._primary().title == "late_stacking"
    with pytest.raises(ValidationError, match="names 'late'; the fusion levels are late_stacking, late_product"):
        Train(fusions=[stacking, {"method": "late", "combine": "product"}], primary={"fusion": "late"})
    with pytest.raises(ValidationError, match=r"did you mean 'late.*'\? the fusion levels are late_stacking"):
        Train(fusions=[stacking], primary={"fusion": "late_vote"})


def test_the_command_line_names_one_of_several_late_levels():
    several = Train(fusions=["early", "late", {"method": "late", "combine": "stacking"}])
    assert [member.title for member in chosen_fusions(several, "late_stacking").fusions] == ["late_stacking"]
    assert [member.title for member in chosen_fusions(several, "late").fusions] == ["late", "late_stacking"]
    with pytest.raises(ConfigError, match="late_vote") as caught:
        chosen_fusions(several, "late_vote")
    assert caught.value.hint == "Known: early, late, late_stacking, all."


@pytest.mark.parametrize(("primary", "fusion"), [("late_stacking", "early"), ("late", "late_stacking")])
def test_arms_of_one_level_are_those_of_the_whole_study(make_table, primary, fusion):
    """Else the declared comparison would move with the command line, and the arms' keys with it."""
    levels = ["early", "late", {"method": "late", "combine": "stacking"}]
    train, table = Train(fusions=levels, primary={"fusion": primary}), make_table(subjects=20, features=4)
    whole = {arm.name: arm_settings(arm) for arm in train.arms(table)}
    part = {arm.name: arm_settings(arm) for arm in chosen_arms(train, table, fusion)}
    assert f"{fusion}-logistic" in part
    assert part == {name: whole[name] for name in part}
    assert set(whole) - set(part) == {f"{level.title}-logistic" for level in train.fusions if level.title != fusion}
