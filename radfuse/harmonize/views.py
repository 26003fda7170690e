"""What the figures of a batch effect draw: principal coordinates, densities, and how far batches lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DENSITIES = 3  # features drawn: those whose location differs most before
GRID = 60
FEWEST = 3  # rows of a batch whose density is drawn
MOST_ROWS = 2000  # for the silhouette, whose cost grows with their square


def coordinates(pair: Mapping[str, Array]) -> dict[str, list[list[float]]]:
    """Two principal coordinates of each row, on the axes of the standardised features before."""
    before = pair["before"]
    if not before.shape[1]:
        return {moment: [[0.0, 0.0] for _ in values] for moment, values in pair.items()}
    middle, spread = before.mean(axis=0), before.std(axis=0)
    _, _, axes = np.linalg.svd((before - middle) / spread, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2][np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    axes = np.vstack([axes, np.zeros((2 - len(axes), before.shape[1]))])
    return {moment: (((values - middle) / spread) @ axes.T).tolist() for moment, values in pair.items()}


def densities(
    pair: Mapping[str, Array], batch: npt.NDArray[Any], columns: list[str], p: Array | None
) -> list[dict[str, Any]]:
    """Gaussian kernel densities by batch of the features that differ most before [Scott's bandwidth].

    Parameters
    ----------
    p : of each feature's difference before; without it nothing is drawn.

    Returns
    -------
    Per feature: ``feature``, ``grid``, and by moment the density of each batch with enough rows, as lists.
    """
    if p is None:
        return []
    found = []
    for place in np.argsort(p, kind="stable")[:DENSITIES]:
        both = np.concatenate([values[:, place] for values in pair.values()])
        margin = 0.1 * np.ptp(both)
        grid = np.linspace(both.min() - margin, both.max() + margin, GRID)
        drawn = {moment: _by_batch(values[:, place], batch, grid) for moment, values in pair.items()}
        found.append({"feature": columns[place], "grid": grid.tolist(), **drawn})
    return found


def silhouette(values: Array, batch: npt.NDArray[Any], spread: Array, seed: int) -> float | None:
    """How much closer rows lie to their own batch than to the next, -1 to 1 [Rousseeuw 1987]; 0 or less is mixed.

    Distances are in features divided by ``spread``; batches of one row take no part; of very many rows some are drawn.
    """
    from sklearn.metrics import silhouette_score

    names, counts = np.unique(batch.astype(str), return_counts=True)
    own = np.isin(batch.astype(str), names[counts >= 2])
    if (counts >= 2).sum() < 2 or own.sum() <= (counts >= 2).sum() or not values.shape[1]:
        return None
    size = MOST_ROWS if own.sum() > MOST_ROWS else None
    score = silhouette_score(values[own] / spread, batch[own].astype(str), sample_size=size, random_state=seed)
    return float(score)


def _by_batch(values: Array, batch: npt.NDArray[Any], grid: Array) -> dict[str, list[float]]:
    from scipy import stats

    found = {}
    for name in sorted(set(batch.tolist())):
        own = values[batch == name]
        if len(own) >= FEWEST and np.ptp(own) > 0:
            found[str(name)] = stats.gaussian_kde(own)(grid).tolist()
    return found
