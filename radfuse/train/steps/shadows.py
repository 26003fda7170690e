"""Importance beyond that of shuffled features."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

FEWEST = 5
"""Shadows of a forest: with fewer features, each of them has several."""


class Shadows(BaseEstimator):  # type: ignore[misc]
    """Score features by how often they beat the best shadow [Kursa & Rudnicki 2010, doi:10.18637/jss.v036.i11].

    A ranking for `radfuse.train.steps.selector.Selector`. The forest sees ranks, in an order of its own, so that
    neither units nor the order of the columns change what is found.

    Parameters
    ----------
    rounds, trees, depth : of the forests.
    level : of the two-sided binomial test, corrected for the number of features [Bonferroni, as their section 2].
    seed : decides shadows and forests.
    """

    def __init__(self, rounds: int = 20, trees: int = 100, depth: int = 5, level: float = 0.05, seed: int = 0) -> None:
        self.rounds = rounds
        self.trees = trees
        self.depth = depth
        self.level = level
        self.seed = seed

    def __call__(self, values: np.ndarray, outcome: np.ndarray) -> np.ndarray:
        """One score per column: above 2 confirmed, above 1 undecided, 0 rejected; the best alone has 0.5."""
        from scipy.stats import binom, rankdata

        count = values.shape[1]
        varies = np.ptp(values, axis=0) > 1e-12 * np.maximum(np.abs(values).max(axis=0), np.finfo(float).tiny)
        score = np.zeros(count)
        if not varies.any() or outcome.min() == outcome.max():
            return score
        ranks = rankdata(values, axis=0)
        order = np.lexsort(ranks[::-1])
        order = order[varies[order]]
        hits, importance = self._hits(ranks[:, order], outcome)
        tail = self.level / 2 / len(order)
        confirmed = binom.sf(hits - 1, self.rounds, 0.5) <= tail
        rejected = binom.cdf(hits, self.rounds, 0.5) <= tail
        worth = (hits + importance / 2) / (self.rounds + 1)  # below 1; the mean importance decides among equal hits
        score[order] = np.where(confirmed, 2 + worth, np.where(rejected, 0.0, 1 + worth))
        if not (score > 0).any():
            score[order[np.argmax(worth)]] = 0.5
        return score

    def _hits(self, ranks: np.ndarray, outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rounds in which each column beats the best shadow, and its mean importance over the rounds."""
        count = ranks.shape[1]
        hits, importance = np.zeros(count), np.zeros(count)
        for round_ in range(self.rounds):
            rng = np.random.default_rng([self.seed, round_])
            copies = np.tile(ranks, -(-FEWEST // count))
            shadows = rng.permuted(copies, axis=0)
            forest = self._forest(int(rng.integers(2**31))).fit(np.hstack([ranks, shadows]), outcome)
            found = np.asarray(forest.feature_importances_)
            hits += found[:count] > found[count:].max()
            importance += found[:count]
        return hits, importance / self.rounds

    def _forest(self, seed: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(
            n_estimators=self.trees, max_depth=self.depth, class_weight="balanced", random_state=seed, n_jobs=1
        )
