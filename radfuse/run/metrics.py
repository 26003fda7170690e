"""What a judgement says of an arm beside its AUC, by the names under which it is tracked."""

from __future__ import annotations

from radfuse.run.judging import Judged
from radfuse.train.calibration import CALIBRATION

PROBABILITIES = {
    "brier": "test/brier",
    "brier_scaled": "test/brier_scaled",
    "intercept": "test/calibration_intercept",
    "slope": "test/calibration_slope",
}


def external_metrics(judged: Judged, arm: str) -> dict[str, float]:
    """What the external test says of an arm: external/auc, external/n and so on."""
    found = judged.tables.get("external")
    rows = [] if found is None else found[found["arm"] == arm].select_dtypes("number").to_dict("records")
    return {f"external/{name}": value for row in rows for name, value in row.items()}


def probability_metrics(judged: Judged, arm: str) -> dict[str, float]:
    """How good the arm's probabilities are."""
    table = judged.tables.get(CALIBRATION)
    own = None if table is None else table[table["arm"] == arm]
    if own is None or own.empty:
        return {}
    return {name: float(own[key].iloc[0]) for key, name in PROBABILITIES.items()}
