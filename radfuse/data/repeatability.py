"""How well repeated measurements of the same subjects agree: intraclass correlations and their intervals.

Stability is looked at by one stage and acted upon by another, inside its folds; what the two share lives here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.errors import DataError

SUBJECT, PERTURBATION = "subject", "perturbation"
UNPERTURBED = 0

Values = npt.NDArray[np.float64]
Kind = Literal["1,1", "2,1", "3,1"]


@dataclass(frozen=True, eq=False)
class Agreement:
    """Intraclass correlations, one per feature.

    Parameters
    ----------
    icc : the coefficient; NaN where it cannot be told.
    low, high : its confidence interval.
    subjects : how many subjects each rests on.
    """

    icc: Values
    low: Values
    high: Values
    subjects: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MeanSquares:
    """The analysis of variance behind every intraclass correlation [Shrout & Fleiss 1979, table 1].

    Parameters
    ----------
    n, k : subjects (one number per feature) and measurements of each.
    between : mean square between subjects, BMS.
    judges : mean square between measurements, JMS.
    residual : mean square of the residual, EMS.
    """

    n: Values
    k: int
    between: Values
    judges: Values
    residual: Values

    @property
    def within(self) -> Values:
        """Mean square within subjects, WMS: measurements and residual together."""
        both: Values = (self.judges + (self.n - 1) * self.residual) / self.n
        return both

    @classmethod
    def of(cls, values: Values) -> "MeanSquares":
        """Take (n subjects, k measurements, features) apart; a subject with a gap is left out of that feature."""
        kept = np.isfinite(values).all(axis=1, keepdims=True)
        n, k = kept.sum(axis=(0, 1)).astype(float), values.shape[1]
        filled = np.where(kept, values, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            centre = filled.sum(axis=(0, 1)) / (n * k)
            filled = np.where(kept, filled - centre, 0.0)  # squares of large offsets would swallow the differences
            subjects, measurements = filled.mean(axis=1), filled.sum(axis=0) / n
            between = k * (subjects**2).sum(axis=0) / (n - 1)
            judges = n * (measurements**2).sum(axis=0) / (k - 1)
            residual = np.where(kept, filled - subjects[:, None, :] - measurements[None, :, :], 0.0)
            error = (residual**2).sum(axis=(0, 1)) / ((n - 1) * (k - 1))
        return cls(n, k, between, judges, error)


def icc_agreement(values: Values) -> Values:
    """Intraclass correlation of absolute agreement, single measurement: ICC(2,1) [Shrout & Fleiss 1979, case 2].

    ``(BMS - EMS) / (BMS + (k - 1) EMS + k (JMS - EMS) / n)`` with the mean squares between subjects, between
    measurements, and of the residual.

    Parameters
    ----------
    values : (n subjects, k measurements, features). A subject with a value that is not finite is left out of that
        feature.

    Returns
    -------
    One coefficient per feature; 1 where all measurements agree exactly and subjects differ, NaN where fewer than two
    subjects are left or nothing varies at all.

    Examples
    --------
    >>> judges = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    >>> round(float(icc_agreement(np.array(judges, float)[:, :, None])[0]), 2)
    0.29
    """
    return _coefficient(MeanSquares.of(values), "2,1")


def agreement(values: Values, kind: Kind = "2,1", confidence: float = 0.95) -> Agreement:
    """Intraclass correlations of a single measurement, with exact or (case 2) Satterthwaite's confidence intervals.

    Coefficients: Shrout & Fleiss, Psychol Bull 86:420 (1979), doi:10.1037/0033-2909.86.2.420. Intervals: McGraw &
    Wong, Psychol Methods 1:30 (1996), doi:10.1037/1082-989X.1.1.30, table 7.

    Parameters
    ----------
    values : (n subjects, k measurements, features), as for `icc_agreement`.
    kind : ``1,1`` measurements without an order of their own; ``2,1`` absolute agreement, the measurements drawn from
        many possible ones, its interval an approximation that covers up to 2.5 points less than it says (20 subjects,
        6 measurements); ``3,1`` consistency, a shift of a whole measurement counts for nothing.
    confidence : of the two-sided interval.
    """
    squares = MeanSquares.of(values)
    icc = _coefficient(squares, kind)
    low, high = (_two_way_interval if kind == "2,1" else _ratio_interval)(squares, kind, icc, 1 - (1 - confidence) / 2)
    # Measurements that agree to the last digit leave nothing to estimate the error from.
    exact = icc == 1.0
    low, high = np.where(exact, 1.0, low), np.where(exact, 1.0, high)
    return Agreement(icc, low, high, squares.n.astype(np.int64))


def _coefficient(s: MeanSquares, kind: Kind) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):
        if kind == "1,1":
            found = (s.between - s.within) / (s.between + (s.k - 1) * s.within)
        elif kind == "2,1":
            spread = s.between + (s.k - 1) * s.residual + s.k * (s.judges - s.residual) / s.n
            found = (s.between - s.residual) / spread
        else:
            found = (s.between - s.residual) / (s.between + (s.k - 1) * s.residual)
    return np.where(s.n >= 2, found, np.nan)


def _ratio_interval(s: MeanSquares, kind: Kind, icc: Values, level: float) -> tuple[Values, Values]:
    """Invert the F distribution of one ratio of mean squares: exact for cases 1 and 3."""
    from scipy.stats import f

    with np.errstate(invalid="ignore", divide="ignore"):
        noise, freedom = (s.within, s.n * (s.k - 1)) if kind == "1,1" else (s.residual, (s.n - 1) * (s.k - 1))
        ratio = s.between / noise
        least = ratio / f.ppf(level, s.n - 1, freedom)
        most = ratio * f.ppf(level, freedom, s.n - 1)
        return (least - 1) / (least + s.k - 1), (most - 1) / (most + s.k - 1)


def _two_way_interval(s: MeanSquares, kind: Kind, icc: Values, level: float) -> tuple[Values, Values]:
    """Case 2: the error is a sum of two mean squares, whose degrees of freedom follow Satterthwaite."""
    from scipy.stats import f

    n, k = s.n, s.k
    with np.errstate(invalid="ignore", divide="ignore"):
        a = k * icc / (n * (1 - icc))
        b = 1 + k * icc * (n - 1) / (n * (1 - icc))
        parts = (a * s.judges) ** 2 / (k - 1) + (b * s.residual) ** 2 / ((n - 1) * (k - 1))
        freedom = (a * s.judges + b * s.residual) ** 2 / parts
        upper, lower = f.ppf(level, n - 1, freedom), f.ppf(level, freedom, n - 1)
        error = k * s.judges + (k * n - k - n) * s.residual
        # McGraw & Wong's fractions, divided through by the quantiles: those are huge where few subjects say little.
        low = n * (s.between / upper - s.residual) / (error + n * s.between / upper)
        high = n * (s.between - s.residual / lower) / (error / lower + n * s.between)
    return low, high


def stacked(perturbed: pd.DataFrame, columns: Sequence[str]) -> tuple[Values, list[str]]:
    """Give perturbed measurements as (subjects, perturbations, columns), and the subjects.

    Parameters
    ----------
    perturbed : features, indexed by subject and perturbation; number 0 is the measurement as it was, and left out.
    columns : the features wanted, all of them there.
    """
    numbers = perturbed.index.get_level_values(PERTURBATION)
    rows = perturbed.loc[numbers != UNPERTURBED, list(columns)].sort_index()
    subjects = [str(subject) for subject in dict.fromkeys(rows.index.get_level_values(SUBJECT))]
    repeats = rows.index.get_level_values(PERTURBATION).nunique()
    if len(rows) != len(subjects) * repeats:
        raise DataError(
            f"{len(subjects)} subjects and {repeats} perturbations make {len(subjects) * repeats} rows, "
            f"found {len(rows)}: every subject must be measured under every perturbation",
            hint="Run `radfuse stability` for the whole cohort.",
        )
    return rows.to_numpy(dtype=float).reshape(len(subjects), repeats, len(columns)), subjects
