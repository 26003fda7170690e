"""Before and after: how much of the features the scanner explains, and whether it can still be told from them.

`diagnose` gives plain data, by modality that has batch labels::

    {modality: {
      "batches": {label: rows},
      "features": int,                                        # that vary, and are therefore judged
      "kruskal": {"before": share, "after": share, "held_out": share},    # features whose location differs by batch
      "levene": {"before": share, "after": share, "held_out": share},     # features whose spread differs
      "variance_explained": {"batch": {"before", "after", "held_out", "chance"},   # median over features, 0 to 1
                             "covariates": {...}},                        # only with protected covariates
      "silhouette": {"before", "after", "held_out"},          # -1 to 1; at 0 or below, the batches lie on each other
      "covariate_effect": {name: {"kept": slope, "correlation": r}},      # 1 and 1: kept as it was
      "batch_accuracy": {"before", "after", "chance", "rows", "folds"} or None,
      "batch_accuracy_note": str,
      "batch_auc": {"before", "after", "chance"} or None,
      "batch_outcome": {"cramers_v", "p", "counts": {label: {"0": n, "1": n}}} or None,
      "one_class": [label, ...],                              # batches of two rows or more with one outcome only
      "design": {"columns", "rank", "condition"},             # batch indicators beside the protected covariates
      "others": {variable: {"kruskal": {"before", "after"}, "levene": {...}}},      # further batch variables
      "pca": {"before": [[pc1, pc2], ...], "after": [...], "batch": [...], "subjects": [...]},
      "densities": [{"feature", "grid", "before": {label: [...]}, "after": {...}}, ...],
      "verdict": str,
      "report": {...}                                         # what the transformer did: `CombatTransformer.report_`
    }}

Shares are of features with a Benjamini-Hochberg q below 0.05. ``held_out`` is of rows harmonised by a fit without them
(five folds), of batches of five rows or more (of two, where there are not two such); so are ``batch_accuracy``, the
balanced accuracy of telling the batch of such rows, and ``batch_auc``. They are None when they cannot be had, and then
``batch_accuracy_note`` says why. Held-out accuracy of a batch that cannot be told lies at chance or a little below it.
``pca`` uses the axes of the features before, for both. A number that cannot be computed is None. Rows without a batch
label, or without the modality, take no part. Where groups are declared, each is in one fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.data.names import modality_of
from radfuse.data.table import CONTEXT, feature_columns
from radfuse.errors import ConfigError, DataError
from radfuse.harmonize.covariates import conditioning, encode, learn
from radfuse.harmonize.differences import FALSE_DISCOVERY_RATE, kruskal, levene, share
from radfuse.harmonize.held_out import HeldOut, hold_out
from radfuse.harmonize.labels import labels_of, texts
from radfuse.harmonize.matrix import batch_column
from radfuse.harmonize.views import coordinates, densities, silhouette

Array = npt.NDArray[np.float64]

WORSE = 0.05  # a share of features; less is the noise of a small cohort
LOST = 0.8  # a covariate's effect below this share is said to be lost in part


def diagnose(
    before: pd.DataFrame,
    after: pd.DataFrame,
    build: Callable[[], Any],
    *,
    report: Mapping[str, Any],
    protect: tuple[str, ...] = (),
    outcome: pd.Series | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare rows before and after harmonising.

    Parameters
    ----------
    before, after : rows as `FeatureTable.rows` gives them, without missing features; same rows and columns.
    build : makes an unfitted harmoniser, for the held-out test.
    report : what the harmoniser did, by modality.
    protect : names of protected covariates.
    outcome : 0 or 1 by row, only to warn where batch and outcome go together.
    seed : of the folds of the held-out test.
    """
    found = {}
    for modality in dict.fromkeys(modality_of(column) for column in feature_columns(before)):
        if batch_column(modality) not in before:
            continue
        labels = labels_of(before, modality)
        own = labels.notna().to_numpy()
        if not own.any():
            continue
        columns = [column for column in feature_columns(before) if modality_of(column) == modality]
        done = dict(report.get(modality, {}))
        found[modality] = _diagnose_one(
            before[own], after[own], columns, labels[own], build, protect, outcome, seed, done.get("order", ())
        )
        found[modality]["report"] = done
    return found


def _diagnose_one(
    before: pd.DataFrame,
    after: pd.DataFrame,
    columns: list[str],
    labels: pd.Series,
    build: Callable[[], Any],
    protect: tuple[str, ...],
    outcome: pd.Series | None,
    seed: int,
    variables: tuple[str, ...],
) -> dict[str, Any]:
    batch = labels.to_numpy(dtype=object)
    pair = {"before": before[columns].to_numpy(np.float64), "after": after[columns].to_numpy(np.float64)}
    varies = np.all([np.ptp(values, axis=0) > 0 for values in pair.values()], axis=0)
    pair = {moment: values[:, varies] for moment, values in pair.items()}
    spread = pair["before"].std(axis=0)
    names, counts = np.unique(batch.astype(str), return_counts=True)
    indicators = (batch[:, None] == names[None, 1:].astype(object)).astype(np.float64)
    encoded = {
        name: encode(before[f"{CONTEXT}{name}"], learn(before[f"{CONTEXT}{name}"]), "mode")[0] for name in protect
    }
    facts = np.hstack([np.zeros((len(batch), 0)), *encoded.values()])
    rank, condition = conditioning(facts, batch.astype(str))
    differs = kruskal(pair["before"], batch)
    explained = {"batch": _explained(pair, indicators)}
    if protect:
        explained["covariates"] = _explained(pair, facts)
    found: dict[str, Any] = {
        "batches": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "features": int(varies.sum()),
        "kruskal": {moment: share(kruskal(values, batch)) for moment, values in pair.items()},
        "levene": {moment: share(levene(values, batch)) for moment, values in pair.items()},
        "variance_explained": explained,
        "silhouette": {moment: silhouette(values, batch, spread, seed) for moment, values in pair.items()},
        "covariate_effect": _effects(pair, np.hstack([indicators, *_further(before, variables)]), encoded, spread),
        "batch_outcome": None,
        "one_class": [],
        "design": {"columns": len(names) + facts.shape[1], "rank": rank, "condition": condition},
        "others": _others(before, after, [columns[place] for place in np.flatnonzero(varies)], variables),
        "pca": coordinates(pair) | {"batch": [str(b) for b in batch], "subjects": [str(s) for s in before.index]},
        "densities": densities(pair, batch, [columns[place] for place in np.flatnonzero(varies)], differs),
    }
    if outcome is not None:
        linked = _association(batch, outcome.loc[before.index])
        counted = linked["counts"].items()
        found["batch_outcome"] = linked
        found["one_class"] = [name for name, n in counted if sum(n.values()) > 1 and max(n.values()) == sum(n.values())]
    held, note = None, "fewer than two batches have two rows or more"
    try:
        held = hold_out(before, columns, batch, build, seed)
    except (ConfigError, DataError) as error:  # the harmoniser refuses a fold that holds fewer rows than the table
        note = f"{type(error).__name__}: {error.message}"
    found |= {"batch_accuracy": None, "batch_accuracy_note": note, "batch_auc": None}
    if held is not None:
        found |= _told(held) | {"batch_accuracy_note": ""}
        _add_held_out(found, held, batch, indicators, facts, varies, spread, seed)
    found["verdict"] = verdict(found)
    return found


def verdict(found: Mapping[str, Any]) -> str:
    """Say in words what the numbers of one modality mean."""
    if len(found["batches"]) < 2:
        return "All rows are of one batch: there is nothing to harmonise."
    differ, accuracy = found["kruskal"], found["batch_accuracy"]
    if differ["before"] is None:
        fitted = [label for label, rows in found["batches"].items() if rows > 1]
        if len(fitted) < 2:
            return (
                f"Not harmonised: {len(fitted)} of {len(found['batches'])} batches have two rows or more, and ComBat "
                "needs two such batches. The values are unchanged."
            )
        return "No feature varies: the batch effect cannot be judged."
    words = []
    if differ["after"] > differ["before"] + WORSE:
        words.append("WORSE after harmonising: look at the figures before using it.")
    fresh = "" if differ.get("held_out") is None else f", {differ['held_out']:.0%} in rows that the fit has not seen"
    if differ["before"] < FALSE_DISCOVERY_RATE:
        words.append(f"Few features differ between batches to begin with ({differ['before']:.0%}).")
    else:
        words.append(
            f"{differ['before']:.0%} of the features differ between batches before, {differ['after']:.0%} after{fresh}."
        )
    if accuracy is not None:
        words.append(
            f"The batch of held-out rows is told with a balanced accuracy of {accuracy['before']:.2f} before and "
            f"{accuracy['after']:.2f} after; chance is {accuracy['chance']:.2f}."
        )
    for name, effect in found.get("covariate_effect", {}).items():
        if effect["kept"] is not None and effect["kept"] < LOST:
            words.append(f"Of the effect of {name}, {max(effect['kept'], 0.0):.0%} is left.")
    linked = found["batch_outcome"]
    if linked is not None and linked["p"] is not None and linked["p"] < 0.05:
        words.append(
            f"Batch and outcome go together (Cramer's V {linked['cramers_v']:.2f}, p = {linked['p']:.2g}): harmonising "
            "may remove signal, and an AUC may owe something to the batch. See the batch-only baseline."
        )
    if found.get("one_class"):
        words.append(
            f"All patients of {', '.join(found['one_class'])} have the same outcome: nothing can be learnt there."
        )
    return " ".join(words)


def _told(held: HeldOut) -> dict[str, Any]:
    chance = {"chance": 1 / held.batches, "rows": len(held.places), "folds": held.folds}
    return {"batch_accuracy": held.accuracy | chance, "batch_auc": held.auc | {"chance": 0.5}}


def _add_held_out(
    found: dict[str, Any],
    held: HeldOut,
    batch: npt.NDArray[Any],
    indicators: Array,
    facts: Array,
    varies: npt.NDArray[np.bool_],
    spread: Array,
    seed: int,
) -> None:
    """Judge the rows harmonised by fits without them, beside before and after."""
    own, values = batch[held.places], held.values[:, varies]
    found["kruskal"]["held_out"] = share(kruskal(values, own))
    found["levene"]["held_out"] = share(levene(values, own))
    found["silhouette"]["held_out"] = silhouette(values, own, spread, seed)
    varied = values[:, np.ptp(values, axis=0) > 0]
    for name, explained in found["variance_explained"].items():
        columns = (indicators if name == "batch" else facts)[held.places]
        explained["held_out"] = _explained({"held_out": varied}, columns)["held_out"]


def _explained(pair: Mapping[str, Array], columns: Array) -> dict[str, float | None]:
    """Median over features of the share of variance that some columns explain; chance is (columns)/(rows - 1)."""
    columns = columns - columns.mean(axis=0)
    basis, weight, _ = np.linalg.svd(columns, full_matrices=False)
    basis = basis[:, weight > 1e-10 * max(weight.max(initial=0.0), 1e-300)]
    found: dict[str, float | None] = {}
    for moment, values in pair.items():
        centred = values - values.mean(axis=0)
        total = (centred**2).sum(axis=0)
        found[moment] = float(np.median(((basis.T @ centred) ** 2).sum(axis=0) / total)) if total.size else None
    return found | {"chance": basis.shape[1] / max(len(columns) - 1, 1)}


def _effects(
    pair: Mapping[str, Array], indicators: Array, encoded: Mapping[str, Array], spread: Array
) -> dict[str, dict[str, float | None]]:
    """By covariate, how its effects after follow those before, over all features.

    Before, an effect is that within the batches; after, when the batches should be alike, that over all rows: so what
    was taken out together with the batch is missed. Effects are in standard deviations of the feature before. ``kept``
    is the slope of a line through the origin, 1 where every effect is as large as it was; ``correlation`` is around
    the origin too.
    """
    if not spread.size or not encoded:
        return {}
    facts = np.hstack([np.ones((len(indicators), 1)), *encoded.values()])
    designs = {"before": np.hstack([facts, indicators]), "after": facts}
    slopes = {m: np.linalg.lstsq(designs[m], values / spread, rcond=None)[0] for m, values in pair.items()}
    found: dict[str, dict[str, float | None]] = {}
    start = 1
    for name, columns in encoded.items():
        first, second = (slopes[m][start : start + columns.shape[1]].ravel() for m in ("before", "after"))
        start += columns.shape[1]
        both, own, other = float(first @ second), float(first @ first), float(second @ second)
        known = own > 0 and other > 0
        found[name] = {
            "kept": both / own if known else None,
            "correlation": both / float(np.sqrt(own * other)) if known else None,
        }
    return found


def _further(before: pd.DataFrame, variables: tuple[str, ...]) -> list[Array]:
    """Indicators of the labels of further batch variables; a missing label is one of its own."""
    named = [texts(before[f"{CONTEXT}{name}"]) for name in variables if f"{CONTEXT}{name}" in before]
    labels = [pd.Series([text or "" for text in each], index=before.index) for each in named]
    return [pd.get_dummies(each, drop_first=True).to_numpy(np.float64) for each in labels]


def _others(
    before: pd.DataFrame, after: pd.DataFrame, columns: list[str], variables: tuple[str, ...]
) -> dict[str, Any]:
    """Whether features differ between the labels of further batch variables, as nested ComBat has them."""
    found = {}
    for name in [name for name in variables if f"{CONTEXT}{name}" in before]:
        named = pd.Series(texts(before[f"{CONTEXT}{name}"]), index=before.index, dtype=object)
        known = named.notna().to_numpy()
        labels = named[known].to_numpy(dtype=object)
        pair = {"before": before.loc[known, columns], "after": after.loc[known, columns]}
        values = {moment: each.to_numpy(np.float64) for moment, each in pair.items()}
        found[name] = {
            "kruskal": {moment: share(kruskal(each, labels)) for moment, each in values.items()},
            "levene": {moment: share(levene(each, labels)) for moment, each in values.items()},
        }
    return found


def _association(batch: npt.NDArray[Any], outcome: pd.Series) -> dict[str, Any]:
    """Cramer's V and p of batch against outcome: Fisher's exact test for two by two, chi-square otherwise."""
    from scipy import stats

    counts = pd.crosstab(batch, outcome.to_numpy())
    listed = {str(label): {str(k): int(v) for k, v in row.items()} for label, row in counts.to_dict("index").items()}
    table = counts.to_numpy()
    if min(table.shape) < 2:
        return {"cramers_v": None, "p": None, "counts": listed}
    square, p, _, _ = stats.chi2_contingency(table, correction=False)
    if table.shape == (2, 2):
        p = stats.fisher_exact(table).pvalue
    strength = float(np.sqrt(square / table.sum() / (min(table.shape) - 1)))
    return {"cramers_v": strength, "p": float(p), "counts": listed}
