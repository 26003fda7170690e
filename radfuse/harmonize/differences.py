"""Do features differ between batches? Tests of location and spread, all features at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FALSE_DISCOVERY_RATE = 0.05


def kruskal(values: Array, batch: npt.NDArray[Any]) -> Array | None:
    """Kruskal-Wallis p per feature, corrected for ties [Kruskal & Wallis 1952, JASA 47:583].

    Batches of one row take no part; None where fewer than two are left.
    """
    from scipy import stats

    groups = _groups(values, batch)
    if len(groups) < 2 or not values.shape[1]:
        return None
    ranks = stats.rankdata(np.vstack(groups), axis=0)
    n = len(ranks)
    sizes = [len(group) for group in groups]
    parts = np.split(ranks, np.cumsum(sizes)[:-1])
    # With ties, the variance of the ranks themselves takes the place of n(n + 1)/12.
    between = sum(len(part) * (part.mean(axis=0) - (n + 1) / 2) ** 2 for part in parts)
    spread = ranks.var(axis=0, ddof=1)
    statistic = np.divide(between, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.asarray(stats.chi2.sf(statistic, len(groups) - 1))


def levene(values: Array, batch: npt.NDArray[Any]) -> Array | None:
    """Levene p per feature, deviations from the batch's median [Brown & Forsythe 1974, JASA 69:364]."""
    from scipy import stats

    groups = [np.abs(group - np.median(group, axis=0)) for group in _groups(values, batch)]
    rows = sum(len(group) for group in groups)
    if len(groups) < 2 or not values.shape[1] or rows <= len(groups):
        return None
    middle = np.vstack(groups).mean(axis=0)
    between = sum(len(g) * (g.mean(axis=0) - middle) ** 2 for g in groups) / (len(groups) - 1)
    within = sum(((g - g.mean(axis=0)) ** 2).sum(axis=0) for g in groups) / (rows - len(groups))
    statistic = np.divide(between, within, out=np.zeros_like(within), where=within > 0)
    return np.asarray(stats.f.sf(statistic, len(groups) - 1, rows - len(groups)))


def share(p: Array | None) -> float | None:
    """The share of features significant after Benjamini and Hochberg's correction [1995, JRSS B 57:289]."""
    from scipy import stats

    if p is None:
        return None
    return float((stats.false_discovery_control(p) < FALSE_DISCOVERY_RATE).mean())


def count(values: Array, batch: npt.NDArray[Any], level: float = 0.05) -> int:
    """How many features differ in location, plus how many differ in spread, uncorrected."""
    found = (kruskal(values, batch), levene(values, batch))
    return sum(int((p < level).sum()) for p in found if p is not None)


def _groups(values: Array, batch: npt.NDArray[Any]) -> list[Array]:
    """The rows of each batch that has two or more."""
    groups = [values[batch == name] for name in sorted(set(batch.tolist()))]
    return [group for group in groups if len(group) >= 2]
