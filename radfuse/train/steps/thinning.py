"""Leave features out before they are ranked, without a look at the outcome."""

import numpy as np
from sklearn.base import BaseEstimator


class Thinning(BaseEstimator):  # type: ignore[misc]
    """Keep what varies, and one of each cluster of features that say the same.

    Parameters
    ----------
    least_variance : of a feature stretched to 0 .. 1, so that units do not matter; 0.25 is half 0 and half 1, and a
        single patient unlike n - 1 others has (n - 1) / n^2. 0 keeps all.
    clusters : mean absolute correlation at which clusters are joined no further; None keeps all.
    """

    def __init__(self, least_variance: float = 0.0, clusters: float | None = None) -> None:
        self.least_variance = least_variance
        self.clusters = clusters

    def kept(self, values: np.ndarray) -> np.ndarray:
        """Positions of the columns kept, in their order."""
        kept = np.arange(values.shape[1])
        if self.least_variance > 0:
            kept = kept[stretched_variance(values) >= self.least_variance]
        if self.clusters is not None and len(kept) > 1:
            kept = kept[representatives(values[:, kept], self.clusters)]
        return kept


def stretched_variance(values: np.ndarray) -> np.ndarray:
    """Variance of each column stretched to 0 .. 1; 0 where it is constant.

    Examples
    --------
    >>> stretched_variance(np.array([[1.0, 5.0], [1.0, 5.0], [3.0, 5.0], [3.0, 5.0]]))
    array([0.25, 0.  ])
    """
    reach = np.ptp(values, axis=0)
    varies = reach > 1e-12 * np.abs(values).max(axis=0)
    return np.asarray(np.divide(values.var(axis=0), reach**2, out=np.zeros(values.shape[1]), where=varies))


def representatives(values: np.ndarray, correlation: float) -> np.ndarray:
    """Cluster columns by average linkage on one less their absolute correlation, and give the middle of each cluster.

    The middle is the column with the highest mean absolute correlation to its cluster, then to all columns.

    Examples
    --------
    >>> a = np.array([1.0, 2.0, 3.0, 4.0])
    >>> representatives(np.column_stack([a, -2 * a, [1.0, -1.0, -1.0, 1.0]]), 0.9)
    array([0, 2])
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    centred = values - values.mean(axis=0)
    norm = np.sqrt((centred**2).sum(axis=0))
    unit = np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)
    likeness = np.clip(np.abs(unit.T @ unit), 0.0, 1.0)
    np.fill_diagonal(likeness, 1.0)
    label = fcluster(linkage(squareform(1 - likeness, checks=False), "average"), 1 - correlation, "distance")
    overall = likeness.mean(axis=0)
    found = []
    for cluster in np.unique(label):
        members = np.flatnonzero(label == cluster)
        inside = likeness[np.ix_(members, members)].mean(axis=0).round(12)  # of two columns both are in the middle
        found.append(members[np.lexsort((-overall[members], -inside))[0]])
    return np.sort(np.array(found))
