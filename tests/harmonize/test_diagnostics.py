"""Before and after, against scipy and against what was planted."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score, silhouette_score
from sklearn.model_selection import StratifiedGroupKFold

from radfuse.harmonize import Harmonizer
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.diagnostics import diagnose
from radfuse.harmonize.differences import kruskal, levene
from radfuse.harmonize.effects import effects
from radfuse.harmonize.held_out import hold_out
from radfuse.harmonize.nested_combat import NestedCombat
from radfuse.harmonize.none import Untouched


def rows_with(shift: float, spread: float = 1.0, n: int = 90, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    own = np.arange(n) % 3
    age = rng.normal(0, 1, n)
    values = rng.normal(0, 1, (n, 30)) * np.where(own == 1, spread, 1.0)[:, None] + shift * own[:, None]
    values += 1.5 * age[:, None] * (np.arange(30) < 20)
    table = pd.DataFrame(values, columns=[f"CT.F{place}" for place in range(30)], index=[f"S{i}" for i in range(n)])
    return table.assign(**{"@batch.CT": np.array(["a", "b", "c"])[own], "@age_years": age})


def found_for(rows: pd.DataFrame, config: Harmonizer, **given: object) -> dict:
    fitted = config.build().fit(rows)
    return diagnose(rows, fitted.transform(rows), config.build, report=fitted.report_, **given)["CT"]


def test_the_tests_are_scipys(rng: np.random.Generator) -> None:
    batch = np.repeat(["a", "b", "c"], [12, 7, 9]).astype(object)
    values = np.round(rng.normal(0, 1, (28, 6)) * (1 + (batch == "b"))[:, None], 1)  # rounded, so that there are ties
    for column in range(6):
        groups = [values[batch == name, column] for name in "abc"]
        assert kruskal(values, batch)[column] == pytest.approx(stats.kruskal(*groups).pvalue, rel=1e-10)
        assert levene(values, batch)[column] == pytest.approx(stats.levene(*groups, center="median").pvalue, rel=1e-10)


def test_a_planted_batch_is_found_before_and_gone_after() -> None:
    found = found_for(rows_with(2.0, spread=3.0), ComBat(protect=("age_years",)), protect=("age_years",))
    assert found["kruskal"]["before"] == 1.0
    assert found["kruskal"]["after"] < 0.05
    assert found["levene"]["before"] > 0.6
    assert found["levene"]["after"] < 0.2
    explained = found["variance_explained"]
    assert explained["batch"]["before"] > 0.3
    assert explained["batch"]["after"] < 0.03
    assert explained["batch"]["chance"] == pytest.approx(2 / 89)
    assert explained["covariates"]["after"] > explained["covariates"]["before"]
    accuracy = found["batch_accuracy"]
    assert accuracy["before"] > 0.8
    assert abs(accuracy["after"] - 1 / 3) < 0.2
    assert (accuracy["rows"], accuracy["folds"]) == (90, 5)
    assert "100% of the features differ between batches before" in found["verdict"]


def test_without_a_batch_effect_it_says_so() -> None:
    found = found_for(rows_with(0.0), Untouched())
    assert found["kruskal"]["before"] < 0.05
    assert found["verdict"].startswith("Few features differ between batches to begin with")
    assert found["pca"]["before"] == found["pca"]["after"]


def test_principal_coordinates_are_those_of_the_standardised_features() -> None:
    rows = rows_with(2.0)
    found = found_for(rows, ComBat())
    values = rows.iloc[:, :30].to_numpy(float)
    standard = (values - values.mean(0)) / values.std(0)
    first = np.array(found["pca"]["before"])[:, 0]
    assert (first**2).sum() == pytest.approx(np.linalg.svd(standard, compute_uv=False)[0] ** 2)
    assert found["pca"]["subjects"] == list(rows.index)
    gap = {
        moment: abs(np.array(found["pca"][moment])[::3, 0].mean() - np.array(found["pca"][moment])[2::3, 0].mean())
        for moment in ("before", "after")
    }
    assert gap["after"] < 0.2 * gap["before"]


def test_batch_and_outcome_that_go_together_are_named() -> None:
    rows = rows_with(1.0)
    linked = pd.Series((rows["@batch.CT"] == "a").astype(int))
    found = found_for(rows, ComBat(), outcome=linked)
    assert found["batch_outcome"]["cramers_v"] == pytest.approx(1.0)
    assert found["batch_outcome"]["counts"]["a"] == {"0": 0, "1": 30}
    assert "Batch and outcome go together (Cramer's V 1.00" in found["verdict"]
    two = rows[rows["@batch.CT"] != "c"]
    fisher = found_for(two, ComBat(), outcome=linked)["batch_outcome"]
    assert fisher["p"] == pytest.approx(stats.fisher_exact([[0, 30], [30, 0]]).pvalue)
    assert found_for(rows, ComBat(), outcome=linked * 0)["batch_outcome"]["p"] is None


def test_too_few_rows_are_said_and_not_computed() -> None:
    rows = rows_with(1.0, n=6)
    alone = rows.assign(**{"@batch.CT": list("abcdef")})
    found = found_for(alone, ComBat())
    assert found["kruskal"] == {"before": None, "after": None}
    assert found["batch_accuracy"] is None
    assert found["batch_accuracy_note"] == "fewer than two batches have two rows or more"
    assert "Not harmonised: 0 of 6 batches" in found["verdict"]
    one = found_for(rows.assign(**{"@batch.CT": "a"}), ComBat())
    assert one["verdict"] == "All rows are of one batch: there is nothing to harmonise."


def test_tiny_batches_take_no_part_in_the_held_out_test() -> None:
    rows = rows_with(3.0).iloc[np.r_[0:90:3, 1:90:3, 2:8:3]]  # batches of 30, 30 and 2
    accuracy = found_for(rows, ComBat())["batch_accuracy"]
    assert (accuracy["rows"], accuracy["folds"], accuracy["chance"]) == (60, 5, 0.5)
    few = found_for(rows_with(3.0, n=9), ComBat())["batch_accuracy"]
    assert (few["rows"], few["folds"]) == (9, 3)


def test_a_feature_that_varies_only_outside_a_fold_tells_nothing() -> None:
    rows = rows_with(1.0, n=30)
    rows = rows[["@batch.CT"]].assign(**{"CT.F0": np.r_[1.0, np.zeros(29)]})
    accuracy = found_for(rows, Untouched())["batch_accuracy"]
    assert accuracy["before"] == accuracy["after"] <= 0.5


def test_a_fold_that_the_harmoniser_refuses_is_noted() -> None:
    rows = rows_with(1.0, n=30).iloc[np.r_[0:30:3, 1:30:3, 2:15:3]]  # batches of 10, 10 and 5
    found = found_for(rows, ComBat(small="refuse"))
    assert found["batch_accuracy"] is None
    assert "DataError: CT: batch 'c' has 4 training rows" in found["batch_accuracy_note"]


def test_rows_without_a_label_and_modalities_without_batches_take_no_part() -> None:
    rows = rows_with(1.0)
    rows["PET.F0"] = 1.0
    rows["@batch.MR"] = None
    rows["MR.F0"] = 1.0
    rows.loc["S0", "@batch.CT"] = None
    fitted = ComBat().build().fit(rows)
    found = diagnose(rows, fitted.transform(rows), ComBat().build, report=fitted.report_)
    assert list(found) == ["CT"]
    assert found["CT"]["batches"] == {"a": 29, "b": 30, "c": 30}
    assert "S0" not in found["CT"]["pca"]["subjects"]


def test_constant_features_are_not_judged() -> None:
    rows = rows_with(1.0)
    for place in range(30):
        rows[f"CT.F{place}"] = 1.0
    found = found_for(rows, ComBat())
    assert found["features"] == 0
    assert found["variance_explained"]["batch"]["before"] is None
    assert found["pca"]["before"][0] == [0.0, 0.0]


def test_rows_that_the_fit_has_not_seen_are_judged_too() -> None:
    found = found_for(rows_with(2.0, spread=3.0), ComBat(protect=("age_years",)), protect=("age_years",))
    for name in ("kruskal", "levene"):
        assert 0 <= found[name]["held_out"] < 0.2 < found[name]["before"]
    assert found["variance_explained"]["batch"]["held_out"] < 0.05
    assert found["silhouette"]["before"] > 0.1
    assert found["silhouette"]["after"] < 0.02
    assert found["silhouette"]["held_out"] < 0.02
    assert found["batch_auc"]["before"] > 0.9
    assert abs(found["batch_auc"]["after"] - 0.5) < 0.2
    assert "in rows that the fit has not seen" in found["verdict"]


def test_the_silhouette_is_scikit_learns_and_the_explained_variance_is_r_squared() -> None:
    rows = rows_with(1.0)
    found = found_for(rows, Untouched())
    values, batch = rows.iloc[:, :30].to_numpy(float), rows["@batch.CT"]
    assert found["silhouette"]["before"] == pytest.approx(silhouette_score(values / values.std(axis=0), batch))
    dummies = pd.get_dummies(batch).to_numpy(float)
    fitted = LinearRegression().fit(dummies, values).predict(dummies)
    shares = r2_score(values, fitted, multioutput="raw_values")
    assert found["variance_explained"]["batch"]["before"] == pytest.approx(np.median(shares))


def test_a_covariate_that_goes_with_the_batch_is_lost_unless_protected() -> None:
    rows = rows_with(2.0)
    older = 1.5 * (rows["@batch.CT"] == "b")
    rows["@age_years"] += older
    rows.iloc[:, :20] += 1.5 * older.to_numpy()[:, None]  # the effect of age on the first 20 features
    kept = found_for(rows, ComBat(protect=("age_years",)), protect=("age_years",))["covariate_effect"]["age_years"]
    assert kept["kept"] == pytest.approx(1.0, abs=0.15)
    assert kept["correlation"] > 0.95
    gone = found_for(rows, ComBat(), protect=("age_years",))
    assert gone["covariate_effect"]["age_years"]["kept"] < 0.75
    assert "Of the effect of age_years, 6" in gone["verdict"]


def test_the_design_is_judged_as_numpy_does() -> None:
    rows = rows_with(1.0)
    found = found_for(rows, ComBat(protect=("age_years",)), protect=("age_years",))["design"]
    assert (found["columns"], found["rank"]) == (4, 4)
    assert found["condition"] < 3
    same = rows.assign(**{"@age_years": (rows["@batch.CT"] == "a").astype(float)})
    bad = found_for(same, ComBat(protect=("age_years",)), protect=("age_years",))["design"]
    assert (bad["columns"], bad["rank"], bad["condition"]) == (4, 3, None)


def test_batches_of_one_outcome_are_named() -> None:
    rows = rows_with(1.0)
    outcome = pd.Series(np.where(rows["@batch.CT"] == "a", 1, np.arange(90) // 3 % 2), index=rows.index)
    found = found_for(rows, ComBat(), outcome=outcome)
    assert found["one_class"] == ["a"]
    assert "All patients of a have the same outcome" in found["verdict"]


def test_densities_are_scipys_and_integrate_to_one() -> None:
    rows = rows_with(3.0)
    drawn = found_for(rows, ComBat())["densities"]
    assert len(drawn) == 3
    first = drawn[0]
    own = rows.loc[rows["@batch.CT"] == "a", first["feature"]].to_numpy(float)
    np.testing.assert_allclose(first["before"]["a"], stats.gaussian_kde(own)(first["grid"]))
    assert set(first["after"]) == {"a", "b", "c"}


def test_further_batch_variables_are_judged() -> None:
    rows = rows_with(0.0).assign(**{"@kernel": np.array(["soft", "sharp"])[np.arange(90) // 3 % 2]})
    rows.iloc[:, :30] += 3.0 * (rows[["@kernel"]] == "soft").to_numpy(float)
    config = NestedCombat(then={"CT": ("kernel",)})
    others = found_for(rows, config)["others"]
    assert others["kernel"]["kruskal"] == {"before": 1.0, "after": 0.0}


def test_the_table_of_features_says_the_same() -> None:
    rows = rows_with(2.0).assign(**{"CT.F7": 1.0})
    fitted = ComBat().build().fit(rows)
    table = effects(rows, fitted.transform(rows))
    assert table.index.tolist() == [f"CT.F{place}" for place in range(30)]
    assert table.loc["CT.F7"].isna().all()
    share = (table["location_q_before"].dropna() < 0.05).mean()
    assert share == found_for(rows, ComBat())["kruskal"]["before"]
    kept = table["variance_by_batch_before"].dropna()
    assert kept.median() == pytest.approx(found_for(rows, ComBat())["variance_explained"]["batch"]["before"])
    assert effects(rows.drop(columns="@batch.CT"), rows.drop(columns="@batch.CT")).empty


class Witness(TransformerMixin, BaseEstimator):
    """Change nothing, and see that no group is both fitted and new."""

    together: ClassVar[list[bool]] = []

    def fit(self, X: pd.DataFrame, y: object = None) -> "Witness":
        self.groups_ = set(X["@group"])
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        if set(X["@group"]) != self.groups_:
            Witness.together.append(bool(self.groups_ & set(X["@group"])))
        return X


def test_the_held_out_rows_are_of_patients_that_the_fit_has_not_seen() -> None:
    """Two lesions of each patient: without groups a patient's other lesion is fitted."""
    rows = rows_with(1.0).assign(**{"@group": [f"P{place // 6 * 3 + place % 3}" for place in range(90)]})
    assert rows.groupby("@group").size().eq(2).all()
    columns = [name for name in rows if name.startswith("CT.")]
    batch = rows["@batch.CT"].to_numpy(dtype=object)
    Witness.together.clear()
    held = hold_out(rows, columns, batch, Witness, 0)
    assert held is not None
    assert (held.folds, len(held.places), Witness.together) == (5, 90, [False] * 5)
    np.testing.assert_array_equal(held.values, rows[columns].to_numpy(float))


def test_batches_of_one_patient_cannot_be_told_in_others() -> None:
    rows = rows_with(1.0, n=30)
    columns = [name for name in rows if name.startswith("CT.")]
    batch = rows["@batch.CT"].to_numpy(dtype=object)
    assert hold_out(rows.assign(**{"@group": batch}), columns, batch, Untouched().build, 0) is None
    two = np.where(batch == "a", "P0", [f"P{place}" for place in range(30)])  # of b and c only
    held = hold_out(rows.assign(**{"@group": two}), columns, batch, Untouched().build, 0)
    assert held is not None
    assert (held.batches, len(held.places)) == (2, 20)


def test_where_the_groups_leave_a_fit_one_batch_nothing_is_told() -> None:
    """Held out together, the first two groups leave a row of batch a alone, from which nothing can be learnt."""
    groups, batch = ["G1", "G2", "G1", "G2", "G3"], np.array(["b", "b", "a", "b", "a"], dtype=object)
    dealt = StratifiedGroupKFold(2, shuffle=True, random_state=0).split(batch, batch, groups)
    assert [set(batch[train]) for train, _ in dealt].count({"a"}) == 1
    rows = pd.DataFrame({"CT.F0": [0.0, 1.0, 2.0, 3.0, 5.0], "@batch.CT": batch, "@group": groups})
    held = hold_out(rows, ["CT.F0"], batch, Untouched().build, 0)
    assert held is not None
    assert 0.0 <= held.accuracy["after"] <= 1.0
    assert 0.5 in (held.auc["before"], held.auc["after"])
