"""The answer in words: the declared comparison, the best of each level, and what speaks against them."""

from __future__ import annotations

import pandas as pd

from radfuse.data.study import Study
from radfuse.report.comparisons import corrected
from radfuse.report.curves import ordered
from radfuse.report.section import Block, Section, Table, Words, absent, interval, number
from radfuse.report.sites import by_pairs

SUSPICIOUS_AUC = 0.9
NAMED = 4


def answer(study: Study) -> Section:
    """Say what the study found, before anything else."""
    blocks: list[Block] = [_verdict(study)]
    contrast = study.contrast or {}
    pairs = by_pairs(study)
    if pairs is not None:
        declared = [str(contrast.get(side)) for side in ("arm", "against")]
        named = [f"{number(pairs[arm])} of {arm}" for arm in declared if arm in pairs]
        instead = f", and by pairs of patients {' and '.join(named)}" if named else ""
        blocks.append(Words(f"Sites were left out in turn; in an AUC each counts the same, however small{instead}."))
    if contrast.get("power"):
        blocks.append(Words(str(contrast["power"])))
    beside = corrected(study)
    if beside is not None:
        blocks.append(beside)
    if study.auc is not None and len(study.auc):
        blocks += _against(study.auc)
        blocks.append(_best(study.auc))
    if len(study.failures):
        failed = study.failures["subject"].nunique()
        blocks.append(Words(f"{_count(failed, 'subject')} could not be used in full: see the failures.", "caution"))
    return Section("answer", "The answer", blocks)


def _verdict(study: Study) -> Block:
    contrast = study.contrast
    if contrast and contrast.get("verdict"):
        return Words(str(contrast["verdict"]), "verdict")
    if study.auc is None or not len(study.auc):
        return absent("Nothing has been trained yet, so there is no answer.", "Run `radfuse train`.")
    return absent(
        "The comparison declared in `train.primary` was not run, so nothing here was put to a test.",
        "Train both of its arms: `radfuse train`.",
    )


def _against(auc: pd.DataFrame) -> list[Block]:
    """What a reader should hold against the arms."""
    models, baselines = auc[auc["fusion"] != "baseline"], auc[auc["fusion"] == "baseline"]
    if models.empty:
        return []
    found: list[Block] = []
    bars = {"baseline-volume": "the tumour's volume alone", "baseline-batch": "the scanner alone"}
    if len(baselines):
        strongest = str(baselines.sort_values("auc", kind="stable")["arm"].iloc[-1])
        bars = {"baseline-volume": bars["baseline-volume"], strongest: f"the strongest baseline, {strongest}"} | bars
    for name, what in bars.items():
        rows = baselines[baselines["arm"] == name]
        if len(rows):
            found.append(_beaten(models, float(rows["auc"].iloc[0]), what))
    batch = baselines[baselines["arm"] == "baseline-batch"]
    if len(batch) and float(batch["ci_low"].iloc[0]) > 0.5:
        found.append(Words("The scanner alone predicts the outcome: an AUC may owe something to the batch.", "caution"))
    if models["auc"].max() > SUSPICIOUS_AUC:
        found.append(
            Words(
                f"The highest AUC is {number(float(models['auc'].max()))}. Above {SUSPICIOUS_AUC} a radiomics model is "
                "more often a leak than a discovery; look for one before believing it.",
                "caution",
            )
        )
    return found


def _beaten(models: pd.DataFrame, bar: float, what: str) -> Words:
    losing = models.loc[models["auc"] <= bar, "arm"].astype(str)
    count, of = len(losing), len(models)
    if not count:
        who = f"Each of the {of} arms" if of > 1 else "The one arm"
        return Words(f"{who} has a higher AUC than {what} ({number(bar)}).")
    if count == of:
        who = f"None of the {of} arms beats" if of > 1 else "The one arm does not beat"
        return Words(f"{who} {what} (AUC {number(bar)}).", "caution")
    winning = models.loc[models["auc"] > bar, "arm"].astype(str)
    text = f"{count} of {of} arms do not beat {what} (AUC {number(bar)})"
    if count <= NAMED:
        return Words(f"{text}: {', '.join(sorted(losing))}.", "caution")
    names = f": {', '.join(sorted(winning))}" if len(winning) <= NAMED else ""
    return Words(f"{text}; {len(winning)} do{names}.", "caution")


def _best(auc: pd.DataFrame) -> Table:
    rows = []
    for level, arms in ordered(auc).groupby("fusion", sort=False):
        first = arms.iloc[0]
        rows.append(
            (
                str(level),
                str(first["arm"]),
                number(float(first["auc"])),
                interval(float(first["ci_low"]), float(first["ci_high"])),
                str(len(arms)),
                f"{first['events']} of {first['n']}",
            )
        )
    return Table(
        "The arm with the highest AUC of each fusion level. The best of several arms looks better than it is.",
        ("fusion", "arm", "AUC", "interval", "arms tried", "events"),
        rows,
        ("AUC", "interval", "arms tried", "events"),
    )


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
