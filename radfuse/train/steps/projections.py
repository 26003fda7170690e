"""Projections of several modalities' blocks onto few components, the linear form of intermediate fusion.

A block is the training rows of one modality, each column of mean 0 and deviation 1 over the rows that have it, and 0
where a row lacks it: a missing block says what the mean says ["trimmed scores", Arteaga & Ferrer 2002,
doi:10.1002/cem.750]. ``fit`` learns from such blocks; ``transform`` gives the scores (rows x components), of mean 0
and, over the training rows that the component is made of, deviation 1.
"""

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator

Blocks = dict[str, np.ndarray]

NEGLIGIBLE = 1e-9
"""Of the first component's size; what is smaller is rounding."""


class PartialLeastSquares(BaseEstimator):  # type: ignore[misc]
    """Components of all modalities together that vary with the outcome, and not with each other.

    PLS1 by the NIPALS steps of Wold, Sjöström & Eriksson 2001 (doi:10.1016/S0169-7439(01)00155-1). Each block is
    divided by the root of its columns, so that no modality counts by how many it has [Westerhuis, Kourti &
    MacGregor 1998].

    Parameters
    ----------
    components : most components; fewer where the columns or the outcome are spent before.
    """

    def __init__(self, components: int = 2) -> None:
        self.components = components

    def fit(self, blocks: Blocks, present: dict[str, np.ndarray], target: np.ndarray) -> Self:
        """Learn ``rotations_`` (columns x components) from blocks, who has them, and the outcome."""
        self.blocks_ = list(blocks)
        values = self._beside(blocks)
        self.mean_ = values.mean(axis=0)
        rotations = pls_rotations(values - self.mean_, target - target.mean(), self.components)
        self.rotations_ = rotations / ((values - self.mean_) @ rotations).std(axis=0)
        return self

    def transform(self, blocks: Blocks) -> np.ndarray:
        """Give the scores."""
        return np.asarray((self._beside(blocks) - self.mean_) @ self.rotations_)

    def _beside(self, blocks: Blocks) -> np.ndarray:
        return np.hstack([blocks[name] / blocks[name].shape[1] ** 0.5 for name in self.blocks_])


def pls_rotations(values: np.ndarray, target: np.ndarray, most: int) -> np.ndarray:
    """Rotations (columns x components) that turn centred values into PLS1 scores of a centred target.

    They end where nothing is left that varies with the target; of constant columns there is none at all.
    """
    weights: list[np.ndarray] = []
    loadings: list[np.ndarray] = []
    left, first = values, np.linalg.norm(values.T @ target)
    for _ in range(most):
        covariance = left.T @ target
        size = np.linalg.norm(covariance)
        if size <= NEGLIGIBLE * first or size == 0:
            break
        weight = covariance / size
        score = left @ weight
        loading = left.T @ score / (score @ score)
        left = left - np.outer(score, loading)
        weights.append(weight)
        loadings.append(loading)
    if not weights:
        return np.zeros((values.shape[1], 0))
    across, along = np.column_stack(weights), np.column_stack(loadings)
    return np.asarray(across @ np.linalg.inv(along.T @ across))


class PrincipalComponents(BaseEstimator):  # type: ignore[misc]
    """The first principal components of each modality, side by side, each of deviation 1.

    Parameters
    ----------
    components : most components of a modality; fewer where its rows or columns span fewer.
    events_per_component : training rows of the rarer class, among those that have the modality, per component.
    """

    def __init__(self, components: int = 10, events_per_component: int = 5) -> None:
        self.components = components
        self.events_per_component = events_per_component

    def fit(self, blocks: Blocks, present: dict[str, np.ndarray], target: np.ndarray) -> Self:
        """Learn ``rotations_`` (columns x components) of each block from the rows that have it, without the outcome."""
        self.rotations_ = {}
        for name, values in blocks.items():
            ones = int(target[present[name]].sum())
            events = min(ones, int(present[name].sum()) - ones)
            most = max(1, min(self.components, events // self.events_per_component))
            self.rotations_[name] = _rotations(values[present[name]], most)
        return self

    def transform(self, blocks: Blocks) -> np.ndarray:
        """Give the scores."""
        return np.hstack([blocks[name] @ rotations for name, rotations in self.rotations_.items()])


def _rotations(values: np.ndarray, most: int) -> np.ndarray:
    """Turn centred values into their first principal components' scores, of deviation 1."""
    _, singular, axes = np.linalg.svd(values, full_matrices=False)
    kept = np.flatnonzero(singular > NEGLIGIBLE * singular[0])[:most]
    axes = axes[kept]
    # An axis has no direction of its own: its largest entry is made positive.
    largest = axes[np.arange(len(kept)), np.abs(axes).argmax(axis=1)]
    return np.asarray((axes * np.sign(largest)[:, None] / singular[kept][:, None] * len(values) ** 0.5).T)
