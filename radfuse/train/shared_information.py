"""How much two modalities tell of the same: debiased CKA, modified RV, and rank correlations by feature class.

Nothing here looks at the outcome, so all rows are described. What is shared may be redundant as readily as it may be
complementary: it says nothing of what fusing gains, which only the out-of-fold AUC does.

With more features than subjects the plain RV coefficient and canonical correlations are near 1 for pure noise. Both
measures below leave out the diagonals of the Gram matrices, where most of that bias sits. Debiased CKA is 0 on average
for independent blocks. Of the modified RV something is left when features outnumber subjects by far, since centring
makes the other entries negative together: so what shuffled subjects give stands beside each value.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from radfuse.data.names import FeatureName
from radfuse.data.table import FeatureTable
from radfuse.train.permutation import chance_p, exchanged, units

SHARED, CLASSES = "shared_information", "shared_classes"
PERMUTATIONS = 999
FEWEST, MOST = 5, 500
SHAPE = "shape"  # of the contour, which is one for all modalities


def shared_information(table: FeatureTable, seed: int, permutations: int = PERMUTATIONS) -> pd.DataFrame:
    """Measure what each pair of measured modalities shares, on the features as they are.

    Shape is left out: it is that of one contour, whatever the modality. Constant features are left out, what is
    missing becomes the column's mean, and a subject that lacks one of the two takes no part. Above 500 subjects as
    many are drawn.

    Returns
    -------
    One row per pair: one, other, n, features_one, features_other, and for ``cka`` and ``rv`` the value, its mean
    over shuffles (``_chance``) and its one-sided p (``_p``). A shuffle deals the subjects of the second anew against
    those of the first; with groups, whole groups. Pairs of fewer than 5 subjects are left out.
    """
    rows = []
    for one, other in combinations(table.single, 2):
        first, second = _blocks(table, one, other, seed)
        if len(first) < FEWEST or not first.shape[1] or not second.shape[1]:
            continue
        row = {"one": one, "other": other, "n": len(first), "features_one": first.shape[1],
               "features_other": second.shape[1]}  # fmt: skip
        rng = np.random.default_rng(seed)
        alike = units(table.group.loc[first.index])
        orders = [exchanged(alike, rng) for _ in range(permutations)]
        scaled = [standardised(block) for block in (first, second)]
        grams = [_product(values, values.T) for values in scaled]
        for name, bare in (("cka", u_centred), ("rv", without_diagonal)):
            found, null = similarity(bare(grams[0]), bare(grams[1]), orders)
            row |= {name: found, f"{name}_chance": float(null.mean()), f"{name}_p": chance_p(found, null.tolist())}
        rows.append(row)
    measured = [f"{name}{part}" for name in ("cka", "rv") for part in ("", "_chance", "_p")]
    columns = ["one", "other", "n", "features_one", "features_other", *measured]
    return pd.DataFrame(rows, columns=columns)


def shared_classes(table: FeatureTable, seed: int) -> pd.DataFrame:
    """Give the mean absolute rank correlation between the feature classes of each pair of modalities.

    Returns
    -------
    One row per pair of modalities and of classes: one, other, class_one, class_other, features_one, features_other,
    correlation, chance (the mean between independent features, ``sqrt(2 / (pi (n - 1)))``).
    """
    rows = []
    for one, other in combinations(table.single, 2):
        first, second = _blocks(table, one, other, seed)
        if len(first) < FEWEST or not first.shape[1] or not second.shape[1]:
            continue
        rho = np.abs(_product(_ranks(first).T, _ranks(second))) / len(first)
        kinds = [np.array([_class(str(column)) for column in block.columns]) for block in (first, second)]
        chance = float(np.sqrt(2 / (np.pi * (len(first) - 1))))
        for kind in sorted(set(kinds[0])):
            for beside in sorted(set(kinds[1])):
                part = rho[np.ix_(kinds[0] == kind, kinds[1] == beside)]
                rows.append((one, other, kind, beside, *part.shape, float(part.mean()), chance))
    columns = ["one", "other", "class_one", "class_other", "features_one", "features_other", "correlation", "chance"]
    return pd.DataFrame(rows, columns=columns)


def standardised(block: pd.DataFrame) -> np.ndarray:
    """Centre the columns and divide them by their SD; a missing value becomes the mean."""
    values = (block - block.mean()) / block.std(ddof=0)
    return np.asarray(values.fillna(0.0).to_numpy(), dtype=float)


def u_centred(gram: np.ndarray) -> np.ndarray:
    """Centre a Gram matrix so that sums of products are free of bias [Szekely & Rizzo 2014, equation 2.1].

    With it ``(A * B).sum() / (n (n - 3))`` is the unbiased HSIC of [Song et al. 2012, equation 5]; that of a matrix
    with itself is the debiased CKA's denominator [Murphy et al. 2024]. At least 4 rows are needed.
    """
    n = len(gram)
    bare = gram - np.diag(np.diag(gram))
    rows = bare.sum(axis=1)
    centred = bare - (rows[:, None] + rows[None, :]) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    return np.asarray(centred - np.diag(np.diag(centred)))


def without_diagonal(gram: np.ndarray) -> np.ndarray:
    """Take the diagonal away, as the modified RV coefficient does [Smilde et al. 2009].

    doi:10.1093/bioinformatics/btn634
    """
    return np.asarray(gram - np.diag(np.diag(gram)))


def similarity(one: np.ndarray, other: np.ndarray, orders: Sequence[np.ndarray] = ()) -> tuple[float, np.ndarray]:
    """Give the cosine between two matrices, and that with the second's subjects in each of some orders.

    Of `u_centred` Gram matrices it is the debiased linear CKA, of those `without_diagonal` the modified RV. Shuffling
    subjects leaves both norms as they are, and centring goes with it, so only the sum of products is taken again.
    """
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    null = np.array([(one * other[np.ix_(order, order)]).sum() / scale for order in orders])
    return float((one * other).sum()) / scale, null


def _blocks(table: FeatureTable, one: str, other: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The features of two modalities of the subjects that have both, without shape and constants."""
    columns = [[c for c in table.columns_of(name) if not _class(c).startswith(SHAPE)] for name in (one, other)]
    blocks = [table.values[each] for each in columns]
    both = blocks[0].notna().any(axis=1) & blocks[1].notna().any(axis=1)
    subjects = table.values.index[both]
    if len(subjects) > MOST:
        drawn = np.random.default_rng(seed).choice(len(subjects), MOST, replace=False)
        subjects = subjects[np.sort(drawn)]
    first, second = (block.loc[subjects] for block in blocks)
    return first.loc[:, first.nunique() > 1], second.loc[:, second.nunique() > 1]


def _product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Multiply matrices by one thread: sums over several would round differently."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):
        return np.asarray(one @ other)


def _class(column: str) -> str:
    name = FeatureName.parse(column)
    return name.feature_class or "features"


def _ranks(block: pd.DataFrame) -> np.ndarray:
    return standardised(block.rank())
