"""What the best of many arms is worth: the whole pipeline under permuted outcomes, and a reality check by bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radfuse.data.predictions import Predictions
from radfuse.data.table import OUTCOME, FeatureTable
from radfuse.errors import ConfigError
from radfuse.train.arms import Arm
from radfuse.train.evaluation import out_of_fold
from radfuse.train.scores import Bootstrap
from radfuse.train.statistics import within_fold_auc

if TYPE_CHECKING:
    from radfuse.train.splits import Splits


def permuted(table: FeatureTable, seed: int, index: int) -> FeatureTable:
    """Deal the outcomes anew among the subjects; features, batches and covariates stay with their subject.

    Where groups hold several subjects, the outcomes of whole groups change places among groups of the same size.
    """
    rng = np.random.default_rng([seed, index])
    outcome, group = table.outcome.to_numpy(), table.group.to_numpy()
    places = [np.flatnonzero(group == name) for name in np.unique(group)]
    dealt = outcome.copy()
    for size in sorted({len(place) for place in places}):
        alike = [place for place in places if len(place) == size]
        for place, source in zip(alike, rng.permutation(len(alike)), strict=True):
            dealt[place] = outcome[alike[source]]
    return FeatureTable(table.values, table.subjects.assign(**{OUTCOME: dealt}))


def whole_pipeline_auc(
    arms: Sequence[Arm], table: FeatureTable, splits: Splits, harmonizer: Any
) -> Mapping[str, float]:
    """Draw folds for this table's outcome and give each arm's AUC of pairs within a fold.

    Everything that a run does with the outcome is done again: stratified folds, selection, inner choices, training.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    drawn, rows, outcome = splits(table), table.rows(), table.outcome
    with threadpool_limits(1):
        return {arm.name: _auc(out_of_fold(arm, rows, outcome, drawn, harmonizer)) for arm in arms}


def max_adjusted_p(observed: Mapping[str, float], null: pd.DataFrame) -> pd.Series:
    """Adjust each arm's p for having looked at all of them [Westfall & Young 1993, single-step max-T].

    ``(1 + #{max over arms of the permuted AUC >= observed}) / (permutations + 1)``; the smallest is the p of the best.

    Parameters
    ----------
    observed : AUC by arm, computed exactly as under permutation.
    null : one row per permutation, one column per arm, the same arms.

    Examples
    --------
    >>> null = pd.DataFrame({"a": [0.5, 0.6, 0.4], "b": [0.7, 0.5, 0.5]})
    >>> max_adjusted_p({"a": 0.65, "b": 0.8}, null).to_dict()
    {'a': 0.5, 'b': 0.25}
    """
    if set(observed) != set(null.columns):
        raise ConfigError("the permutations were made for other arms than those observed", hint="Run them again.")
    largest = null.max(axis=1).to_numpy()
    return pd.Series({name: (1 + int((largest >= auc).sum())) / (len(largest) + 1) for name, auc in observed.items()})


def reality_check(predictions: Predictions, arms: Sequence[str], against: str, bootstrap: Bootstrap) -> pd.DataFrame:
    """Compare every arm with one, adjusted for taking the best of them [White, Econometrica 68:1097, 2000].

    The patients are resampled as for the intervals, the same for every arm. Under the bootstrap the largest of the
    centred differences stands for what the best of so many arms gains by luck; ``p_best`` is the share of resamples
    in which it reaches the arm's own difference. One-sided: only a gain counts. Conditional on the fitted models.

    Returns
    -------
    Index ``arm``; columns difference, p_alone (the arm as if it were the only one), p_best.
    """
    reference, drawn = bootstrap.auc(predictions.of(against).reset_index(drop=True))
    found, centred = {}, []
    for arm in arms:
        auc, values = bootstrap.auc(predictions.of(arm).reset_index(drop=True))
        found[arm] = auc - reference
        centred.append(values - drawn - found[arm])
    stacked = np.array(centred)
    known = ~np.isnan(stacked).any(axis=0)
    stacked = stacked[:, known]
    largest = stacked.max(axis=0)
    rows = [
        {"arm": arm, "difference": gap, "p_alone": _share(own, gap), "p_best": _share(largest, gap)}
        for (arm, gap), own in zip(found.items(), stacked, strict=True)
    ]
    return pd.DataFrame(rows).set_index("arm")


def _share(values: np.ndarray, reached: float) -> float:
    return float((1 + (values >= reached).sum()) / (len(values) + 1))


def _auc(rows: pd.DataFrame) -> float:
    return float(within_fold_auc(rows, np.ones((1, 1)), np.zeros(len(rows), int))[0])
