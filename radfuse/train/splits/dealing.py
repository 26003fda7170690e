"""Dealing rows out like cards."""

from __future__ import annotations

import numpy as np
import pandas as pd


def deal(kinds: np.ndarray, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Deal shuffled items out like cards, one kind after the other, so that parts differ by one at most.

    Examples
    --------
    >>> dealt = deal(np.array([0, 0, 0, 1, 1, 1]), 3, np.random.default_rng(0))
    >>> sorted(dealt[:3].tolist()), sorted(dealt[3:].tolist())
    ([0, 1, 2], [0, 1, 2])
    """
    order = np.concatenate([rng.permutation(np.flatnonzero(kinds == kind)) for kind in np.unique(kinds)])
    part = np.empty(len(kinds), int)
    part[order] = np.arange(len(kinds)) % parts
    return part


def deal_together(outcome: np.ndarray, groups: np.ndarray, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Deal rows out so that those of one group land in one part; groups with an event are dealt apart from the rest.

    Examples
    --------
    >>> dealt = deal_together(np.array([1, 0, 0, 1]), np.array(["a", "a", "b", "c"]), 2, np.random.default_rng(0))
    >>> bool(dealt[0] == dealt[1]), bool(dealt[0] == dealt[3])
    (True, False)
    """
    codes, names = pd.factorize(groups)
    has_event = np.bincount(codes, weights=outcome, minlength=len(names)) > 0
    return deal(has_event.astype(int), parts, rng)[codes]
