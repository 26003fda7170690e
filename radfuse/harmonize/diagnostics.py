"""Before and after: how much of the features the scanner explains, and whether it can still be told from them.

`diagnose` gives plain data, by modality that has batch labels::

    {modality: {
      "batches": {label: rows},
      "features": int,                                        # that vary, and are therefore judged
      "kruskal": {"before": share, "after": share},           # of features whose location differs between batches
      "levene": {"before": share, "after": share},            # of features whose spread differs
      "variance_explained": {"batch": {"before", "after", "chance"},      # median over features, 0 to 1
                             "covariates": {"before", "after", "chance"}},  # only with protected covariates
      "batch_accuracy": {"before", "after", "chance", "rows", "folds"} or None,
      "batch_accuracy_note": str,
      "batch_outcome": {"cramers_v", "p", "counts": {label: {"0": n, "1": n}}} or None,
      "pca": {"before": [[pc1, pc2], ...], "after": [...], "batch": [...], "subjects": [...]},
      "verdict": str,
      "report": {...}                                         # what the transformer did: `CombatTransformer.report_`
    }}

Shares are of features with a Benjamini-Hochberg q below 0.05. ``batch_accuracy`` is the balanced accuracy of telling
the batch of *held-out* rows, the harmoniser fitted without them, among batches of five rows or more (of two, where
there are not two such); None when it cannot be had, and then ``batch_accuracy_note`` says why. Held-out accuracy of a
batch that cannot be told lies at chance or a little below it.
``pca`` uses the axes of the features before, for both. A number that cannot be computed is None. Rows without a batch
label take no part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.data.names import modality_of
from radfuse.data.table import BATCH, CONTEXT, feature_columns
from radfuse.errors import ConfigError, DataError
from radfuse.harmonize.covariates import encode, learn

Array = npt.NDArray[np.float64]

FALSE_DISCOVERY_RATE = 0.05
WORSE = 0.05  # a share of features; less is the noise of a small cohort
MAX_FOLDS = 5
MAX_COMPONENTS = 5


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
        label = f"{CONTEXT}{BATCH}{modality}"
        if label not in before:
            continue
        own = before[label].notna().to_numpy()
        if not own.any():
            continue
        columns = [column for column in feature_columns(before) if modality_of(column) == modality]
        found[modality] = _diagnose_one(before[own], after[own], columns, label, build, protect, outcome, seed)
        found[modality]["report"] = dict(report.get(modality, {}))
    return found


def _diagnose_one(
    before: pd.DataFrame,
    after: pd.DataFrame,
    columns: list[str],
    label: str,
    build: Callable[[], Any],
    protect: tuple[str, ...],
    outcome: pd.Series | None,
    seed: int,
) -> dict[str, Any]:
    batch = before[label].astype(str).to_numpy(dtype=object)
    pair = {"before": before[columns].to_numpy(np.float64), "after": after[columns].to_numpy(np.float64)}
    varies = np.all([np.ptp(values, axis=0) > 0 for values in pair.values()], axis=0)
    pair = {moment: values[:, varies] for moment, values in pair.items()}
    names, counts = np.unique(batch.astype(str), return_counts=True)
    indicators = (batch[:, None] == names[None, 1:].astype(object)).astype(np.float64)
    explained = {"batch": _explained(pair, indicators)}
    if protect:
        facts = [encode(before[f"{CONTEXT}{name}"], learn(before[f"{CONTEXT}{name}"]), "mode")[0] for name in protect]
        explained["covariates"] = _explained(pair, np.hstack(facts))
    found: dict[str, Any] = {
        "batches": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "features": int(varies.sum()),
        "kruskal": {moment: _share(_kruskal(values, batch)) for moment, values in pair.items()},
        "levene": {moment: _share(_levene(values, batch)) for moment, values in pair.items()},
        "variance_explained": explained,
        "batch_outcome": None if outcome is None else _association(batch, outcome.loc[before.index]),
        "pca": _coordinates(pair) | {"batch": [str(b) for b in batch], "subjects": [str(s) for s in before.index]},
    }
    try:
        found |= {"batch_accuracy": _held_out(before, columns, batch, build, seed), "batch_accuracy_note": ""}
    except (ConfigError, DataError) as error:  # the harmoniser refuses a fold that holds fewer rows than the table
        found |= {"batch_accuracy": None, "batch_accuracy_note": f"{type(error).__name__}: {error.message}"}
    if found["batch_accuracy"] is None and not found["batch_accuracy_note"]:
        found["batch_accuracy_note"] = "fewer than two batches have two rows or more"
    found["verdict"] = verdict(found)
    return found


def verdict(found: Mapping[str, Any]) -> str:
    """Say in words what the numbers of one modality mean."""
    if len(found["batches"]) < 2:
        return "All rows are of one batch: there is nothing to harmonise."
    kruskal, accuracy = found["kruskal"], found["batch_accuracy"]
    if kruskal["before"] is None:
        fitted = [label for label, rows in found["batches"].items() if rows > 1]
        if len(fitted) < 2:
            return (
                f"Not harmonised: {len(fitted)} of {len(found['batches'])} batches have two rows or more, and ComBat "
                "needs two such batches. The values are unchanged."
            )
        return "No feature varies: the batch effect cannot be judged."
    words = []
    if kruskal["after"] > kruskal["before"] + WORSE:
        words.append("WORSE after harmonising: look at the figures before using it.")
    if kruskal["before"] < FALSE_DISCOVERY_RATE:
        words.append(f"Few features differ between batches to begin with ({kruskal['before']:.0%}).")
    else:
        words.append(
            f"{kruskal['before']:.0%} of the features differ between batches before, {kruskal['after']:.0%} after."
        )
    if accuracy is not None:
        words.append(
            f"The batch of held-out rows is told with a balanced accuracy of {accuracy['before']:.2f} before and "
            f"{accuracy['after']:.2f} after; chance is {accuracy['chance']:.2f}."
        )
    linked = found["batch_outcome"]
    if linked is not None and linked["p"] is not None and linked["p"] < 0.05:
        words.append(
            f"Batch and outcome go together (Cramer's V {linked['cramers_v']:.2f}, p = {linked['p']:.2g}): harmonising "
            "may remove signal, and an AUC may owe something to the batch. See the batch-only baseline."
        )
    return " ".join(words)


def _groups(values: Array, batch: npt.NDArray[Any]) -> list[Array]:
    """The rows of each batch that has two or more."""
    groups = [values[batch == name] for name in sorted(set(batch.tolist()))]
    return [group for group in groups if len(group) >= 2]


def _kruskal(values: Array, batch: npt.NDArray[Any]) -> Array | None:
    """Kruskal-Wallis p per feature, corrected for ties [Kruskal & Wallis 1952, JASA 47:583]."""
    from scipy import stats

    groups = _groups(values, batch)
    if len(groups) < 2 or not values.shape[1]:
        return None
    ranks = stats.rankdata(np.vstack(groups), axis=0)
    n = len(ranks)
    sizes = [len(group) for group in groups]
    parts = np.split(ranks, np.cumsum(sizes)[:-1])
    # With ties, the variance of the ranks themselves takes the place of n(n + 1)/12.
    between = sum(len(part) * (part.mean(axis=0) - (n + 1) / 2) ** 2 for part in parts)
    spread = ranks.var(axis=0, ddof=1)
    statistic = np.divide(between, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.asarray(stats.chi2.sf(statistic, len(groups) - 1))


def _levene(values: Array, batch: npt.NDArray[Any]) -> Array | None:
    """Levene p per feature, deviations from the batch's median [Brown & Forsythe 1974, JASA 69:364]."""
    from scipy import stats

    groups = [np.abs(group - np.median(group, axis=0)) for group in _groups(values, batch)]
    rows = sum(len(group) for group in groups)
    if len(groups) < 2 or not values.shape[1] or rows <= len(groups):
        return None
    middle = np.vstack(groups).mean(axis=0)
    between = sum(len(g) * (g.mean(axis=0) - middle) ** 2 for g in groups) / (len(groups) - 1)
    within = sum(((g - g.mean(axis=0)) ** 2).sum(axis=0) for g in groups) / (rows - len(groups))
    statistic = np.divide(between, within, out=np.zeros_like(within), where=within > 0)
    return np.asarray(stats.f.sf(statistic, len(groups) - 1, rows - len(groups)))


def _share(p: Array | None) -> float | None:
    """The share of features significant after Benjamini and Hochberg's correction."""
    from scipy import stats

    if p is None:
        return None
    return float((stats.false_discovery_control(p) < FALSE_DISCOVERY_RATE).mean())


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


def _held_out(
    rows: pd.DataFrame, columns: list[str], batch: npt.NDArray[Any], build: Callable[[], Any], seed: int
) -> dict[str, Any] | None:
    """Tell the batch of rows that neither the harmoniser nor the classifier has seen."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedKFold

    names, counts = np.unique(batch.astype(str), return_counts=True)
    least = MAX_FOLDS if (counts >= MAX_FOLDS).sum() >= 2 else 2  # a tiny batch would leave too few folds for all
    large = names[counts >= least]
    if len(large) < 2:
        return None
    kept = np.isin(batch.astype(str), large)
    own, truth = rows[kept], batch[kept].astype(str)
    context = [column for column in own.columns if column.startswith(CONTEXT)]
    own = own[columns + context]
    folds = int(min(MAX_FOLDS, counts[counts >= least].min()))
    told = {moment: np.empty(len(own), dtype=object) for moment in ("before", "after")}
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(own, truth):
        harmonizer = build().fit(own.iloc[train])
        for moment in told:
            change = harmonizer.transform if moment == "after" else lambda given: given
            known = change(own.iloc[train])[columns].to_numpy(np.float64)
            fresh = change(own.iloc[test])[columns].to_numpy(np.float64)
            varies = np.ptp(known, axis=0) > 0
            if not varies.any():
                told[moment][test] = large[0]
                continue
            told[moment][test] = (
                _classifier(known[:, varies]).fit(known[:, varies], truth[train]).predict(fresh[:, varies])
            )
    scores = {moment: float(balanced_accuracy_score(truth, guess.astype(str))) for moment, guess in told.items()}
    return scores | {"chance": 1 / len(large), "rows": len(own), "folds": folds}


def _classifier(known: Array) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    components = min(MAX_COMPONENTS, known.shape[0] - 1, known.shape[1])
    return make_pipeline(
        StandardScaler(),
        PCA(components, svd_solver="full"),
        LogisticRegression(class_weight="balanced", max_iter=2000),
    )


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


def _coordinates(pair: Mapping[str, Array]) -> dict[str, list[list[float]]]:
    """Two principal coordinates of each row, on the axes of the standardised features before."""
    before = pair["before"]
    if not before.shape[1]:
        return {moment: [[0.0, 0.0] for _ in values] for moment, values in pair.items()}
    middle, spread = before.mean(axis=0), before.std(axis=0)
    _, _, axes = np.linalg.svd((before - middle) / spread, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2][np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    axes = np.vstack([axes, np.zeros((2 - len(axes), before.shape[1]))])
    return {moment: (((values - middle) / spread) @ axes.T).tolist() for moment, values in pair.items()}
