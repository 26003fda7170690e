"""A network that learns further facts beside the outcome: targets in training, and nothing else."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from radfuse.config import Config
from radfuse.errors import ConfigError, DataError
from radfuse.train.auxiliary import Auxiliary
from radfuse.train.fusion.intermediate import Intermediate
from radfuse.train.selection.anova import Anova
from radfuse.train.stage import Train
from radfuse.train.statistics import pair_auc
from radfuse.train.steps.auxiliary import auxiliary_targets

GRADED = {"columns": ["grade"], "weight": 3.0}


def cohort(subjects: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """Noisy outcomes; the grade says what they are noise around."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({f"{m}.f{i}": rng.normal(size=subjects) for m in ("CT", "PET") for i in range(10)})
    hidden = rows["CT.f1"] + rows["PET.f1"]
    outcome = (rng.random(subjects) < 1 / (1 + np.exp(-1.5 * hidden))).astype(int)
    return rows.assign(**{"@missing.CT": 0.0, "@missing.PET": 0.0, "@grade": hidden}), pd.Series(outcome)


def fitted(rows: pd.DataFrame, outcome: pd.Series, seed: int = 0, **settings: object):
    strategy = Intermediate(fits=2, epochs=60, patience=60, **settings)
    return strategy.build(("CT", "PET"), Anova().build(), None, seed).fit(rows, outcome)


def test_targets_worked_by_hand():
    rows = pd.DataFrame({"@age": [40.0, 60.0, np.nan], "@sex": ["F", "M", "M"]})
    values, weights = auxiliary_targets(rows, ["age", "sex"])
    assert values[:, 0].tolist() == [-1.0, 1.0, 0.0]
    assert values[:, 1:] == pytest.approx(np.array([[2**0.5, -(2**0.5)], [-(0.5**0.5), 0.5**0.5]])[[0, 1, 1]])
    assert weights.tolist() == [[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.0, 0.25, 0.25]]
    nothing = auxiliary_targets(rows.assign(**{"@age": np.nan, "@sex": None}), ["age", "sex"])
    assert [part.shape for part in nothing] == [(3, 0), (3, 0)]


def test_a_related_fact_teaches_what_noisy_outcomes_hide():
    new, truth = cohort(300, 98)
    gains = []
    for seed in range(3):
        rows, outcome = cohort(80, seed)
        models = fitted(rows, outcome, seed), fitted(rows, outcome, seed, auxiliary=GRADED)
        alone, taught = (pair_auc(truth.to_numpy(), model.predict_proba(new)[:, 1]) for model in models)
        gains.append(taught - alone)
    assert min(gains) > 0
    assert np.mean(gains) > 0.03


def test_of_a_new_patient_no_auxiliary_fact_is_known_and_no_head_is_kept(make_table, harmonizer):
    table = make_table(subjects=30, features=5)
    train = Train(fusions=[{"method": "intermediate", "fits": 2, "epochs": 5, "auxiliary": {"columns": ["age"]}}])
    arm = next(arm for arm in train.arms(table) if arm.name == "intermediate_auxiliary")
    rows = table.rows()
    model = arm.fitted(rows, table.outcome, harmonizer)
    assert not [name for name in model[-1].weights_ if name.startswith("auxiliary")]
    known = model.predict_proba(rows)
    assert np.array_equal(model.predict_proba(rows.assign(**{"@age": np.nan})), known)
    assert np.array_equal(model[-1].predict_proba(model[:-1].transform(rows).drop(columns="@age"))[:, 1], known[:, 1])
    assert np.array_equal(model.predict_proba(rows.assign(**{"@age": -1.0})), known)


def test_a_fact_of_which_some_rows_or_all_know_nothing_is_borne():
    rows, outcome = cohort(40, 1)
    some = fitted(rows.assign(**{"@grade": rows["@grade"].where(rows.index % 2 == 0)}), outcome, auxiliary=GRADED)
    assert np.isfinite(some.predict_proba(rows)).all()
    none = fitted(rows.assign(**{"@grade": np.nan}), outcome, auxiliary=GRADED)
    assert np.array_equal(none.predict_proba(rows), fitted(rows, outcome).predict_proba(rows))


def test_the_rows_that_a_fit_holds_out_do_not_teach_it():
    """The grade of a row that a member holds out is changed: that member's weights stay, the others' move."""
    rows, outcome = cohort(40, 1)
    model = fitted(rows, outcome, auxiliary=GRADED)
    away = model._held_out(outcome.to_numpy(), np.arange(40))
    swapped = rows["@grade"].to_numpy().copy()
    inside = np.flatnonzero(away[0])
    swapped[inside] = swapped[inside][::-1]  # the mean and deviation of the targets stay
    assert (swapped != rows["@grade"]).any()
    # Without early stopping on the way: one epoch is kept, whichever predicts best.
    one = model.set_params(epochs=1)
    before = one.fit(rows, outcome).weights_["CT.weight"]
    after = one.fit(rows.assign(**{"@grade": swapped}), outcome).weights_["CT.weight"]
    assert after[0] == pytest.approx(before[0], abs=1e-12)
    assert np.abs(after[1] - before[1]).max() > 1e-6


def test_targets_that_cannot_be_meant_are_refused(make_table):
    def train(**settings: object) -> Train:
        known_after = settings.pop("known_after_imaging", ())
        return Train(fusions=[{"method": "intermediate", "auxiliary": settings}], known_after_imaging=known_after)

    with pytest.raises(ConfigError, match=r"auxiliary target is grade, not among the subjects' columns \(age, sex\)"):
        train(columns=["grade"]).arms(make_table())
    with pytest.raises(ConfigError, match="auxiliary target is outcome"):
        train(columns=["outcome"], known_later=["outcome"]).arms(make_table())
    with pytest.raises(ValidationError, match="known only after imaging; it may teach"):
        train(columns=["survival_days"])
    assert train(columns=["survival_days"], known_later=["survival_days"]).taught == ("survival_days",)
    with pytest.raises(ValidationError, match="age, which known_after_imaging bars from models"):
        train(columns=["age"], known_after_imaging=("age",))
    rows, outcome = cohort(20, 1)
    with pytest.raises(DataError, match="'grade' is not among the facts of the training rows"):
        fitted(rows.drop(columns="@grade"), outcome, auxiliary=GRADED)
    assert Auxiliary().columns == ()


def test_a_study_reads_the_fact_and_refuses_the_outcome():
    def config(name: str) -> Config:
        taught = {"columns": [name], "known_later": [name]}
        return Config.model_validate(
            {"cohort": {"outcome": "died"}, "train": {"fusions": [{"method": "intermediate", "auxiliary": taught}]}}
        )

    assert "grade" in config("grade").columns.covariates
    with pytest.raises(ValidationError, match="auxiliary target is 'died', which is the outcome itself"):
        config("died")
