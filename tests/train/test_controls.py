"""Negative controls break one link and leave everything else as it was."""

import numpy as np
import pandas as pd
import pytest

from radfuse.data.names import modality_of
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError
from radfuse.harmonize.combat import ComBat
from radfuse.train.controls import Control, control_table, noised, permuted_table, shuffled, without
from radfuse.train.permutation import permuted, whole_pipeline_auc
from radfuse.train.splits.stratified import Stratified
from radfuse.train.stage import Train

FUSED = "fused-average-CT_PET"


@pytest.fixture
def table(make_table) -> FeatureTable:
    made = make_table(modalities=("CT", "PET", "MR"))
    extra = make_table(fused=True).values[[c for c in make_table(fused=True).values if c.startswith("fused-")]]
    ring = pd.DataFrame({"PET:rim.original_glcm_Contrast": np.arange(60.0)}, index=made.values.index)
    return FeatureTable(pd.concat([made.values, extra, ring], axis=1), made.subjects)


def source(table: FeatureTable, changed: FeatureTable) -> np.ndarray:
    """Whose PET each subject now has, read off a column that numbers the subjects."""
    return changed.values["PET:rim.original_glcm_Contrast"].to_numpy().astype(int)


def test_shuffling_moves_whole_rows_of_a_modality_with_regions_images_and_batches(table: FeatureTable) -> None:
    changed = shuffled(table, "PET", seed=1, draw=1)
    order = source(table, changed)
    assert sorted(order) == list(range(60))
    assert (order != np.arange(60)).sum() > 40
    for column in table.values:
        if modality_of(column) in ("PET", FUSED):
            np.testing.assert_array_equal(changed.values[column], table.values[column].to_numpy()[order])
        else:
            pd.testing.assert_series_equal(changed.values[column], table.values[column])
    for moved in ("PET", FUSED):
        batch = table.batch_of(moved)
        assert batch is not None
        np.testing.assert_array_equal(changed.batch_of(moved), batch.to_numpy()[order])
    rest = ["outcome", "batch.CT", "batch.MR", "age", "sex"]
    pd.testing.assert_frame_equal(changed.subjects[rest], table.subjects[rest])


def test_a_draw_is_the_same_whatever_the_order_of_the_columns(table: FeatureTable) -> None:
    turned = FeatureTable(table.values.iloc[:, ::-1], table.subjects)
    pd.testing.assert_frame_equal(
        shuffled(turned, "PET", 1, 1).values[list(table.values)], shuffled(table, "PET", 1, 1).values
    )
    assert not np.array_equal(*(source(table, shuffled(table, "PET", 1, draw)) for draw in (1, 2)))
    assert not np.array_equal(*(source(table, shuffled(table, "PET", seed, 1)) for seed in (1, 2)))


def test_who_lacks_the_modality_goes_on_lacking_it(table: FeatureTable) -> None:
    values = table.values.copy()
    lacking = values.index[[3, 7, 20]]
    pet = [c for c in values if modality_of(c) in ("PET", FUSED)]
    values.loc[lacking, pet] = np.nan
    changed = shuffled(table.with_values(values), "PET", 1, 1).values
    assert list(changed.index[changed[pet].isna().all(axis=1)]) == list(lacking)
    kept = changed[pet].dropna(how="all").sort_values(pet[0]).to_numpy()
    np.testing.assert_array_equal(kept, values[pet].dropna(how="all").sort_values(pet[0]).to_numpy())


def test_groups_change_places_whole_and_nobody_leaves_a_stratum(table: FeatureTable) -> None:
    group = [f"G{i // 2}" for i in range(60)]
    table = FeatureTable(table.values, table.subjects.assign(group=group))
    strata = pd.Series(np.repeat(["x", "y"], 30), index=table.values.index)
    order = source(table, shuffled(table, "PET", 1, 1, strata))
    assert (order[0::2] // 2 == order[1::2] // 2).all()
    assert (order[:30] < 30).all()
    assert (order[30:] >= 30).all()


def test_noise_has_the_columns_mean_and_sd_and_nothing_of_the_subjects(make_table) -> None:
    table = make_table(subjects=2000, features=6, fused=True)
    values = table.values.copy()
    values.iloc[:5, 8] = np.nan
    table = table.with_values(values)
    changed = noised(table, "PET", seed=1, draw=1)
    for column in table.values:
        old, new = table.values[column], changed.values[column]
        if modality_of(column) == "CT":
            pd.testing.assert_series_equal(new, old)
            continue
        assert list(new.isna()) == list(old.isna())
        assert abs(new.mean() - old.mean()) < 4 * old.std() / 2000**0.5
        assert new.std() == pytest.approx(old.std(), rel=4 / (2 * 2000) ** 0.5)
        assert abs(new.corr(old)) < 4 / 2000**0.5
        assert abs(new.corr(table.outcome)) < 4 / 2000**0.5
    pd.testing.assert_frame_equal(changed.subjects, table.subjects)


def test_permuting_the_outcome_is_that_of_the_whole_pipeline(table: FeatureTable) -> None:
    changed = Control("permute-outcome")(table, seed=4, draw=2)
    assert changed.outcome.equals(permuted(table, 4, 2).outcome)
    assert changed.values is table.values


def test_controls_are_read_as_typed(table: FeatureTable) -> None:
    assert Control.parse("shuffle:PET", table) == Control("shuffle", "PET")
    assert Control.parse("permute-outcome", table).title == "permute-outcome"
    assert Control("noise", "PET").touched(table) == ["PET", FUSED]
    assert Control("noise", "MR").touched(table) == ["MR"]
    for text, match in (
        ("shufle:PET", "did you mean 'shuffle'"),
        ("shuffle", "one of CT, PET, MR"),
        (f"shuffle:{FUSED}", "one of CT, PET, MR"),
        ("permute-outcome:PET", "takes no modality"),
    ):
        with pytest.raises(ConfigError, match=match):
            Control.parse(text, table)


def test_false_facts_stand_beside_the_true_ones(make_table) -> None:
    """Whole rows of facts move within a stratum; noise looks like the fact; nothing else in the table changes."""
    table = make_table(subjects=400, features=3)
    known = table.subjects.assign(age=np.arange(400.0), sex=np.where(np.arange(400) % 4, "F", "M").astype(object))
    known.loc[known.index[:5], ["age", "sex"]] = np.nan
    known.loc[known.index[7], "age"] = np.nan
    table = FeatureTable(table.values, known)
    strata = pd.Series(np.repeat(["x", "y"], 200), index=known.index)
    shuffle, noise = (Control.parse(f"{kind}:clinical", table, ("age", "sex")) for kind in ("shuffle", "noise"))
    for control in (shuffle, noise):
        changed = control(table, 1, 1, strata)
        assert changed.values is table.values
        pd.testing.assert_frame_equal(changed.subjects[list(known)], known)
        pd.testing.assert_frame_equal(changed.subjects, control(table, 1, 1, strata).subjects)
        false = changed.subjects[["age (false)", "sex (false)"]].set_axis(["age", "sex"], axis=1)
        assert list(false.index[false.isna().all(axis=1)]) == list(known.index[:5])
        assert abs(false["age"].corr(known["age"])) < (0.95 if control is shuffle else 0.2)
        if control is shuffle:
            at = known.reset_index().set_index("age")
            for age, sex in false.dropna().to_numpy():
                assert at.loc[age, "sex"] == sex
            assert false["age"].iloc[:200].max() < 200 <= false["age"].iloc[200:].min()
        else:
            assert list(false["age"].isna()) == list(known["age"].isna())
            assert false["age"].mean() == pytest.approx(known["age"].mean(), abs=4 * 115 / 20)
            assert (false["sex"] == "F").mean() == pytest.approx(0.75, abs=4 * 0.43 / 20)
    assert shuffle.touched(table) == ["clinical"]
    with pytest.raises(ConfigError, match=r"one of CT, PET$"):
        Control.parse("shuffle:clinical", table)
    with pytest.raises(ConfigError, match="one of CT, PET, clinical"):
        Control.parse("shuffle:age", table, ("age",))


def test_a_control_of_clinical_facts_leaves_what_is_harmonised_alone(make_table) -> None:
    table = make_table(modalities=("CT", "PET", "MR"), features=6)
    train = Train.model_validate({"fusions": ["early"], "clinical_modality": ["age"], "classifiers": ["lda"]})
    arm = next(arm for arm in train.arms(table) if arm.name == "early-lda")
    control = Control.parse("shuffle:clinical", table, train.clinical_modality)
    changed, seen = control(table, 0, 1), control.seen_by(arm)
    assert (seen.name, seen.clinical) == (arm.name, ("age (false)",))
    before, after = (
        each.fitted(rows.rows(), rows.outcome, ComBat(protect=("age",)).build())[:-2].transform(rows.rows())
        for each, rows in ((arm, table), (seen, changed))
    )
    measured = [name for name in before if modality_of(name) in ("CT", "PET", "MR")]
    pd.testing.assert_frame_equal(after[measured], before[measured])
    np.testing.assert_array_equal(before["clinical.age"], table.subjects["age"])
    np.testing.assert_array_equal(after["clinical.age (false)"], changed.subjects["age (false)"])
    assert "clinical.age" not in after
    lesser = without(arm, "clinical", table)
    assert lesser is not None
    assert (lesser.modalities, lesser.clinical) == (("CT", "PET", "MR"), ())


def auc_of(**arms: tuple[str, str, float]) -> pd.DataFrame:
    rows = [(name.replace("_", "-"), *row[:2], "logistic", row[2]) for name, row in arms.items()]
    return pd.DataFrame(rows, columns=["arm", "fusion", "modalities", "classifier", "auc"])


AUC = auc_of(
    single_CT=("single", "CT", 0.70), single_PET=("single", "PET", 0.75), single_MR=("single", "MR", 0.72),
    early=("early", "CT+PET+MR", 0.82),
)  # fmt: skip


def draws_of(control: str, arm: str, *values: float) -> pd.DataFrame:
    return pd.DataFrame({"control": control, "arm": arm, "draw": range(1, len(values) + 1), "auc": values})


def test_the_gain_under_control_worked_by_hand() -> None:
    draws = pd.concat([draws_of("shuffle:PET", "early", 0.72, 0.66, 0.69), draws_of("shuffle:PET", "single-PET", 0.5)])
    early, single = control_table(draws, AUC, "CT", "logistic").to_dict("records")
    assert early["against"] == "single-CT"
    for name, value in {
        "auc": 0.82, "auc_control": 0.69, "auc_control_low": 0.66, "auc_control_high": 0.72, "gain": 0.12,
        "gain_control": -0.01, "gain_control_low": -0.04, "gain_control_high": 0.02,
    }.items():  # fmt: skip
        assert early[name] == pytest.approx(value), name
    assert early["reading"] == (
        "With PET shuffled (3 draws) early falls from 0.82 to 0.69; the gain over single-CT goes from +0.12 to -0.01: "
        "the gain vanishes."
    )
    assert single["reading"] == "With PET shuffled (1 draw) single-PET falls from 0.75 to 0.50."
    assert pd.isna(single["gain"])
    assert pd.isna(single["against"])


def test_the_bar_is_the_best_other_modality_where_the_declared_one_is_controlled() -> None:
    (row,) = control_table(draws_of("noise:CT", "early", 0.8), AUC, "CT", "logistic").to_dict("records")
    assert row["against"] == "single-PET"
    assert row["gain"] == pytest.approx(0.07)
    assert "CT replaced by noise" in row["reading"]


def test_where_several_modalities_are_left_the_bar_is_the_same_arm_without_the_controlled_one() -> None:
    draws = pd.concat([draws_of("shuffle:PET", "early", 0.78), draws_of("without:PET", "early", 0.79)])
    (row,) = control_table(draws, AUC, "CT", "logistic").to_dict("records")
    assert (row["control"], row["against"]) == ("shuffle:PET", "early without PET")
    assert (row["gain"], row["gain_control"]) == pytest.approx((0.03, -0.01))


def test_an_arm_without_a_modality_keeps_its_settings(table: FeatureTable) -> None:
    train = Train.model_validate({
        "fusions": ["early", {"method": "late", "combine": {"method": "rule", "when": "PET > 0.5"}}],
        "with_fused": True,
    })  # fmt: skip
    early, ruled, single = (
        next(arm for arm in train.arms(table) if arm.name.startswith(name)) for name in ("early", "late", "single-CT")
    )
    found = without(early, "PET", table)
    assert found is not None
    assert (found.name, found.modalities) == ("early-logistic-without-PET", ("CT", "MR"))
    assert (found.strategy, found.member, found.seed) == (early.strategy, early.member, early.seed)
    assert without(ruled, "PET", table) is None
    assert without(single, "PET", table) is None
    assert without(found, "CT", table) is None  # one modality is left: a single arm is the bar


def test_a_gain_that_stays_or_never_was_is_called_so() -> None:
    (stays,) = control_table(draws_of("shuffle:PET", "early", 0.78, 0.8), AUC, "CT", "logistic")["reading"]
    assert "a gain stays in every draw, and PET does not bring it" in stays
    (open_,) = control_table(draws_of("shuffle:PET", "early", 0.69, 0.75), AUC, "CT", "logistic")["reading"]
    assert "goes from +0.12 to +0.02: these draws do not tell what is left from 0." in open_
    poor = AUC.assign(auc=[0.70, 0.75, 0.72, 0.69])
    (none,) = control_table(draws_of("shuffle:PET", "early", 0.6), poor, "CT", "logistic")["reading"]
    assert "there was no gain that could vanish" in none
    (once,) = control_table(draws_of("shuffle:PET", "early", 0.6), AUC, "CT", "logistic")["reading"]
    assert once.endswith("the gain vanishes in this one draw.")


def test_the_p_of_permutations_worked_by_hand() -> None:
    first = draws_of("permute-outcome", "early", *np.linspace(0.4, 0.6, 19))
    second = draws_of("permute-outcome", "single-CT", *[0.5] * 17, 0.7, 0.9)
    table = permuted_table(pd.concat([first, second]), AUC).set_index("arm")
    assert table.loc["early", "p"] == 1 / 20
    assert table.loc["single-CT", "p"] == 3 / 20
    assert table.loc["early", "p_adjusted"] == 2 / 20  # one draw of the other arm reaches 0.9
    assert table.loc["early", "null_mean"] == pytest.approx(0.5)
    assert table.loc["early", "reading"].endswith("p = 0.05, the smallest that 19 permutations can give.")
    assert table.loc["single-CT", "reading"].endswith("p = 0.15.")


def test_shuffling_a_modality_takes_its_gain_away_and_permuting_takes_everything(make_table, harmonizer) -> None:
    """The outcome is the sum of a hidden number of each modality, so that fusion gains; each control says why."""
    table = make_table(subjects=80, signal=1.5)
    train, splits = Train(fusions=("early",)), Stratified(folds=4, repeats=1)
    early, ct, pet = (
        next(arm for arm in train.arms(table) if arm.name == name)
        for name in ("early-logistic", "single-CT-logistic", "single-PET-logistic")
    )
    true = whole_pipeline_auc([early, ct, pet], table, splits, harmonizer)
    assert true["early-logistic"] - max(true["single-CT-logistic"], true["single-PET-logistic"]) > 0.05
    under = {
        control: [whole_pipeline_auc([early], control(table, 0, draw), splits, harmonizer) for draw in (1, 2)]
        for control in (Control("shuffle", "PET"), Control("noise", "PET"), Control("permute-outcome"))
    }
    mean = {control.kind: np.mean([found["early-logistic"] for found in draws]) for control, draws in under.items()}
    assert mean["shuffle"] - true["single-CT-logistic"] < 0.02
    assert mean["noise"] - true["single-CT-logistic"] < 0.02
    assert abs(mean["permute-outcome"] - 0.5) < 0.15
