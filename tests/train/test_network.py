"""Intermediate fusion: a small network that learns, repeats itself, and works with a modality missing."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from radfuse.errors import DataError
from radfuse.train.selection.anova import Anova
from radfuse.train.statistics import pair_auc
from radfuse.train.steps.joiners import SideBySide
from radfuse.train.steps.network import Network, forward, hide_modalities, outcome_logits


def cohort(subjects: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """Scaled rows: the outcome is in the sum of what CT and PET show."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(subjects, 2))
    values = rng.normal(size=(subjects, 40))
    values[:, 0:3] = 0.4 * values[:, 0:3] + hidden[:, :1]
    values[:, 20:23] = 0.4 * values[:, 20:23] + hidden[:, 1:]
    columns = [f"{modality}.f{i}" for modality in ("CT", "PET") for i in range(20)]
    rows = pd.DataFrame(values, columns=columns).assign(**{"@missing.CT": 0.0, "@missing.PET": 0.0})
    return rows, pd.Series((hidden.sum(axis=1) > 0).astype(int))


def network(**settings: object) -> Network:
    return Network(["CT", "PET"], Anova().build(), SideBySide(8), **settings)


def test_network_beats_its_untrained_self():
    (rows, outcome), (new, truth) = cohort(60, 1), cohort(300, 2)
    trained, untrained = [], []
    for seed in range(3):
        for epochs, found in ((150, trained), (0, untrained)):
            model = network(epochs=epochs, seed=seed).fit(rows, outcome)
            found.append(pair_auc(truth.to_numpy(), model.predict_proba(new)[:, 1]))
    assert min(trained) > 0.85
    assert np.mean(trained) > np.mean(untrained) + 0.2


def test_network_repeats_itself_bit_for_bit_whatever_torch_drew_before():
    rows, outcome = cohort(40, 1)
    first = network(epochs=20).fit(rows, outcome)
    torch.manual_seed(99)
    torch.rand(5)
    second = clone(first).fit(rows, outcome)
    assert first.weights_.keys() == second.weights_.keys()
    assert all(np.array_equal(first.weights_[name], second.weights_[name]) for name in first.weights_)
    other = clone(first).set_params(seed=1).fit(rows, outcome)
    assert not np.array_equal(first.weights_["joint.weight"], other.weights_["joint.weight"])


def test_fitting_leaves_the_number_of_threads_alone():
    threads = torch.get_num_threads()
    rows, outcome = cohort(20, 1)
    network(epochs=2).fit(rows, outcome)
    assert torch.get_num_threads() == threads


def test_a_missing_modality_is_answered_by_its_token_not_by_its_values():
    rows, outcome = cohort(60, 1)
    rows.loc[:14, "@missing.PET"] = 1.0
    model = network().fit(rows, outcome)
    lacks = rows[:10]
    nonsense = lacks.assign(**{column: 1e3 for column in lacks if column.startswith("PET.")})
    assert np.array_equal(model.predict_proba(lacks), model.predict_proba(nonsense))
    assert not np.array_equal(model.predict_proba(rows[20:]), model.predict_proba(rows[20:].assign(**{"PET.f0": 9.0})))
    new, truth = cohort(300, 2)
    without = model.predict_proba(new.assign(**{"@missing.PET": 1.0}))[:, 1]
    assert 0.65 < pair_auc(truth.to_numpy(), without) < pair_auc(truth.to_numpy(), model.predict_proba(new)[:, 1])


def test_each_fit_chooses_its_features_without_the_rows_it_holds_out():
    rows, outcome = cohort(40, 1)
    model = network(epochs=1)
    held_out = model._held_out(outcome.to_numpy(), np.arange(40))
    assert (held_out.sum(axis=0) == 1).all()
    changed = rows.copy()
    changed.loc[held_out[0], "CT.f7"] = 50.0 * outcome[held_out[0]]
    before, after = model.fit(rows, outcome).columns_["CT"], clone(model).fit(changed, outcome).columns_["CT"]
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_hidden_modalities_never_leave_a_row_empty():
    present = torch.tensor([[[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]])
    shown = hide_modalities(present, 0.9, 200, torch.Generator().manual_seed(0))
    assert (shown.sum(dim=2) >= 1).all()
    assert (shown <= present).all()
    assert 0 < shown[:, 0].sum() < 2 * 200


def test_forward_worked_by_hand():
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    weights = {
        "CT.weight": 2 * one, "CT.bias": one, "CT.token": 7 * one,
        "joint.weight": 3 * one, "joint.bias": -one, "output.weight": 0.5 * one, "output.bias": one,
    }  # fmt: skip
    values = {"CT": torch.tensor([[[1.0], [-4.0], [1.0]]], dtype=torch.float64)}
    present = torch.tensor([[[1.0], [1.0], [0.0]]], dtype=torch.float64)
    # relu(2*1+1)=3 -> relu(9-1)=8 -> 5;  relu(-7)=0 -> relu(-1)=0 -> 1;  token 7 -> relu(20)=20 -> 11.
    joint = forward(SideBySide(1), weights, values, present)
    assert outcome_logits(weights, joint).tolist() == [[5.0, 1.0, 11.0]]


def test_one_row_of_an_outcome_is_too_few():
    rows, _ = cohort(10, 1)
    with pytest.raises(DataError, match="two training rows of each outcome and has 1"):
        network().fit(rows, pd.Series([1] + [0] * 9))
