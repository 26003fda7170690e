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


def permuted(table: FeatureTable, seed: int, index: int, strata: pd.Series | None = None) -> FeatureTable:
    """Deal the outcomes anew among the subjects; features, batches and covariates stay with their subject.

    Where groups hold several subjects, the outcomes of whole groups change places among groups of the same size.

    Parameters
    ----------
    strata : labels that outcomes stay within, one per subject, such as sites.
    """
    kinds = None if strata is None else pd.factorize(strata, sort=True)[0]
    rng = np.random.default_rng([seed, index])
    dealt = table.outcome.to_numpy()[exchanged(units(table.group, kinds), rng)]
    return FeatureTable(table.values, table.subjects.assign(**{OUTCOME: dealt}))


def units(group: pd.Series, kinds: np.ndarray | None = None) -> list[list[np.ndarray]]:
    """Find who may change places: the rows of each group, groups of one size (and of the same kinds) together.

    Parameters
    ----------
    kinds : one integer per row; only groups whose rows show the same ones may change places. None: all may.
    """
    codes, names = pd.factorize(group, sort=True)
    order = np.argsort(codes, kind="stable")
    places = np.split(order, np.cumsum(np.bincount(codes, minlength=len(names)))[:-1])
    kinds = np.zeros(len(codes), int) if kinds is None else kinds
    alike: dict[tuple[int, ...], list[np.ndarray]] = {}
    for place in places:
        alike.setdefault((len(place), *kinds[place].tolist()), []).append(place)
    return [alike[kind] for kind in sorted(alike)]


def exchanged(alike: Sequence[Sequence[np.ndarray]], rng: np.random.Generator) -> np.ndarray:
    """Deal the rows anew among their like; gives for each row the row that takes its place.

    Examples
    --------
    >>> order = exchanged(units(pd.Series(["a", "a", "b", "c", "c"])), np.random.default_rng(0))
    >>> sorted(order.tolist()), int(order[2])
    ([0, 1, 2, 3, 4], 2)
    """
    order = np.empty(sum(len(place) for places in alike for place in places), int)
    for places in alike:
        for place, source in zip(places, rng.permutation(len(places)), strict=True):
            order[place] = places[source]
    return order


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


def chance_p(observed: float, null: Sequence[float]) -> float:
    """The share of permutations that reach as much, the true outcome counted among them [Phipson & Smyth 2010].

    ``(1 + #{permuted >= observed}) / (permutations + 1)``, one-sided; never 0.

    Examples
    --------
    >>> chance_p(0.7, [0.5, 0.6, 0.7])
    0.5
    """
    return (1 + sum(value >= observed for value in null)) / (len(null) + 1)


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
