"""Predictions: who was scored how, by which arm, in which fold."""

from dataclasses import dataclass

import pandas as pd

from radfuse.errors import DataError

COLUMNS = ["arm", "fusion", "modalities", "classifier", "subject", "repeat", "fold", "outcome", "score"]

FUSIONS = ("single", "image", "chosen", "early", "intermediate", "late", "baseline")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Out-of-fold scores, one row per arm, repeat and subject.

    Parameters
    ----------
    rows : the columns of ``COLUMNS``. ``fusion`` is one of ``FUSIONS``; ``modalities`` are joined by ``+``;
        ``score`` grows with the probability of outcome 1 and is comparable within a fold only.
    """

    rows: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [column for column in COLUMNS if column not in self.rows.columns]
        if missing:
            raise DataError(f"predictions lack the columns {', '.join(missing)}")
        if not self.rows["score"].map(lambda score: score == score and abs(score) != float("inf")).all():
            raise DataError("predictions hold a score that is not a finite number")
        twice = self.rows.duplicated(["arm", "repeat", "subject"])
        if twice.any():
            row = self.rows[twice].iloc[0]
            raise DataError(f"subject {row['subject']} is scored twice by {row['arm']} in repeat {row['repeat']}")

    @property
    def arms(self) -> list[str]:
        """Every arm, in order of appearance."""
        return list(dict.fromkeys(self.rows["arm"]))

    def of(self, arm: str) -> pd.DataFrame:
        """The rows of one arm."""
        return self.rows[self.rows["arm"] == arm]
