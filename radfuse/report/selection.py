"""Which features were chosen, and how steadily."""

from __future__ import annotations

from typing import Any

import pandas as pd

from radfuse.data.study import Study
from radfuse.report.curves import ordered
from radfuse.report.section import Block, Fold, Section, Table, Words, interval, number, percent

SHOWN = 20
STABILITY = ("arm", "features", "of", "stability", "interval")
FEATURES = ("feature", "folds", "share of folds")
TUNING = ("arm", "setting", "value", "folds", "share of folds")


def selection(study: Study) -> list[Section]:
    """Show how steady each arm's selection was, and what the best arm of each level chose; empty without arms."""
    found = study.tables.get("selection_stability")
    if found is None or found.empty or study.auc is None:
        return []
    best = ordered(study.auc).drop_duplicates("fusion")
    steady = found.set_index("arm")
    leading = [str(arm) for arm in best["arm"] if arm in steady.index]
    if not leading:
        return []
    rest = [arm for arm in steady.index if arm not in leading]
    blocks: list[Block] = [
        Words(
            "Features were chosen anew in every fold. A stability of 1 means the same ones every time, about 0 no more "
            "in common than sets drawn at random (Nogueira et al. 2018). Folds share most of their patients, so that "
            "the interval is too narrow; features that say the same take each other's place, which counts as unsteady."
        ),
        Table("The best arm of each level", STABILITY, _steady(steady.loc[leading]), STABILITY[1:]),
    ]
    if rest:
        table = Table("The other arms", STABILITY, _steady(steady.loc[rest]), STABILITY[1:])
        blocks.append(Fold(f"The other {len(rest)} arms", blocks=[table]))
    blocks += [each for arm in leading for each in _chosen(study, arm)] + _tuned(study)
    good = "The same few features in most folds."
    bad = "Other features in every fold: do not read a meaning into any of them."
    return [Section("selection", "Which features were chosen", blocks, good, bad)]


def _steady(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (str(row["arm"]), number(row["features"], 1), str(row["candidates"]), number(row["stability"]),
         interval(row["low"], row["high"]))
        for row in rows.reset_index().to_dict("records")
    ]  # fmt: skip


def _chosen(study: Study, arm: str) -> list[Block]:
    found = study.tables.get("selection")
    if found is None:
        return []
    own = found[found["arm"] == arm]
    rows = [(str(r["feature"]), str(r["folds"]), percent(r["share"])) for r in own.head(SHOWN).to_dict("records")]
    more = f"; {len(own)} were chosen at least once" if len(own) > SHOWN else ""
    table = Table(f"Features that {arm} chose most often", FEATURES, rows, FEATURES[1:])
    return [Fold(f"{arm}: features chosen most often{more}", blocks=[table])]


def _tuned(study: Study) -> list[Block]:
    """Say which settings the inner folds chose."""
    found = study.tables.get("tuning")
    if found is None or found.empty:
        return []
    rows = [_setting(row) for row in found.to_dict("records")]
    table = Table("How often each value was chosen", TUNING, rows, TUNING[3:])
    return [Fold("Settings chosen by inner folds", blocks=[table])]


def _setting(row: dict[Any, Any]) -> tuple[str, ...]:
    return (str(row["arm"]), str(row["setting"]), str(row["value"]), str(row["folds"]), percent(row["share"]))
