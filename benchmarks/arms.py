"""Time judging: ``python benchmarks/arms.py features.parquet subjects.csv``.

A run folder holds both files. Every arm of radfuse (splits of 5 folds, 10 repeats, without permutations) beside a
plain scikit-learn loop that refits neuroCombat in each fold, as it is commonly written: for each modality alone and
for all columns together, neuroCombat, scaling, selection by F, elastic-net logistic regression. Both in one process and
one thread; processor time, as others may be at work on the machine. radfuse's fits hold more than the loop's: mRMR,
what was flagged and chosen, and for fusion arms every set of withheld modalities. Thresholds by inner folds and
explanations are switched off.
"""

import contextlib
import io
import sys
import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Timed:
    """One arm: its mean AUC within a fold, how often it was fitted, and the processor time of all of it."""

    name: str
    auc: float
    fits: int
    seconds: float

    @property
    def each_ms(self) -> float:
        """Processor time of a fit."""
        return 1000 * self.seconds / self.fits


def loop(table: FeatureTable) -> list[Timed]:
    """The plain loop; a batch too small for neuroCombat is merged into the largest, or it would give NaN."""
    found = []
    outcome = table.outcome.to_numpy()
    for name, modalities in [*((m, [m]) for m in table.single), ("early", list(table.single))]:
        aucs, began = [], time.process_time()
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
        found.append(Timed(name, float(np.mean(aucs)), FOLDS * REPEATS, time.process_time() - began))
    return found


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


def ours(table: FeatureTable) -> list[Timed]:
    """Every arm of a study with one classifier; the last fit of each is that on all rows."""
    train = Train.model_validate({"splits": {"folds": FOLDS, "repeats": REPEATS}, "operating": None, "explain": None})
    splits, combat = train.splits(table), ComBat(merge={"UNKNOWN_VIA_ARIA": "GE"}).build()
    found = []
    for arm in train.arms(table):
        arm.pipeline(table.rows().columns.tolist(), combat)  # its libraries are loaded before the clock starts
        began = time.process_time()
        auc = float(train.run_arm(arm, table, splits, combat).folds["auc"].mean())
        found.append(Timed(arm.name, auc, FOLDS * REPEATS + 1, time.process_time() - began))
    return found


def main(features: Path, subjects: Path) -> None:
    """Print both."""
    table = read(features, subjects)
    print(f"{table.values.shape[0]} subjects, {table.values.shape[1]} features of {', '.join(table.single)}")
    with threadpool_limits(1):
        parts = {"plain loop with neuroCombat": loop(table), "radfuse": ours(table)}
    means = {}
    for name, arms in parts.items():
        means[name] = sum(arm.seconds for arm in arms) / sum(arm.fits for arm in arms)
        print(f"{name}: {sum(arm.seconds for arm in arms):.1f} s, {1000 * means[name]:.0f} ms a fit")
        for arm in arms:
            print(f"    {arm.name:24s} {arm.fits:4d} fits {arm.each_ms:7.1f} ms a fit   AUC {arm.auc:.2f}")
    plain, mine = means.values()
    print(f"a fit of radfuse costs {mine / plain:.2f} times one of the loop")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
