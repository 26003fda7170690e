"""What each arm says of a patient, what it is worth on outside patients, and which arms may be asked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run.by_hand import by_hand, made, model_of, patients

from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, RadfuseError, StageError
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.none import Untouched
from radfuse.run import fitted
from radfuse.run.controls import Judging, _by_default
from radfuse.run.lock import alone
from radfuse.run.predict import judge_externally, looked_at, predict_patients, score_row
from radfuse.run.progress import Silent
from radfuse.run.store import Record
from radfuse.train.baselines import MAXIMUM, VOLUMES
from radfuse.train.combinations.vote import Vote
from radfuse.train.controls import Control
from radfuse.train.fusion.chosen import ChosenImage
from radfuse.train.fusion.late import Late

NAMED = {"CT.original_firstorder_F0": f"CT.{VOLUMES[0]}", "PET.original_firstorder_F0": f"PET.{MAXIMUM}"}


def test_a_harmoniser_that_refuses_new_batches_gives_an_error_and_one_that_takes_them_says_so(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    table = made(rng)
    row = table.rows().iloc[[0]].assign(**{"@batch.CT": "z"})
    known = {m: set(table.batch_of(m)) for m in table.modalities}  # type: ignore[arg-type]
    told = {}
    for policy in ("refuse", "largest", "pass"):
        arm, model = model_of(by_hand(tmp_path, table, ComBat(unseen=policy)), "single-CT-logistic")
        told[policy] = score_row(arm, model, row, known)
    assert "rows of batch z, which was not fitted" in told["refuse"]["error"]
    assert "score" not in told["refuse"]
    assert told["largest"]["harmonised"] == "yes; CT by policy (unseen batch z)"
    assert told["pass"]["harmonised"] == "raw: CT (unseen batch z)"
    arm, model = model_of(by_hand(tmp_path, table, Untouched()), "single-CT-logistic")
    assert score_row(arm, model, row, known)["harmonised"] == "no"


def test_what_an_arm_bears_ends_where_nothing_is_left_or_it_joins_nothing(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    table = made(rng).with_values(made(rng).values.rename(columns=NAMED))
    row = table.rows().iloc[[0]]
    nothing, no_pet = ([c for c in table.values if c.startswith(names)] for names in (("CT", "PET"), "PET"))
    run = by_hand(tmp_path, table)
    for name in ("late-logistic", "baseline-volume-suvmax"):
        arm, model = model_of(run, name)
        assert "looks at CT and PET" in score_row(arm, model, row.assign(**dict.fromkeys(nothing, np.nan)), {})["error"]
        found = score_row(arm, model, row.assign(**dict.fromkeys(no_pet, np.nan)), {})
        assert ("error" in found) == (name != "late-logistic")
        assert found["missing"] == "PET"


def test_a_missing_covariate_is_filled_in_and_said_to_be(rng: np.random.Generator, tmp_path: Path) -> None:
    table = made(rng)
    arm, model = model_of(by_hand(tmp_path, table, ComBat(protect=("age",))), "early-logistic")
    row = table.rows().iloc[[0]].assign(**{"@age": np.nan})
    found = score_row(arm, model, row, {m: set(table.batch_of(m)) for m in table.modalities})  # type: ignore[arg-type]
    assert found["harmonised"] == "yes; age filled in"


def test_infinite_features_are_an_error_of_that_patient(rng: np.random.Generator, tmp_path: Path) -> None:
    table = made(rng)
    arm, model = model_of(by_hand(tmp_path, table), "early-logistic")
    row = table.rows().iloc[[0]].assign(**{"CT.original_firstorder_F0": np.inf})
    assert "infinite" in score_row(arm, model, row, {})["error"]


def test_the_chosen_image_is_the_one_that_is_needed(rng: np.random.Generator, tmp_path: Path) -> None:
    table = made(rng)
    second = table.values.filter(like="fused-").rename(columns=lambda c: c.replace("average", "maximum"))
    second = pd.DataFrame(rng.normal(size=second.shape), second.index, second.columns)  # noise is never chosen
    table = FeatureTable(pd.concat([table.values, second], axis=1), table.subjects)
    arm, model = model_of(
        by_hand(tmp_path, table, fusions=(ChosenImage(),), primary={"fusion": "chosen"}), "chosen-logistic"
    )
    assert looked_at(arm, model) == ["fused-average-CT_PET"]
    row = table.rows().iloc[[0]]
    without = [c for c in row if c.startswith("fused-average")]
    assert (
        "looks at fused-average-CT_PET"
        in score_row(arm, model, row.assign(**dict.fromkeys(without, np.nan)), {})["error"]
    )
    without = [c for c in row if c.startswith("fused-maximum")]
    assert "score" in score_row(arm, model, row.assign(**dict.fromkeys(without, np.nan)), {})


def test_the_external_auc_against_a_worked_example(tmp_path: Path, rng: np.random.Generator) -> None:
    # Placements 1, 1, 2/3 of the events and 1, 1, 2/3 of the others; variance (1/27) / 3 + (1/27) / 3, by hand.
    names, outcome, score = list("abcdef"), [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.7, 0.8]
    scores = pd.DataFrame({"subject": names, "arm": "early-logistic", "score": score})
    run = by_hand(tmp_path, made(rng))
    new = patients(*names, outcome=pd.Series(outcome, names))
    external, notes = judge_externally(run, new, scores)
    assert external is not None
    row = external.iloc[0]
    half = 1.959963984540054 * (2 / 81) ** 0.5
    assert row["auc"] == pytest.approx(8 / 9)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(8 / 9 - half), 1.0)
    assert notes == []
    repeated = replace(new, group=pd.Series(list("xxyyzz"), names))
    external, notes = judge_externally(run, repeated, scores)
    assert external is not None
    assert external["ci_low"].isna().all()
    assert "several rows are of one patient" in notes[0]
    external, notes = judge_externally(run, replace(new, seen=dict.fromkeys(names, "P00")), scores)
    assert external is None
    assert "every patient with an outcome was seen" in notes[0]


def test_external_outcomes_judge_probabilities_and_the_thresholds_of_training(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    names, outcome, score = list("abcdef"), [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.7, 0.8]
    scores = pd.concat([pd.DataFrame({"subject": names, "arm": arm, "score": score}) for arm in ("early", "late")])
    (tmp_path / "report" / "tables").mkdir(parents=True)
    points = pd.DataFrame({"arm": "early", "rule": ["youden", "sensitive"], "threshold_all": [0.55, 0.15]})
    points.to_csv(tmp_path / "report" / "tables" / "operating_points.csv", index=False)
    run = by_hand(tmp_path, made(rng))
    external, _ = judge_externally(run, patients(*names, outcome=pd.Series(outcome, names)), scores)
    assert external is not None
    early, late = (external.set_index("arm").loc[arm] for arm in ("early", "late"))
    assert (early["brier"], early["brier_prevalence"]) == pytest.approx((0.79 / 6, 0.25))
    odds = np.array(score) / (1 - np.array(score)) * np.exp(early["intercept"])
    assert (odds / (1 + odds)).sum() == pytest.approx(3.0)
    assert early["slope"] > 0
    decided = early[[c for c in external if c.startswith(("youden", "sensitive"))]].tolist()
    assert decided == pytest.approx([0.55, 2 / 3, 2 / 3, 0.15, 1.0, 1 / 3])
    assert late[[c for c in external if c.startswith(("youden", "sensitive"))]].isna().all()
    assert late["brier"] == early["brier"]
    nobody, _ = judge_externally(run, patients(*names, outcome=pd.Series(outcome, names)), scores.assign(score=np.nan))
    assert nobody is not None
    assert nobody[["brier", "slope", "youden_sensitivity"]].isna().all(axis=None)


def test_the_output_is_a_csv_and_nobody_elses(rng: np.random.Generator, tmp_path: Path) -> None:
    run = by_hand(tmp_path, made(rng))
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.csv"):
        predict_patients(run, tmp_path / "new.csv", [], [], tmp_path / "scores.parquet", Silent())
    held = alone(tmp_path / "work")
    with held, pytest.raises(StageError, match="another radfuse works in"), alone(tmp_path / "work"):
        pass


def test_the_primary_arm_is_the_declared_one(rng: np.random.Generator, tmp_path: Path) -> None:
    table = made(rng)
    assert by_hand(tmp_path, table).primary == "early-logistic"
    assert by_hand(tmp_path, table, primary={"fusion": "intermediate"}).primary == "intermediate"
    assert by_hand(tmp_path, table, fusions=("pls",), primary={"fusion": "pls"}).primary == "pls-logistic"
    vote = Late(combine=Vote())
    declared = by_hand(
        tmp_path, table, fusions=(vote,), classifiers=("lda", "svm"), primary={"fusion": "late", "classifier": "svm"}
    )
    assert declared.primary == f"{vote.title}-svm"
    with pytest.raises(StageError, match="has no arm 'early-logistic'"):
        assert by_hand(tmp_path, table, fusions=(vote,)).primary
    # A join of the same level is another method: the comparison does not take it, so predicting must not either.
    pls = by_hand(tmp_path, table, fusions=("pls",), primary={"fusion": "intermediate"})
    asked = Judging(pls.store, table, pls.config.train, pls.config.harmonize)
    chosen = _by_default(asked, Control("permute-outcome"), pls.offered())
    assert [arm.name for arm in chosen] == [pls.config.train.declared("CT")[1]] == ["single-CT-logistic"]
    with pytest.raises(StageError, match="has no arm 'intermediate'"):
        assert pls.primary


def test_an_arm_that_was_not_trained_or_failed_is_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    run = by_hand(tmp_path, made(rng))
    for name in fitted.TABLES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(StageError, match="early-logistic was not trained"):
        run.arms()
    run.store.close(Record("train", "early-logistic", "another key", "failed", 0.0, what="too few"))
    with pytest.raises(RadfuseError, match="the model of early-logistic was made with other settings"):
        run.arms()
