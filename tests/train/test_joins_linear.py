"""The linear form of intermediate fusion: partial least squares and principal components."""

import numpy as np
import pandas as pd
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from radfuse.errors import DataError
from radfuse.train.selection.anova import Anova
from radfuse.train.steps.projected import Projected
from radfuse.train.steps.projections import PartialLeastSquares, PrincipalComponents, pls_rotations


def centred(values: np.ndarray) -> np.ndarray:
    return np.asarray(values - values.mean(axis=0))


def test_pls_is_that_of_scikit_learn(rng):
    values, target = centred(rng.normal(size=(40, 12))), centred(rng.normal(size=40))
    known = PLSRegression(n_components=4, scale=False).fit(values, target)
    found = pls_rotations(values, target, 4)
    # scikit-learn turns an axis so that its largest weight is positive; ours grows with the target.
    assert ((values @ found).T @ target > 0).all()
    signs = np.sign((found * known.x_rotations_).sum(axis=0))
    assert found * signs == pytest.approx(known.x_rotations_, abs=1e-9)


def test_pls_ends_where_nothing_is_left(rng):
    one = centred(rng.normal(size=(30, 1)))
    target = centred(rng.normal(size=30))
    assert pls_rotations(np.hstack([one, 2 * one]), target, 5).shape == (2, 1)
    assert pls_rotations(np.hstack([one, np.zeros((30, 1))]), one[:, 0], 5) == pytest.approx(
        np.array([[1.0], [0.0]]), abs=1e-12
    )
    assert pls_rotations(np.zeros((30, 3)), target, 2).shape == (3, 0)


def test_no_modality_counts_by_how_many_columns_it_has(rng):
    """The same ten columns as one column of tenfold variance: the score stays, whatever the other block."""
    target = np.repeat([0, 1], 20)
    one, other = centred(rng.normal(size=(40, 1)) + target[:, None]), centred(rng.normal(size=(40, 2)))
    here = {"CT": np.ones(40, bool), "PET": np.ones(40, bool)}
    narrow, wide = {"CT": one, "PET": other}, {"CT": np.repeat(one, 10, axis=1), "PET": other}
    scores = [PartialLeastSquares(2).fit(blocks, here, target).transform(blocks) for blocks in (narrow, wide)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)
    assert scores[0].std(axis=0) == pytest.approx([1, 1])


def test_components_are_those_of_scikit_learn_from_the_rows_that_have_the_modality(rng):
    target = np.tile([0, 1], 20)
    here = np.arange(40) >= 10
    values = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6))
    values[here] = centred(values[here])
    values[~here] = 0.0
    fitted = PrincipalComponents().fit({"CT": values}, {"CT": here}, target)
    found = fitted.transform({"CT": values})
    assert found.shape == (40, 3)  # 15 events among the rows that have CT, 5 of them per component
    known = PCA(3, svd_solver="full").fit(values[here])
    expected = known.transform(values[here]) / np.sqrt(known.explained_variance_ * 29 / 30)
    assert np.abs(found[here]) == pytest.approx(np.abs(expected), abs=1e-9)
    assert (found[~here] == 0).all()
    assert PrincipalComponents(2).fit({"CT": values}, {"CT": here}, target).transform({"CT": values}).shape == (40, 2)


def test_the_sign_of_a_component_does_not_depend_on_the_solver(rng):
    values = centred(rng.normal(size=(30, 4)))
    here = {"CT": np.ones(30, bool)}
    rotations = PrincipalComponents().fit({"CT": values}, here, np.tile([0, 1], 15)).rotations_["CT"]
    assert (rotations[np.abs(rotations).argmax(axis=0), range(rotations.shape[1])] > 0).all()


def projected(projection: object, features: int | None = 12) -> Projected:
    return Projected(["CT", "PET", "MR"], Anova().build(), LogisticRegression(), projection, features)


@pytest.mark.parametrize("projection", [PartialLeastSquares(2), PrincipalComponents()])
def test_a_missing_modality_says_what_its_mean_says(projection, make_rows):
    rows, outcome = make_rows(60, 1)
    pet = [column for column in rows if column.startswith("PET.")]
    rows.loc[::4, "@missing.PET"] = 1.0
    rows.loc[::4, pet] = 77.0  # whatever an imputer and a harmoniser left there
    model = projected(projection).fit(rows, outcome)
    have = rows[rows["@missing.PET"] == 0]
    average = have.assign(**have[pet].mean().to_dict())
    lacks = have.assign(**{"@missing.PET": 1.0}, **dict.fromkeys(pet, -5.0))
    assert model.predict_proba(lacks) == pytest.approx(model.predict_proba(average), abs=1e-12)
    other = projected(projection).fit(
        rows.assign(**{c: rows[c].where(rows["@missing.PET"] == 0, 3.0) for c in pet}), outcome
    )
    assert np.array_equal(model.predict_proba(have), other.predict_proba(have))


def test_all_features_or_those_selected(make_rows):
    rows, outcome = make_rows(60, 1)
    assert {len(c) for c in projected(PrincipalComponents(), None).fit(rows, outcome).columns_.values()} == {8}
    few = projected(PrincipalComponents(), 2).fit(rows, outcome)
    assert {len(c) for c in few.columns_.values()} == {2}
    assert "CT.f1" in few.columns_["CT"]


def test_a_modality_whose_rows_hold_one_outcome_takes_no_part(make_rows):
    rows, outcome = make_rows(40, 1)
    rows["@missing.PET"] = (outcome == 1).astype(float)
    model = projected(PartialLeastSquares()).fit(rows, outcome)
    assert list(model.columns_) == ["CT", "MR"]
    everywhere = rows.assign(**{f"@missing.{m}": rows["@missing.PET"] for m in ("CT", "MR")})
    with pytest.raises(DataError, match="no modality of CT, PET, MR has both outcomes"):
        projected(PartialLeastSquares()).fit(everywhere, outcome)


def test_rows_that_say_nothing_give_the_prevalence(make_rows):
    """Of constant columns there is no component; the model then says the share of outcome 1."""
    rows, _ = make_rows(40, 1)
    flat = rows.assign(**dict.fromkeys([c for c in rows if not c.startswith("@")], 2.0))
    outcome = pd.Series([1] * 10 + [0] * 30)
    for projection in (PartialLeastSquares(), PrincipalComponents()):
        model = projected(projection, None).fit(flat, outcome)
        assert model.predict_proba(flat)[:, 1] == pytest.approx(np.full(40, 0.25), abs=1e-4)


@pytest.mark.parametrize("projection", [PartialLeastSquares(3), PrincipalComponents()])
def test_threads_change_no_bit(projection):
    """Large enough for the sums of two threads to round differently where nothing keeps them from it."""
    values = np.random.default_rng(0).normal(size=(300, 200))
    rows = pd.DataFrame(values, columns=[f"CT.f{i}" for i in range(200)])
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            model = projected(projection, None).fit(rows, (rows["CT.f1"] > 0).astype(int))
            found.append(model.predict_proba(rows))
    assert np.array_equal(*found)
