"""Every way of combining decisions keeps the contract of its family."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radfuse.train.classifiers.logistic import Logistic
from radfuse.train.combinations import Combination
from radfuse.train.combinations.expression import parse
from radfuse.train.fusion.late import Late
from radfuse.train.selection.anova import Anova
from radfuse.train.statistics import pair_auc

MEMBERS = sorted(Combination.members())
RULE = {"method": "rule", "when": "CT > 0.4 or PET > 0.4"}
MODALITIES = ("CT", "PET", "MR")
NAN = float("nan")
THREE = st.lists(st.one_of(st.just(NAN), st.floats(0, 1)), min_size=3, max_size=3).filter(
    lambda row: not all(np.isnan(row))
)


def late(method: str, modalities: tuple[str, ...] = MODALITIES):
    strategy = Late(combine=RULE if method == "rule" else method)
    return strategy.build(modalities, Anova().build(), Logistic().build(0), 0)


def combiner(choice, outcome=(0, 1), outside=None, modalities=MODALITIES):
    fitted = Combination.choose(choice).build(modalities)
    return fitted.fit(np.array(outcome), outside)


def test_the_family_has_the_members_that_the_issue_names():
    assert set(MEMBERS) == {"mean", "weighted", "stacking", "product", "vote", "rule"}


@pytest.mark.parametrize("method", MEMBERS)
def test_two_signals_beat_each_alone(method, seen, new):
    alone = [pair_auc(new[1].to_numpy(), late("mean", (m,)).fit(*seen).predict_proba(new[0])[:, 1]) for m in MODALITIES]
    probability = late(method).fit(*seen).predict_proba(new[0])
    assert ((probability >= 0) & (probability <= 1)).all()
    assert pair_auc(new[1].to_numpy(), probability[:, 1]) > max(alone) + 0.03


@pytest.mark.parametrize("method", MEMBERS)
def test_missing_modalities_are_borne_and_none_gives_the_prevalence(method, seen, new):
    model = late(method).fit(*seen)
    without = new[0].assign(**{"@missing.PET": 1.0})
    assert pair_auc(new[1].to_numpy(), model.predict_proba(without)[:, 1]) > 0.65
    nothing = new[0].assign(**{f"@missing.{m}": 1.0 for m in MODALITIES})
    assert model.predict_proba(nothing)[:, 1] == pytest.approx(np.full(300, seen[1].mean()))


@pytest.mark.parametrize("method", MEMBERS)
@given(
    st.lists(
        st.lists(st.one_of(st.just(NAN), st.floats(0, 1)), min_size=3, max_size=3).filter(
            lambda row: not all(x != x for x in row)
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_row_gives_a_probability_that_no_modality_can_lower_by_being_surer(method, rows):
    outside = np.array([[0.2, 0.4, NAN], [0.7, 0.6, 0.5], [0.4, 0.1, 0.2], [0.9, 0.4, 0.6]])
    fitted = combiner(RULE if method == "rule" else method, (0, 1, 0, 1), outside)
    each = np.array(rows)
    one = fitted.combine(each)
    assert ((one >= 0) & (one <= 1)).all()
    surer = np.minimum(each + 0.1, 1.0)
    assert (fitted.combine(surer) >= one - 1e-12).all()
    assert fitted.combine(each[::-1]) == pytest.approx(one[::-1], abs=1e-15)


def test_evidence_of_two_modalities_worked_by_hand():
    """0.7 and 0.6 where three of ten have the outcome: log odds .847 + .405 + .847, so 0.8909."""
    two = ("CT", "PET")
    each = np.array([[0.7, 0.6], [0.7, NAN]])
    assert combiner("product", [1] * 3 + [0] * 7, None, two).combine(each) == pytest.approx([0.8909, 0.7], abs=5e-5)
    assert combiner("product", [1, 0], None, two).combine(each)[0] == pytest.approx(0.7778, abs=5e-5)


def test_weights_are_the_inverse_of_the_brier_score():
    # Brier scores 0.01 and 0.09, and none for MR, which counts as one that says the prevalence: 0.25.
    outcome = np.array([0, 1])
    outside = np.array([[0.1, 0.3, NAN], [0.9, 0.7, NAN]])
    fitted = combiner("weighted", outcome, outside)
    inverse = np.array([1 / 0.01, 1 / 0.09, 1 / 0.25])
    assert fitted.weights_ == pytest.approx(inverse / inverse.sum())
    assert fitted.combine(np.array([[0.5, NAN, 0.2]])) == pytest.approx([(100 * 0.5 + 4 * 0.2) / 104])


def test_stacking_agrees_with_scikit_learn_where_no_weight_would_be_negative_and_drops_the_wrong_way_round():
    from sklearn.linear_model import LogisticRegression

    from radfuse.train.steps.combiners import log_odds

    rng = np.random.default_rng(0)
    outcome = rng.integers(0, 2, 400)
    right = 1 / (1 + np.exp(-(outcome - 0.5 + rng.normal(size=(2, 400))).T))
    fitted = combiner("stacking", outcome, right, ("CT", "PET"))
    theirs = LogisticRegression(C=1.0, tol=1e-10).fit(log_odds(right) - log_odds(outcome.mean()[None]), outcome)
    assert fitted.weights_ == pytest.approx(theirs.coef_[0], abs=1e-5)
    assert fitted.intercept_ == pytest.approx(theirs.intercept_[0], abs=1e-5)
    wrong = np.column_stack([right[:, 0], 1 - right[:, 1]])
    assert combiner("stacking", outcome, wrong, ("CT", "PET")).weights_[1] == 0.0


def test_votes_come_before_probabilities():
    fitted = combiner({"method": "vote", "threshold": 0.5})
    two_of_three, one_of_three, tie = fitted.combine(np.array([[0.51, 0.52, 0.0], [0.99, 0.49, 0.49], [0.6, 0.3, NAN]]))
    assert one_of_three < tie < two_of_three
    assert one_of_three < 0.5 < two_of_three


def test_a_rule_holds_above_one_half_and_its_margin_is_the_nearest_comparison():
    rule = {"method": "rule", "when": "PET > 0.5 and MR > 0.5 and not CT > 0.9"}
    each = np.array([[0.5, 0.8, 0.6], [0.95, 0.8, 0.6], [0.5, 0.8, 0.4], [NAN, 0.8, NAN], [0.2, NAN, NAN]])
    one = combiner(rule).combine(each)
    # Of (CT, PET, MR): the first row's nearest is MR, log odds of 0.6 against 0.5.
    assert one[0] == pytest.approx(0.6)
    assert (one > 0.5).tolist() == [True, False, False, True, True]
    assert combiner({"method": "rule", "when": "PET > 0.7"}).combine(np.array([[0.5, NAN, 0.5]])) == pytest.approx(
        [0.5]
    )


def test_fused_images_are_named_in_quotes():
    rule = {"method": "rule", "when": "'fused-average-CT_PET' > 0.6 or CT > 0.9"}
    fitted = combiner(rule, modalities=("CT", "fused-average-CT_PET"))
    assert (fitted.combine(np.array([[0.5, 0.7], [0.5, 0.5]])) > 0.5).tolist() == [True, False]


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ("PET >", "cannot be read"),
        ("PET > 1.5", "PET > 1.5"),
        ("0.5 < PET < 0.9", "0.5 < PET < 0.9"),
        ("__import__('os').system('x') > 0.5", "holds"),
        ("PET == 0.5", "PET == 0.5"),
        ("-PET > 0.5", "-PET > 0.5"),
    ],
)
def test_what_is_not_a_rule_is_refused_with_the_part_that_is_wrong(rule, part):
    with pytest.raises(ValueError, match="Write comparisons such as") as caught:
        parse(rule)
    assert part in str(caught.value)
    with pytest.raises(ValueError, match="Write comparisons such as"):
        Combination.choose({"method": "rule", "when": rule})


def test_inner_predictions_never_come_from_a_model_that_saw_the_row_or_its_group(seen):
    """A classifier that remembers its rows would stack perfectly if it saw them; groups are kept together too."""
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(3)
    rows = pd.DataFrame({f"{m}.f{i}": rng.normal(size=60) for m in ("CT", "PET") for i in range(4)})
    rows = pd.concat([rows, rows + 1e-9], ignore_index=True)  # every patient twice
    outcome = pd.Series(np.tile(rng.integers(0, 2, 60), 2))
    grouped = rows.assign(**{"@group": [f"P{i % 60}" for i in range(120)]})
    remembers = KNeighborsClassifier(1)
    build = Late(combine="weighted", calibrate_from=None).build
    apart = build(("CT", "PET"), Anova(most=4).build(), remembers, 0).fit(grouped, outcome)
    together = build(("CT", "PET"), Anova(most=4).build(), remembers, 0).fit(rows, outcome)
    inner = [
        m._out_of_fold(rows.iloc[:, :4].to_numpy(), outcome.to_numpy(), g)
        for m, g in ((apart, grouped["@group"].to_numpy()), (together, np.arange(120)))
    ]
    wrong = [np.mean((one - outcome) ** 2) for one in inner]
    assert wrong[0] > 0.3, "kept together, a twin cannot be looked up"
    assert wrong[1] < 0.2, "without groups it can: the test notices"
