"""ComBat as a transformer of feature rows: what it removes, what it keeps, and what it refuses."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.model_selection import RepeatedStratifiedKFold

from radfuse.errors import ConfigError, DataError
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.combat_gam import CombatGAM
from radfuse.harmonize.covbat import CovBat


def rows_of(
    batch: Any, values: Any = None, features: int = 8, seed: int = 0, modality: str = "CT", **facts: Any
) -> pd.DataFrame:
    n = len(batch)
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (n, features)) if values is None else values
    columns = [f"{modality}.F{place}" for place in range(values.shape[1])]
    rows = pd.DataFrame(values, columns=columns, index=[f"S{place}" for place in range(n)])
    rows[f"@batch.{modality}"] = pd.Series(batch, index=rows.index, dtype=object)
    for name, column in facts.items():
        rows[f"@{name}"] = column
    return rows


def sizes(**counts: int) -> list[str]:
    return [label for label, count in counts.items() for _ in range(count)]


def features(rows: pd.DataFrame) -> np.ndarray[Any, Any]:
    return rows[[column for column in rows if not column.startswith("@")]].to_numpy(float)


def test_removes_a_planted_shift_and_scale_and_keeps_a_protected_effect() -> None:
    """Age and scanner go together; age's slope of 0.5 per year survives only where age is protected."""
    rng = np.random.default_rng(1)
    batch = np.array(sizes(a=150, b=150))
    age = np.where(batch == "a", 55.0, 65.0) + rng.normal(0, 5, 300)
    noise = rng.normal(0, 1, (300, 40)) * np.where(batch == "a", 1.0, 2.0)[:, None]
    values = 0.5 * age[:, None] + noise + np.where(batch == "a", 0.0, 7.0)[:, None]
    rows = rows_of(batch, values, age_years=age)
    kept = features(ComBat(protect=("age_years",)).build().fit_transform(rows))
    lost = features(ComBat().build().fit_transform(rows))
    slope = np.polyfit(age, kept.mean(axis=1), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.02)
    assert np.polyfit(age, lost.mean(axis=1), 1)[0] < 0.4
    rest = kept - 0.5 * age[:, None]
    assert abs(rest[batch == "a"].mean() - rest[batch == "b"].mean()) < 0.1
    assert rest[batch == "b"].std() / rest[batch == "a"].std() == pytest.approx(1.0, abs=0.05)


def test_each_modality_has_its_own_batches() -> None:
    rng = np.random.default_rng(3)
    site = np.array(["a", "b"])[np.arange(60) % 2]
    ct = rows_of(site, rng.normal(0, 1, (60, 5)) + 3.0 * (site == "b")[:, None])
    coil = np.array(["x", "y"])[np.arange(60) // 30]
    mr = rows_of(coil, rng.normal(0, 1, (60, 5)) + 3.0 * (coil == "y")[:, None], modality="MR_T1")
    out = ComBat().build().fit_transform(pd.concat([ct, mr], axis=1))
    assert abs(out.loc[site == "a", "CT.F0"].mean() - out.loc[site == "b", "CT.F0"].mean()) < 0.2
    assert abs(out.loc[coil == "x", "MR_T1.F0"].mean() - out.loc[coil == "y", "MR_T1.F0"].mean()) < 0.2


def test_the_order_of_columns_is_the_tables() -> None:
    """Features of two modalities in turn, context between them."""
    ct, mr = rows_of(sizes(a=12, b=9)), rows_of(sizes(a=12, b=9), modality="MR", seed=1)
    whole = pd.concat([ct, mr], axis=1)
    wanted = ComBat().build().fit_transform(whole)
    mixed = whole[sorted(whole.columns, key=lambda name: name.split("F")[-1])]
    found = ComBat().build().fit_transform(mixed)
    assert list(found.columns) == list(mixed.columns) != list(whole.columns)
    np.testing.assert_allclose(features(found[whole.columns]), features(wanted), rtol=1e-12)


def test_rows_in_another_order_give_the_same_rows() -> None:
    rows = rows_of(sizes(a=12, b=9), age_years=np.arange(21.0))
    mixed = rows.sample(frac=1, random_state=1)
    build = ComBat(protect=("age_years",)).build
    np.testing.assert_allclose(
        features(build().fit_transform(mixed).loc[rows.index]), features(build().fit_transform(rows)), rtol=1e-12
    )


def test_the_fit_of_one_fold_ignores_the_other() -> None:
    rows = rows_of(sizes(a=20, b=20, c=20), age_years=np.arange(60.0), seed=5)
    train, test = rows.iloc[::2], rows.iloc[1::2].copy()
    transformer = ComBat(protect=("age_years",)).build().fit(train)
    before = pickle.dumps(transformer)
    test.iloc[:, :8] = 1e9
    transformer.transform(test)
    assert pickle.dumps(transformer) == before
    again = ComBat(protect=("age_years",)).build().fit(train)
    for name, number in again.estimates_["CT"].items():
        assert np.array_equal(number, transformer.estimates_["CT"][name])


def test_stores_with_skops_trusting_only_the_transformer() -> None:
    rows = rows_of(sizes(a=12, b=9), age_years=np.arange(21.0), sex=["F", "M", "F"] * 7)
    transformer = ComBat(protect=("age_years", "sex"), reference_batch={"CT": "a"}).build().fit(rows)
    stored = skops.io.dumps(transformer)
    own = ["radfuse.harmonize.transformer.CombatTransformer"]
    assert skops.io.get_untrusted_types(data=stored) == own
    pd.testing.assert_frame_equal(skops.io.loads(stored, trusted=own).transform(rows), transformer.transform(rows))


def test_a_row_of_an_unseen_batch_is_passed_merged_or_refused() -> None:
    rows = rows_of(sizes(GE=20, SIEMENS=12))
    fresh = rows_of(["new", "GE", None], seed=9)
    passed = ComBat().build().fit(rows)
    assert passed.flagged(fresh)["CT"].tolist() == [True, False, True]
    np.testing.assert_array_equal(features(passed.transform(fresh))[[0, 2]], features(fresh)[[0, 2]])
    largest = ComBat(unseen="largest").build().fit(rows)
    as_ge = fresh.assign(**{"@batch.CT": ["GE", "GE", None]})
    np.testing.assert_array_equal(features(largest.transform(fresh)), features(passed.transform(as_ge)))
    with pytest.raises(DataError, match=r"1 rows of batch new, which was not fitted; fitted: GE 20, SIEMENS 12"):
        ComBat(unseen="refuse").build().fit(rows).transform(fresh)


def test_a_batch_of_one_is_passed_by_default_and_takes_no_part_in_the_fit() -> None:
    rows = rows_of(sizes(GE=20, SIEMENS=12, UNKNOWN=1))
    transformer = ComBat().build().fit(rows)
    out = transformer.transform(rows)
    np.testing.assert_array_equal(features(out)[32], features(rows)[32])
    np.testing.assert_array_equal(features(out)[:32], features(ComBat().build().fit_transform(rows.iloc[:32])))
    report = transformer.report_["CT"]
    assert report["rows_passed"] == 1
    assert report["subjects_passed"] == ["S32"]
    assert report["batches"]["UNKNOWN"] == {"rows": 1, "treatment": "left as it is"}
    assert "batch UNKNOWN has 1 training rows: its rows are left as they are" in report["flags"]


def test_a_batch_of_one_can_be_merged_or_refused() -> None:
    rows = rows_of(sizes(GE=20, SIEMENS=12, UNKNOWN=1))
    renamed = rows.assign(**{"@batch.CT": [*sizes(GE=20, SIEMENS=12), "GE"]})
    wanted = features(ComBat().build().fit_transform(renamed))
    for config in (
        ComBat(single="largest"),
        ComBat(merge={"UNKNOWN": "GE"}),
        ComBat(merge={"UNKNOWN": "largest"}, single="refuse"),
    ):
        transformer = config.build().fit(rows)
        np.testing.assert_array_equal(features(transformer.transform(rows)), wanted)
        assert transformer.report_["CT"]["batches"]["UNKNOWN"]["treatment"] == "counted as GE, shift and scale"
    with pytest.raises(DataError, match=r"batch 'UNKNOWN' has 1 training rows; batches: GE 20, SIEMENS 12, UNKNOWN 1"):
        ComBat(single="refuse").build().fit(rows)


def test_a_batch_of_two_to_four_loses_its_shift_and_keeps_its_scale() -> None:
    rows = rows_of(sizes(a=20, b=3))
    transformer = ComBat().build().fit(rows)
    assert transformer.report_["CT"]["batches"]["b"]["treatment"] == "shift only"
    moved = features(transformer.transform(rows))[20:] - features(rows)[20:]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-12)
    assert np.abs(moved).max() > 0.01
    with pytest.raises(DataError, match="batch 'b' has 3 training rows"):
        ComBat(small="refuse").build().fit(rows)
    passed = ComBat(small="pass").build().fit(rows)
    assert passed.report_["CT"]["rows_passed"] == 3
    merged = ComBat(small="largest").build().fit(rows)
    assert merged.report_["CT"]["batches"]["b"]["treatment"] == "the only batch"


def test_a_batch_of_five_to_nine_is_fitted_and_named() -> None:
    report = ComBat().build().fit(rows_of(sizes(a=20, b=6))).report_["CT"]
    assert report["flags"] == ["batch b has 6 training rows: its estimates are uncertain"]


@pytest.mark.parametrize("labels", [["a"] * 6, list("abcdef"), [None] * 6, [""] * 6])
def test_with_fewer_than_two_batches_nothing_moves(labels: list[str | None]) -> None:
    rows = rows_of(labels)
    transformer = ComBat().build().fit(rows)
    np.testing.assert_array_equal(features(transformer.transform(rows)), features(rows))
    assert "fewer than two batches to fit: nothing to harmonise" in transformer.report_["CT"]["flags"]
    assert transformer.report_["CT"]["rows_passed"] == (0 if labels[0] == labels[1] == "a" else 6)


def test_constant_features_are_left_alone_and_listed() -> None:
    rows = rows_of(sizes(a=10, b=10))
    rows["CT.F2"] = 4.0
    rows.loc[rows["@batch.CT"] == "b", "CT.F5"] = 0.0
    transformer = ComBat().build().fit(rows)
    out = transformer.transform(rows)
    assert transformer.report_["CT"]["left_out"] == ["CT.F2", "CT.F5"]
    pd.testing.assert_frame_equal(out[["CT.F2", "CT.F5"]], rows[["CT.F2", "CT.F5"]], check_exact=True)


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, -np.inf])
def test_a_missing_or_infinite_cell_is_refused_by_name(spoilt: float) -> None:
    rows = rows_of(sizes(a=10, b=10))
    transformer = ComBat().build().fit(rows)
    rows.loc["S3", "CT.F6"] = spoilt
    with pytest.raises(DataError, match=r"CT: 1 of 160 values are missing or infinite, in 1 features such as CT\.F6"):
        ComBat().build().fit(rows)
    with pytest.raises(DataError, match=r"CT\.F6"):
        transformer.transform(rows)


def test_other_columns_than_fitted_are_refused() -> None:
    rows = rows_of(sizes(a=10, b=10))
    transformer = ComBat().build().fit(rows)
    with pytest.raises(DataError, match=r"1 missing \['CT.F3'\], 0 new"):
        transformer.transform(rows.drop(columns="CT.F3"))
    with pytest.raises(DataError, match="or another order"):
        transformer.transform(rows[rows.columns[::-1]])
    with pytest.raises(DataError, match="expected the rows of a FeatureTable, found ndarray"):
        ComBat().build().fit(rows.to_numpy())


def test_a_covariate_that_is_the_batch_is_refused_with_the_table() -> None:
    batch = sizes(a=10, b=10)
    for fact in (np.repeat(["F", "M"], 10), np.repeat([1.0, 2.0], 10)):
        with pytest.raises(ConfigError, match=r"CT: the protected covariates cannot be told from the batches") as error:
            ComBat(protect=("sex",), confounded="refuse").build().fit(rows_of(batch, sex=fact))
        assert "10" in error.value.message.split("\n", 1)[1]
    many = np.repeat([1.0, 2.0], 10) + np.tile(np.linspace(0, 1e-12, 10), 2)
    with pytest.raises(ConfigError, match="cannot be told from the batches"):
        ComBat(protect=("dose",), confounded="refuse").build().fit(rows_of(batch, dose=many))


def test_a_covariate_that_is_the_batch_leaves_the_modality_raw_and_flagged() -> None:
    rows = rows_of(sizes(a=10, b=10), sex=np.repeat(["F", "M"], 10))
    transformer = ComBat(protect=("sex",)).build().fit(rows)
    pd.testing.assert_frame_equal(transformer.transform(rows), rows)
    assert transformer.flagged(rows)["CT"].all()
    assert transformer.report_["CT"]["rows_passed"] == 20
    assert "cannot be told from the batches" in " ".join(transformer.report_["CT"]["flags"])


def test_a_covariate_that_goes_together_with_the_batch_is_named() -> None:
    age = np.repeat([40.0, 80.0], 10) + np.tile(np.arange(10.0), 2)
    transformer = ComBat(protect=("age_years",)).build().fit(rows_of(sizes(a=10, b=10), age_years=age))
    # Between: 2 * 10 * 20^2 = 8000; within: 2 * 82.5 = 165; 8000 / 8165 = 0.98.
    assert (
        "covariate age_years goes together with the batches (98% of its variance)" in transformer.report_["CT"]["flags"]
    )
    apart = rows_of(sizes(a=10, b=10), age_years=np.tile(np.arange(10.0), 2))
    assert ComBat(protect=("age_years",)).build().fit(apart).report_["CT"]["flags"] == []


def test_more_covariates_than_rows_are_refused() -> None:
    rng = np.random.default_rng(0)
    facts = {f"x{place}": rng.normal(0, 1, 8) for place in range(8)}
    with pytest.raises(ConfigError, match="8 rows, 10 columns"):
        ComBat(protect=tuple(facts), confounded="refuse").build().fit(rows_of(sizes(a=4, b=4), **facts))


@pytest.mark.parametrize("outcome", [np.tile([0, 1], 10), np.tile([1, 0], 10), np.tile(["no", "yes"], 10)])
def test_the_outcome_under_another_name_is_refused(outcome: Any) -> None:
    rows = rows_of(sizes(a=10, b=10), relapse=np.tile([0, 1], 10))
    with pytest.raises(ConfigError, match="'relapse' is the outcome under another name"):
        ComBat(protect=("relapse",)).build().fit(rows, outcome)
    ComBat(protect=("relapse",)).build().fit(rows, np.arange(20) % 3 == 0)


@pytest.mark.parametrize("name", ["outcome", "group", "batch.CT"])
def test_only_covariates_can_be_protected(name: str) -> None:
    with pytest.raises(ValidationError, match="cannot be protected"):
        ComBat(protect=(name,))
    rows = rows_of(sizes(a=10, b=10), outcome=np.tile([0, 1], 10))
    transformer = ComBat().build().set_params(protect=(name,))
    with pytest.raises(ConfigError, match="cannot be protected"):
        transformer.fit(rows)


def test_an_unknown_covariate_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'agee' is not in the table; found age_years"):
        ComBat(protect=("agee",)).build().fit(rows_of(sizes(a=10, b=10), age_years=np.arange(20.0)))


def test_missing_and_unseen_covariates_are_filled_from_training_and_flagged() -> None:
    grade = pd.array(["High", "High", "Low", None] * 5, dtype=object)
    age = np.where(np.arange(20) % 10 == 0, np.nan, np.arange(20.0))
    rows = rows_of(sizes(a=10, b=10), age_years=age, grade=grade)
    transformer = ComBat(protect=("age_years", "grade")).build().fit(rows)
    assert transformer.report_["CT"]["covariates"] == {"age_years": 2, "grade": 5}
    assert transformer.covariates_["grade"]["fill"] == "High"
    assert transformer.covariates_["age_years"]["fill"] == np.nanmedian(age)
    fresh = rows.iloc[[1, 2]].assign(**{"@grade": ["Odd", "High"], "@age_years": [3.0, np.nan]})
    flags = transformer.flagged(fresh)
    assert flags["@grade"].tolist() == [True, False]
    assert flags["@age_years"].tolist() == [False, True]
    as_high = fresh.assign(**{"@grade": ["High", "High"]})
    np.testing.assert_array_equal(features(transformer.transform(fresh)), features(transformer.transform(as_high)))
    strict = ComBat(protect=("age_years", "grade"), unseen_level="refuse").build().fit(rows)
    with pytest.raises(DataError, match=r"'grade' has the level 'Odd', which training lacks; known: High, Low"):
        strict.transform(fresh)


def test_a_covariate_must_be_finite_and_stay_of_its_kind() -> None:
    rows = rows_of(sizes(a=10, b=10), age_years=np.arange(20.0))
    transformer = ComBat(protect=("age_years",)).build().fit(rows)
    with pytest.raises(DataError, match="'age_years' is text here and was a number"):
        transformer.transform(rows.assign(**{"@age_years": "old"}))
    infinite = rows.assign(**{"@age_years": np.where(np.arange(20) == 3, np.inf, 1.0)})
    with pytest.raises(DataError, match="'age_years' holds an infinite value"):
        transformer.transform(infinite)
    with pytest.raises(DataError, match="'age_years' holds an infinite value"):
        ComBat(protect=("age_years",)).build().fit(infinite)


def test_a_covariate_without_variation_changes_nothing() -> None:
    rows = rows_of(sizes(a=10, b=10), sex="F", dose=3.0)
    kept = ComBat(protect=("sex", "dose")).build().fit_transform(rows)
    np.testing.assert_array_equal(features(kept), features(ComBat().build().fit_transform(rows)))


def test_the_reference_must_be_among_the_training_rows() -> None:
    rows = rows_of(sizes(a=10, b=10))
    out = ComBat(reference_batch={"CT": "a", "PET": "z"}).build().fit_transform(rows)
    np.testing.assert_array_equal(features(out)[:10], features(rows)[:10])
    with pytest.raises(DataError, match=r"reference batch 'z' has 0 training rows .* fitted: a 10, b 10"):
        ComBat(reference_batch={"CT": "z"}).build().fit(rows)


def test_merges_go_one_step() -> None:
    with pytest.raises(ValidationError, match="b: merged into another label, and another label is merged into it"):
        ComBat(merge={"a": "b", "b": "c"})


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    labels=st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=2, max_size=30),
    fresh=st.lists(st.sampled_from(["a", "b", "c", "d", "e", None]), min_size=1, max_size=6),
    decimals=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_by_default_any_batches_are_survived_and_flagged_rows_stay(
    labels: list[str | None], fresh: list[str | None], decimals: int, seed: int
) -> None:
    """Values rounded to whole numbers give ties and constant features in small batches."""
    train, test = rows_of(labels, features=6, seed=seed), rows_of(fresh, features=6, seed=seed + 1)
    train.iloc[:, :6], test.iloc[:, :6] = train.iloc[:, :6].round(decimals), test.iloc[:, :6].round(decimals)
    transformer = ComBat().build().fit(train)
    for rows in (train, test):
        out, flagged = features(transformer.transform(rows)), transformer.flagged(rows)["CT"].to_numpy()
        assert np.isfinite(out).all()
        np.testing.assert_array_equal(out[flagged], features(rows)[flagged])
    report = transformer.report_["CT"]
    assert report["rows_passed"] == transformer.flagged(train)["CT"].sum()
    assert sum(batch["rows"] for batch in report["batches"].values()) == sum(label is not None for label in labels)


@pytest.mark.cohort
@pytest.mark.parametrize(
    "config",
    [
        ComBat(),
        ComBat(protect=("age_years", "sex", "grade")),
        ComBat(single="largest"),
        CombatGAM(protect=("age_years", "grade")),
        CovBat(least_rows=30),
    ],
    ids=lambda config: f"{config.method}-{config.single}-{len(config.protect)}",
)
def test_repeated_cross_validation_of_the_sarcoma_cohort_runs_and_counts(
    sts: Path, config: ComBat | CombatGAM | CovBat
) -> None:
    """Its MR scanners (GE 25, Philips 6, Siemens 6, unknown 2) give training batches of one row, and unseen ones."""
    clinical = pd.read_csv(sts / "clinical.csv").set_index("subject")
    scanners = pd.read_csv(sts / "scanners.csv").set_index("subject").loc[clinical.index]
    facts = {name: clinical[name].to_numpy() for name in ("age_years", "sex", "grade")}
    rows = rows_of(scanners["batch_mr"].to_numpy(), features=100, modality="MR", **facts)
    outcome = clinical["lung_mets"].to_numpy()
    single, unseen, train_passed, test_passed = 0, 0, 0, 0
    for train, test in RepeatedStratifiedKFold(n_splits=5, n_repeats=10, random_state=0).split(rows, outcome):
        transformer = config.build().fit(rows.iloc[train], outcome[train])
        report = transformer.report_["MR"]
        out = transformer.transform(rows.iloc[test])
        assert np.isfinite(features(out)).all()
        single += any(own["rows"] == 1 for own in report["batches"].values())
        unseen += bool(set(rows["@batch.MR"].iloc[test]) - set(report["batches"]))
        train_passed += report["rows_passed"]
        flagged = transformer.flagged(rows.iloc[test])["MR"].to_numpy()
        np.testing.assert_array_equal(features(out)[flagged], features(rows.iloc[test])[flagged])
        test_passed += int(flagged.sum())
        assert any("grade: " in flag for flag in report["flags"]) == ("grade" in config.protect)
    assert (single, unseen) == (18, 1), "of 50 folds"
    if config.single == "pass":
        assert train_passed == single, "each batch of one is passed"
        assert test_passed == single + 2 * unseen, "its other row is then in the test fold; an unseen batch has two"
    else:
        assert train_passed == 0
        assert test_passed == 2 * unseen


@pytest.mark.parametrize(
    "merge", [{}, {"80.0": "100"}, {80: 100.0}, {"80": "largest"}], ids=["none", "text", "number", "largest"]
)
def test_a_number_is_the_same_batch_however_it_is_stored(merge: Any) -> None:
    number = np.repeat([120, 100, 80], [20, 12, 9])
    config = ComBat(merge=merge, reference_batch={"CT": 120.0})  # type: ignore[dict-item]
    fitted = config.build().fit(rows_of(number))
    report = fitted.report_["CT"]
    assert list(report["batches"]) == ["100", "120", "80"]
    counted = {"100": "counted as 100, shift and scale", "largest": "counted as 120, reference"}
    place = str(next(iter(merge.values()), "")).removesuffix(".0")
    assert report["batches"]["80"]["treatment"] == counted.get(place, "shift and scale")
    for stored in (number.astype(float), number.astype(str), number.astype(float).astype(str)):
        other = rows_of(stored)
        assert not fitted.flagged(other)["CT"].any()
        np.testing.assert_array_equal(features(fitted.transform(other)), features(fitted.transform(rows_of(number))))
        assert config.build().fit(other).report_ == fitted.report_


def test_labels_that_are_no_whole_numbers_stay_as_they_are() -> None:
    labels = ["1.5", "v1.0", "a+b", "007", "1.0.2", "1.0.2+3.0"]
    texts = ["1.5", "v1.0", "a+b", "007", "1.0.2", "1.0.2+3"]
    assert list(ComBat().build().fit(rows_of(labels * 2)).report_["CT"]["batches"]) == sorted(texts)
