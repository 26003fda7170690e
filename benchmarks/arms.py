"""Time judging: ``python benchmarks/arms.py features.parquet subjects.csv``.

A run folder holds both files. Every arm of radfuse (splits of 5 folds, 10 repeats, without permutations) beside a
plain scikit-learn loop that refits neuroCombat in each fold, as it is commonly written: for each modality alone and
for all columns together, neuroCombat, scaling, selection by F, elastic-net logistic regression. One process each.
radfuse's fits hold more than the loop's: what was flagged and chosen, and for fusion arms every set of withheld
modalities. Thresholds by inner folds and explanations are switched off.
"""

import contextlib
import io
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from neuroCombat import neuroCombat
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from radfuse.data.names import is_fused, modality_of
from radfuse.data.table import FeatureTable
from radfuse.harmonize.combat import ComBat
from radfuse.train.stage import Train

FOLDS, REPEATS, CHOSEN = 5, 10, 10


def read(features: Path, subjects: Path) -> FeatureTable:
    """The measured modalities of a run's table, its fused images left out."""
    values = pd.read_parquet(features)
    values = values[[c for c in values.columns if not is_fused(modality_of(c))]]
    facts = pd.read_csv(subjects, index_col="subject", dtype={"subject": str}).loc[values.index]
    return FeatureTable(values, facts)


def loop(table: FeatureTable) -> tuple[dict[str, float], int]:
    """The plain loop; a batch too small for neuroCombat is merged into the largest, or it would give NaN."""
    found, fits = {}, 0
    outcome = table.outcome.to_numpy()
    for name, modalities in [*((m, [m]) for m in table.single), ("early", list(table.single))]:
        aucs = []
        cv = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=0)
        for train, test in cv.split(outcome, outcome):
            sides = [_harmonised(table, modality, train, test) for modality in modalities]
            inside, outside = (np.hstack([side[i] for side in sides]) for i in (0, 1))
            scaler = StandardScaler().fit(inside)
            choice = SelectKBest(f_classif, k=CHOSEN).fit(scaler.transform(inside), outcome[train])
            model = LogisticRegression(l1_ratio=0.5, solver="saga", max_iter=10_000)
            model.fit(choice.transform(scaler.transform(inside)), outcome[train])
            score = model.predict_proba(choice.transform(scaler.transform(outside)))[:, 1]
            if 0 < outcome[test].sum() < len(test):
                aucs.append(roc_auc_score(outcome[test], score))
            fits += 1
        found[name] = float(np.mean(aucs))
    return found, fits


def _harmonised(
    table: FeatureTable, modality: str, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    values = table.values[table.columns_of(modality)].to_numpy()
    values = np.where(np.isfinite(values), values, np.nanmedian(values[train], axis=0))
    varies = np.ptp(values[train], axis=0) > 0
    batch = table.batch_of(modality)
    values = values[:, varies]
    if batch is None:
        return values[train], values[test]
    labels = batch.astype(str).to_numpy()
    counts = pd.Series(labels[train]).value_counts()
    labels = np.where(np.isin(labels, counts.index[counts > 2]), labels, counts.index[0])
    with contextlib.redirect_stdout(io.StringIO()):
        done = neuroCombat(values[train].T, pd.DataFrame({"batch": labels[train]}), "batch")
    return done["data"].T, _applied(values[test], labels[test], done["estimates"])


def _applied(values: np.ndarray, labels: np.ndarray, estimates: dict[str, np.ndarray]) -> np.ndarray:
    """What neuroCombatFromTraining computes; itself it stops with an error under numpy 2."""
    batches = [str(batch) for batch in estimates["batches"]]
    own = [batches.index(label) if label in batches else 0 for label in labels]
    centre = estimates["stand.mean"][:, 0] + estimates["mod.mean"].mean(axis=1)
    spread = np.sqrt(estimates["var.pooled"][:, 0])
    shift, scale = estimates["gamma.star"][own], np.sqrt(estimates["delta.star"][own])
    return ((values - centre) / spread - shift) / scale * spread + centre


def ours(table: FeatureTable) -> tuple[dict[str, float], int, int]:
    """Every arm of a study with one classifier."""
    train = Train.model_validate({"splits": {"folds": FOLDS, "repeats": REPEATS}, "operating": None, "explain": None})
    splits, combat = train.splits(table), ComBat(merge={"UNKNOWN_VIA_ARIA": "GE"}).build()
    arms = train.arms(table)
    results = {arm.name: float(train.run_arm(arm, table, splits, combat).folds["auc"].mean()) for arm in arms}
    return results, len(arms), len(arms) * (FOLDS * REPEATS + 1)


def main(features: Path, subjects: Path) -> None:
    """Print both."""
    table = read(features, subjects)
    print(f"{table.values.shape[0]} subjects, {table.values.shape[1]} features of {', '.join(table.single)}")
    with threadpool_limits(1):
        began = time.perf_counter()
        plain, fits = loop(table)
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        found, arms, own = ours(table)
        mine = time.perf_counter() - began
    print(f"plain loop with neuroCombat: 4 arms, {fits} fits, {seconds:.1f} s, {1000 * seconds / fits:.0f} ms a fit")
    print(f"radfuse: {arms} arms, {own} fits, {mine:.1f} s, {1000 * mine / own:.0f} ms a fit")
    print(f"a fit of the loop costs {seconds / fits / (mine / own):.1f} times radfuse's")
    for name, each in (("plain loop", plain), ("radfuse", found)):
        print(f"AUC, {name}: " + ", ".join(f"{arm} {auc:.2f}" for arm, auc in each.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
