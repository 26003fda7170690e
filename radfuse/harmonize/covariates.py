"""Covariates: turn protected facts into columns of numbers, as the training rows define them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.errors import ConfigError, DataError
from radfuse.harmonize import splines

Array = npt.NDArray[np.float64]
Learnt = Mapping[str, Any]

CONDITION_LIMIT = 1e8
ENTANGLED = 0.8  # share of a covariate's variance between batches from which it is named


def learn(column: pd.Series, knots: int = 0) -> dict[str, Any]:
    """Learn how to encode a covariate: numbers are continuous, anything else is categorical.

    Continuous ones are centred and scaled; of a categorical one the first level (sorted) has no column. What is missing
    later is replaced by the median, or by the commonest level (the first of them in sorting order).

    Parameters
    ----------
    column : the training rows' values.
    knots : give a continuous covariate the columns of a natural cubic spline with so many knots at quantiles; 0 for a
        straight line. With too few different values (a code such as 0 and 1) it stays a straight line.
    """
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        known = column.dropna().to_numpy(dtype=np.float64)
        if not np.isfinite(known).all():
            raise DataError(f"covariate {column.name!r} holds an infinite value", hint="Correct the clinical table.")
        fill = float(np.median(known)) if known.size else 0.0
        filled = column.to_numpy(dtype=np.float64, na_value=np.nan)
        filled = np.where(np.isnan(filled), fill, filled)
        learnt = {
            "kind": "continuous",
            "fill": fill,
            "centre": float(filled.mean()),
            "scale": float(filled.std()) or 1.0,
        }
        places = splines.knots(known, knots) if knots else None
        if places is None:
            return learnt
        columns = splines.columns(filled, places)
        spread = np.where(columns.std(axis=0) > 0, columns.std(axis=0), 1.0)
        return learnt | {"kind": "smooth", "knots": places, "centre": columns.mean(axis=0), "scale": spread}
    text = column.dropna().astype(str)
    counts = text.value_counts()
    levels = sorted(counts.index)
    fill_level = min(counts.index, key=lambda level: (-counts[level], level)) if levels else ""
    return {"kind": "categorical", "fill": fill_level, "levels": levels}


def encode(column: pd.Series, learnt: Learnt, unseen_level: str) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Give the columns (row, column) of a covariate, and which rows had to be filled in.

    ``unseen_level`` is ``mode`` (fill in) or ``refuse``.
    """
    missing = column.isna().to_numpy()
    if learnt["kind"] in ("continuous", "smooth"):
        if not pd.api.types.is_numeric_dtype(column):
            raise DataError(f"covariate {column.name!r} is text here and was a number where the model was fitted")
        number = column.to_numpy(dtype=np.float64, na_value=np.nan)
        number = np.where(missing, learnt["fill"], number)
        if not np.isfinite(number).all():
            raise DataError(f"covariate {column.name!r} holds an infinite value", hint="Correct the clinical table.")
        columns = splines.columns(number, learnt["knots"]) if learnt["kind"] == "smooth" else number[:, None]
        return (columns - learnt["centre"]) / learnt["scale"], missing
    text = column.astype(str).to_numpy(dtype=object)
    unknown = ~missing & ~np.isin(text, learnt["levels"])
    if unknown.any() and unseen_level == "refuse":
        raise DataError(
            f"covariate {column.name!r} has the level {text[unknown][0]!r}, which training lacks; "
            f"known: {', '.join(learnt['levels'])}",
            hint="Join rare levels in the clinical table, or set harmonizer.unseen_level: mode.",
        )
    replaced = missing | unknown
    text = np.where(replaced, learnt["fill"], text)
    own = [(text == level).astype(np.float64) for level in learnt["levels"][1:]]
    return (np.stack(own, axis=1) if own else np.zeros((len(text), 0))), replaced


def require_separable(design: Array, batch: npt.NDArray[Any], facts: pd.DataFrame, modality: str) -> None:
    """Refuse covariates that cannot be told from the batches.

    Parameters
    ----------
    design : encoded covariates (row, column); a column without variation is ignored.
    batch : batch name of each row.
    facts : the covariates as given, for the message; same rows.
    modality : for the message.
    """
    whole, condition = _condition(design, batch)
    if condition <= CONDITION_LIMIT:
        return
    raise ConfigError(
        f"{modality}: the protected covariates cannot be told from the batches "
        f"({whole.shape[0]} rows, {whole.shape[1]} columns, condition number {condition:.1e}):\n{_table(batch, facts)}",
        hint="Protect fewer covariates, or merge batches with harmonizer.merge.",
    )


def separable(design: Array, batch: npt.NDArray[Any]) -> bool:
    """Whether least squares can tell the covariates from the batches."""
    return _condition(design, batch)[1] <= CONDITION_LIMIT


def conditioning(design: Array, batch: npt.NDArray[Any]) -> tuple[int, float | None]:
    """Give rank and condition number of batch indicators beside covariates; a condition that is infinite is None."""
    whole, condition = _condition(design, batch)
    return int(np.linalg.matrix_rank(whole)), condition if condition < CONDITION_LIMIT else None


def _condition(design: Array, batch: npt.NDArray[Any]) -> tuple[Array, float]:
    """Give batch indicators beside the covariates that vary, and the condition number of their scaled columns."""
    varying = design[:, np.ptp(design, axis=0) > 0] if design.size else design
    names = np.unique(batch)
    indicators = (batch[:, None] == names[None, :]).astype(np.float64)
    whole = np.hstack([indicators, varying])
    if varying.shape[1] == 0:
        return whole, 1.0
    if whole.shape[0] < whole.shape[1]:
        return whole, float("inf")
    values = np.linalg.svd(whole / np.linalg.norm(whole, axis=0), compute_uv=False)
    return whole, float(values[0] / max(values[-1], np.finfo(float).tiny))


def entangled(design: Array, batch: npt.NDArray[Any]) -> float:
    """Give the share of one covariate's variance (all its columns) that lies between the batches, 0 to 1."""
    total = float(((design - design.mean(axis=0)) ** 2).sum())
    within = 0.0
    for name in sorted(set(batch.tolist())):
        own = design[batch == name]
        within += float(((own - own.mean(axis=0)) ** 2).sum())
    return 1.0 - within / total if total > 0 else 0.0


def refuse_outcome(protect: Sequence[str], facts: pd.DataFrame, outcome: Any) -> None:
    """Refuse a protected covariate that is the outcome under another name.

    Parameters
    ----------
    protect : names of the protected covariates.
    facts : those covariates, one row per training row.
    outcome : the labels, or None when unknown.
    """
    if outcome is None:
        return
    labels = np.asarray(outcome).ravel()
    if len(np.unique(labels)) < 2:
        return
    for name in protect:
        pairs = pd.DataFrame({"value": facts[name].astype(str).to_numpy(), "label": labels}).drop_duplicates()
        if len(pairs) == 2 and pairs["value"].nunique() == 2:
            raise ConfigError(
                f"the protected covariate {name!r} is the outcome under another name: it tells the two classes apart "
                f"in all {len(labels)} training rows",
                hint="Protecting the outcome alone makes an AUC of 0.67 out of noise; take it out of protect.",
            )


def _table(batch: npt.NDArray[Any], facts: pd.DataFrame) -> str:
    parts = []
    for name in facts.columns:
        column = facts[name].reset_index(drop=True)
        if pd.api.types.is_numeric_dtype(column) and column.nunique() > 6:
            parts.append(column.groupby(batch).agg(["count", "min", "max"]).rename_axis(f"batch | {name}").to_string())
        else:
            counts = pd.crosstab(pd.Series(batch, name="batch"), column.astype(str).rename(name))
            parts.append(counts.to_string())
    return "\n".join(parts)
