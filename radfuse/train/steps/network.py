"""Intermediate fusion as a scikit-learn classifier: an encoder per modality, joined inside one network."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from torch.nn.functional import binary_cross_entropy_with_logits

from radfuse.errors import DataError
from radfuse.train.splits import deal_together
from radfuse.train.steps.auxiliary import auxiliary_targets
from radfuse.train.steps.blocks import blocks_by_modality, groups_of, has_both_classes, is_missing
from radfuse.train.steps.joiners import Weights, affine

TAUGHT = "auxiliary"
"""The head of the auxiliary targets."""


class Network(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Encode each modality, join the encodings, and average several fits.

    Per modality: selected features, Linear, ReLU, dropout; a missing modality is a learned token. The joiner makes one
    vector of the encodings, and a last Linear gives the logit. All fits ("members") run at once as a leading axis of
    every weight. Each member selects features and trains on its own part of the training rows and holds the rest
    out; the weights kept are those of the epoch with the least held-out loss over all members. The weights are
    stored as NumPy arrays.

    Parameters
    ----------
    joiner : one of `radfuse.train.steps.joiners`.
    auxiliary : subject columns (context of the rows) that a second head learns from the joint vector; it is forgotten
        after training, and new rows need not have them.
    auxiliary_weight : of the second head's squared error beside the log loss.
    """

    def __init__(
        self,
        modalities: list[str],
        selector: Any,
        joiner: Any,
        features: int = 12,
        width: int = 16,
        dropout: float = 0.3,
        modality_dropout: float = 0.2,
        weight_decay: float = 0.01,
        learning_rate: float = 0.01,
        epochs: int = 150,
        patience: int = 30,
        fits: int = 5,
        auxiliary: tuple[str, ...] = (),
        auxiliary_weight: float = 0.5,
        seed: int = 0,
    ) -> None:
        self.modalities = modalities
        self.selector = selector
        self.joiner = joiner
        self.features = features
        self.width = width
        self.dropout = dropout
        self.modality_dropout = modality_dropout
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.patience = patience
        self.fits = fits
        self.auxiliary = auxiliary
        self.auxiliary_weight = auxiliary_weight
        self.seed = seed

    def fit(self, rows: pd.DataFrame, outcome: pd.Series) -> Self:
        """Learn the selection and the weights."""
        target = np.asarray(outcome)
        self.classes_ = np.array([0, 1])
        held_out = self._held_out(target, groups_of(rows))
        self.columns_ = self._select(rows, target, held_out)
        self.encoded_ = list(self.columns_)
        taught = auxiliary_targets(rows, self.auxiliary)
        with one_thread():
            generator = torch.Generator().manual_seed(self.seed)
            weights = self._initial(target, taught[0].shape[1], generator)
            if self.epochs:
                weights = self._train(weights, rows, target, taught, held_out, generator)
        kept = {name: weight for name, weight in weights.items() if not name.startswith(f"{TAUGHT}.")}
        self.weights_ = {name: weight.numpy().copy() for name, weight in kept.items()}
        return self

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities of outcome 0 and 1, averaged over the members."""
        weights = {name: torch.from_numpy(weight) for name, weight in self.weights_.items()}
        with one_thread(), torch.no_grad():
            logits = outcome_logits(weights, forward(self.joiner, weights, self._inputs(rows), self._present(rows)))
            one = torch.sigmoid(logits).mean(dim=0).numpy()
        return np.column_stack([1 - one, one])

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """The likelier outcome."""
        return np.asarray(self.predict_proba(rows)[:, 1] > 0.5, dtype=int)

    def _held_out(self, target: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Which rows each member holds out: fifths of a stratified deal of patients, anew for every five members."""
        rarer = int(min((target == 0).sum(), (target == 1).sum()))
        if rarer < 2:
            raise DataError(
                f"the network needs two training rows of each outcome and has {rarer} of the rarer",
                hint="Use fewer folds, or leave intermediate fusion out.",
            )
        parts = min(5, rarer)
        rng = np.random.default_rng(self.seed)
        held_out = np.zeros((self.fits, len(target)), bool)
        for member in range(self.fits):
            if member % parts == 0:
                dealt = deal_together(target, groups, parts, rng)
            held_out[member] = dealt == member % parts
        return held_out

    def _select(self, rows: pd.DataFrame, target: np.ndarray, held_out: np.ndarray) -> dict[str, list[list[str]]]:
        """The columns of each modality, one list per member, chosen on that member's own rows."""
        chosen: dict[str, list[list[str]]] = {}
        for modality, block in blocks_by_modality(rows, self.modalities).items():
            present = ~is_missing(rows, modality)
            own: list[list[str]] = []
            for member in range(self.fits):
                seen = present & ~held_out[member]
                if not has_both_classes(target[seen]):
                    own.append([])
                    continue
                selector = clone(self.selector).set_params(events_per_feature=0, most=self.features)
                own.append([block.columns[i] for i in selector.fit(block.values[seen], target[seen]).chosen_])
            chosen[modality] = own
        return chosen

    def _initial(self, target: np.ndarray, taught: int, generator: torch.Generator) -> Weights:
        def linear(name: str, inputs: int, outputs: int) -> Weights:
            shape = (self.fits, inputs, outputs)
            weight = torch.randn(shape, generator=generator, dtype=torch.float64) * (2 / max(inputs, 1)) ** 0.5
            return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(self.fits, 1, outputs).double()}

        weights: Weights = {}
        for modality in self.encoded_:
            weights |= linear(modality, self.features, self.width)
            weights[f"{modality}.token"] = torch.zeros(self.fits, 1, self.width).double()
        for name, layer in self.joiner.layers(self.encoded_, self.width).items():
            weights |= linear(name, layer.inputs, layer.outputs)
            if layer.even:
                weights[f"{name}.weight"] = torch.zeros_like(weights[f"{name}.weight"])
        weights |= linear("output", self.joiner.units, 1)
        weights["output.weight"] = weights["output.weight"] / 2
        prevalence = float(target.mean())
        weights["output.bias"] += float(np.log(prevalence / (1 - prevalence)))
        return weights | (linear(TAUGHT, self.joiner.units, taught) if taught else {})

    def _train(
        self,
        weights: Weights,
        rows: pd.DataFrame,
        target: np.ndarray,
        taught: tuple[np.ndarray, np.ndarray],
        held_out: np.ndarray,
        generator: torch.Generator,
    ) -> Weights:
        inputs, present = self._inputs(rows), self._present(rows)
        truth = torch.from_numpy(target.astype(float)).expand(self.fits, -1)
        away = torch.from_numpy(held_out.astype(float))
        facts, counts = (torch.from_numpy(part) for part in taught)
        for weight in weights.values():
            weight.requires_grad_(True)
        optimiser = torch.optim.AdamW(weights.values(), lr=self.learning_rate, weight_decay=self.weight_decay)
        best, least, waited = weights, float("inf"), 0
        for _ in range(self.epochs):
            optimiser.zero_grad()
            shown = hide_modalities(present, self.modality_dropout, self.fits, generator)
            joint = forward(self.joiner, weights, inputs, shown, self.dropout, generator)
            logits = outcome_logits(weights, joint)
            loss = binary_cross_entropy_with_logits(logits, truth, 1 - away, reduction="sum") / len(target)
            if facts.shape[1]:
                wrong = ((affine(weights, TAUGHT, joint) - facts) ** 2 * counts).sum(dim=2)
                loss = loss + self.auxiliary_weight * (wrong * (1 - away)).sum() / len(target)
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                logits = outcome_logits(weights, forward(self.joiner, weights, inputs, present))
                outside = float(binary_cross_entropy_with_logits(logits, truth, away, reduction="sum"))
            waited += 1
            if outside < least:
                least, waited = outside, 0
                best = {name: weight.detach().clone() for name, weight in weights.items()}
            if waited >= self.patience:
                break
        return best

    def _inputs(self, rows: pd.DataFrame) -> dict[str, torch.Tensor]:
        """(member, row, feature) per modality; members with fewer features are padded with zeros."""
        chosen = list(dict.fromkeys(c for members in self.columns_.values() for columns in members for c in columns))
        known, place = rows[chosen].to_numpy(dtype=float), {column: i for i, column in enumerate(chosen)}
        inputs = {}
        for modality in self.encoded_:
            values = np.zeros((self.fits, len(rows), self.features))
            for member, columns in enumerate(self.columns_[modality]):
                values[member, :, : len(columns)] = known[:, [place[column] for column in columns]]
            inputs[modality] = torch.from_numpy(values)
        return inputs

    def _present(self, rows: pd.DataFrame) -> torch.Tensor:
        """(1, row, modality): 1 where the row has the modality."""
        return torch.from_numpy(np.column_stack([~is_missing(rows, m) for m in self.encoded_]).astype(float))[None]


def forward(
    joiner: Any,
    weights: Weights,
    inputs: dict[str, torch.Tensor],
    present: torch.Tensor,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Give the joint vectors (member, row, unit)."""
    codes = {}
    for position, (modality, values) in enumerate(inputs.items()):
        code = torch.relu(affine(weights, modality, values))
        if dropout:
            kept = torch.rand(code.shape, generator=generator, dtype=code.dtype) >= dropout
            code = code * kept / (1 - dropout)
        here = present[:, :, position : position + 1]
        codes[modality] = here * code + (1 - here) * weights[f"{modality}.token"]
    vectors: torch.Tensor = joiner.join(weights, codes, present)
    return vectors


def outcome_logits(weights: Weights, joint: torch.Tensor) -> torch.Tensor:
    """Logits (member, row) of joint vectors (member, row, unit)."""
    return affine(weights, "output", joint)[:, :, 0]


def hide_modalities(present: torch.Tensor, share: float, members: int, generator: torch.Generator) -> torch.Tensor:
    """Hide modalities at random, (member, row, modality); a row never loses its last one."""
    drawn = torch.rand((members, *present.shape[1:]), generator=generator, dtype=present.dtype) >= share
    shown = present * drawn
    return torch.where(shown.sum(dim=2, keepdim=True) > 0, shown, present.expand_as(shown))


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread, so that sums do not depend on the machine; put the old number back afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
