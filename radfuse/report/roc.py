"""ROC curves of pairs within a fold.

Each fold has its own curve, because scores of different folds come from different models. Curves are averaged
vertically [Fawcett 2006, doi:10.1016/j.patrec.2005.10.010, algorithm 3] over the folds of a repeat and then over the
repeats; the area under the mean curve is therefore exactly the ``auc`` of the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.data.predictions import Predictions
from radfuse.report.drawing import BLUE, FUSION, GREY, INK, svg
from radfuse.report.section import MINUS, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

GRID = np.arange(101) / 100
RESAMPLES = 200


def fold_curve(outcome: npt.ArrayLike, score: npt.ArrayLike) -> tuple[Array, Array]:
    """The empirical curve of one fold: false and true positive rate from (0, 0) to (1, 1); equal scores are one step.

    Examples
    --------
    >>> fold_curve([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    (array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]))
    """
    order, last = _ranked(np.asarray(score, dtype=float))
    truth = np.asarray(outcome, dtype=float)[order]
    ones, zeros = np.cumsum(truth)[last], np.cumsum(1.0 - truth)[last]
    return np.concatenate([[0.0], zeros / zeros[-1]]), np.concatenate([[0.0], ones / ones[-1]])


def mean_curve(rows: pd.DataFrame) -> tuple[Array, Array] | None:
    """The mean of the fold curves of one arm; None where no fold holds both outcomes."""
    curves: list[list[tuple[Array, Array]]] = []
    for _, repeat in rows.groupby("repeat", sort=True):
        folds = [fold for _, fold in repeat.groupby("fold", sort=True) if fold["outcome"].nunique() == 2]
        if folds:
            curves.append([fold_curve(fold["outcome"], fold["score"]) for fold in folds])
    if not curves:
        return None
    # Between the vertices of all folds every curve is straight, so their mean is known exactly from both sides of each.
    at = np.unique(np.concatenate([fpr for folds in curves for fpr, _ in folds]))
    below = np.mean([np.mean([_below(at, *fold) for fold in folds], axis=0) for folds in curves], axis=0)
    above = np.mean([np.mean([np.interp(at, *fold) for fold in folds], axis=0) for folds in curves], axis=0)
    return np.repeat(at, 2), np.column_stack([below, above]).ravel()


def band(rows: pd.DataFrame, resamples: int, seed: int) -> tuple[Array, Array]:
    """Pointwise 95 % band of the mean curve on `GRID`, from patients drawn anew within their class.

    The models are not fitted again: the band holds what the choice of patients to score would change. It is centred
    on the curve, because drawing a fold's few negatives anew moves the steps, which lifts the resampled curves where
    the curve itself is flat.
    """
    curve = mean_curve(rows)
    if curve is None:
        return np.full(len(GRID), np.nan), np.full(len(GRID), np.nan)
    unit = "group" if "group" in rows.columns else "subject"
    has_event = rows.groupby(unit)["outcome"].max().sort_index()
    weights = _drawn(has_event.to_numpy(), resamples, np.random.default_rng(seed))
    position = has_event.index.get_indexer(pd.Index(rows[unit]))
    outcome, score = rows["outcome"].to_numpy(float), rows["score"].to_numpy(float)
    by_repeat: dict[object, list[npt.NDArray[np.intp]]] = {}
    for index in rows.groupby(["repeat", "fold"], sort=True).indices.values():
        by_repeat.setdefault(rows["repeat"].iloc[index[0]], []).append(np.asarray(index))
    repeats = [_mean([_heights(outcome[i], score[i], weights[:, position[i]]) for i in f]) for f in by_repeat.values()]
    height = _mean(repeats)
    known = height[~np.isnan(height[:, 0])]
    if not len(known):
        return np.full(len(GRID), np.nan), np.full(len(GRID), np.nan)
    shifted = np.quantile(known, [0.025, 0.975], axis=0) - known.mean(axis=0) + np.interp(GRID, *curve)
    low, high = np.maximum.accumulate(np.clip(shifted, 0.0, 1.0), axis=1)
    return low, high


def arm_roc_svg(predictions: Predictions, arm: str) -> bytes:
    """One arm's mean ROC curve with its band."""
    rows = predictions.of(arm).reset_index(drop=True)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        frame(axes, arm)
        draw_arm(axes, rows, FUSION.get(str(rows["fusion"].iloc[0]), BLUE), RESAMPLES, 0)

    return svg(draw, 4.2, 4.2)


def draw_arm(axes: Axes, rows: pd.DataFrame, colour: str, resamples: int, seed: int) -> None:
    """Draw an arm's mean curve over its band."""
    curve = mean_curve(rows)
    if curve is None:
        axes.text(0.5, 0.5, "no fold holds both outcomes", ha="center", va="center", color=GREY)
        return
    low, high = band(rows, resamples, seed)
    axes.fill_between(GRID, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(*curve, color=colour, linewidth=2)
    area = float(np.trapezoid(curve[1], curve[0]))
    axes.text(0.98, 0.04, f"AUC {number(area)}", ha="right", color=INK, weight="bold")


def frame(axes: Axes, title: str) -> None:
    """Prepare a panel: the diagonal is what guessing gives."""
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", title=title)
    axes.set_xlabel(f"false positive rate (1 {MINUS} specificity)")
    axes.set_ylabel("true positive rate (sensitivity)")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])


def _ranked(score: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """From the highest score down, and the last place of each run of equal scores."""
    order = np.argsort(-score, kind="stable")
    return order, np.flatnonzero(np.append(np.diff(score[order]) != 0, True))


def _below(at: Array, fpr: Array, tpr: Array) -> Array:
    """The height just left of each place; `numpy.interp` gives the one just right of it."""
    return np.interp(-at, -fpr[::-1], tpr[::-1])


def _heights(outcome: Array, score: Array, weights: npt.NDArray[np.int64]) -> Array:
    """The fold's curve on `GRID` under each weighting; NaN where a weighting leaves out an outcome."""
    order, last = _ranked(score)
    ones = np.cumsum(weights[:, order] * outcome[order], axis=1)[:, last]
    zeros = np.cumsum(weights[:, order] * (1 - outcome[order]), axis=1)[:, last]
    found = np.full((len(weights), len(GRID)), np.nan)
    for row in np.flatnonzero((ones[:, -1] > 0) & (zeros[:, -1] > 0)):
        fpr, tpr = zeros[row] / zeros[row, -1], ones[row] / ones[row, -1]
        found[row] = np.interp(GRID, np.append(0.0, fpr), np.append(0.0, tpr))
    return found


def _drawn(has_event: npt.NDArray[np.int64], resamples: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    weights = np.zeros((resamples, len(has_event)), dtype=np.int64)
    for label in np.unique(has_event):
        units = np.flatnonzero(has_event == label)
        weights[:, units] = rng.multinomial(len(units), np.full(len(units), 1 / len(units)), size=resamples)
    return weights


def _mean(values: list[Array]) -> Array:
    """The mean of those that are known."""
    stacked = np.array(values)
    known = ~np.isnan(stacked)
    total, count = np.where(known, stacked, 0.0).sum(axis=0), known.sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))
