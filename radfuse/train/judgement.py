"""What the differences between arms, their probabilities and the decisions made by them are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from radfuse.data.predictions import Predictions
from radfuse.train.calibration import CALIBRATION, CURVE, calibration_curve, calibration_table
from radfuse.train.classifiers import Classifier
from radfuse.train.comparisons import COMPARISONS, best_arms, comparison_table
from radfuse.train.decision import DECISION, decision_table
from radfuse.train.fusion import FusionStrategy
from radfuse.train.operating import INNER, INNER_ALL, OPERATING, Operating, operating_table
from radfuse.train.scores import Bootstrap

ORDER_ONLY = "shares of votes or margins of a rule: an order, not probabilities"
BALANCED = "trained as if both outcomes were equally common: too high for the rarer one, not probabilities"


def judgement_tables(
    predictions: Predictions,
    evidence: Mapping[str, pd.DataFrame],
    bootstrap: Bootstrap,
    *,
    declared: Sequence[str],
    classifier: str,
    unsure: Mapping[str, str],
    operating: Operating | None,
) -> dict[str, pd.DataFrame]:
    """Give the tables of comparisons, calibration, decision curves and operating points, by name.

    Curves are those of the best arm of each level and of the declared arms, where their scores are probabilities.

    Parameters
    ----------
    declared : the arms of the primary comparison.
    classifier : of that comparison.
    unsure : by arm, why its scores are no probabilities.
    """
    found = {
        COMPARISONS: comparison_table(predictions, bootstrap, classifier),
        CALIBRATION: calibration_table(predictions, bootstrap, unsure),
    }
    certain = predictions.rows[~predictions.rows["arm"].isin(unsure)]
    if len(certain):
        sure = Predictions(certain)
        best = best_arms(sure)
        shown = [arm for arm in sure.arms if arm in best or arm in declared]
        found[CURVE] = calibration_curve(sure, shown, bootstrap)
        found[DECISION] = decision_table(sure, shown, bootstrap)
    if INNER in evidence and operating is not None:
        found[OPERATING] = operating_table(predictions, evidence[INNER], evidence[INNER_ALL], bootstrap, operating)
    return found


def no_probabilities(
    predictions: Predictions, fusions: Sequence[FusionStrategy], classifiers: Sequence[Classifier]
) -> dict[str, str]:
    """Say of which arms the scores are no probabilities, and why."""
    ordering = [member.title for member in fusions if not member.probabilistic]
    mended = [member.title for member in fusions if member.recalibrates]
    balanced = [member.title for member in classifiers if not member.probabilistic]
    found = {}
    for arm, title in predictions.rows.drop_duplicates("arm").set_index("arm")["classifier"].items():
        level = str(arm).removesuffix(f"-{title}")
        if title in balanced and level not in mended:
            found[str(arm)] = BALANCED
        if level in ordering:
            found[str(arm)] = ORDER_ONLY
    return found
