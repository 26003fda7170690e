"""Who was studied."""

from __future__ import annotations

import pandas as pd

from radfuse.data.study import Study
from radfuse.data.table import BATCH, GROUP, OUTCOME
from radfuse.report.section import DASH, Block, Section, Table, absent, number

MAX_LEVELS = 8
GOOD = "Nearly all subjects complete; ten events or more per feature the model ends up with; batches of ten or more."
BAD = "A batch with one or two subjects; a batch or covariate that goes with the outcome; failures that share a cause."


def cohort(study: Study) -> Section:
    """Count subjects, events, batches and covariates."""
    roster = study.roster
    if roster.empty:
        return Section("cohort", "Cohort", [absent("The roster is empty.", "Check cohort.manifest.")])
    blocks: list[Block] = [_counts(study)]
    batches = [name for name in roster.columns if str(name).startswith(BATCH)]
    if batches:
        blocks.append(_batches(roster, batches))
    else:
        blocks.append(absent("No batch labels are declared.", "Name the scanner's column with cohort.batches."))
    reserved = {OUTCOME, GROUP, "status", *batches}
    facts = [str(name) for name in roster.columns if name not in reserved]
    if facts:
        blocks.append(_facts(roster, facts))
    return Section("cohort", "Cohort", blocks, GOOD, BAD)


def outcome_of(roster: pd.DataFrame) -> pd.Series:
    """0, 1 or missing for each row of the roster."""
    if OUTCOME not in roster:
        return pd.Series(float("nan"), index=roster.index)
    return pd.to_numeric(roster[OUTCOME], errors="coerce")


def _counts(study: Study) -> Table:
    outcome = outcome_of(study.roster)
    rows = [("in the manifest", str(len(study.roster)), _events(outcome))]
    if "status" in study.roster:
        for status, index in study.roster.groupby("status", sort=True).groups.items():
            rows.append((str(status), str(len(index)), _events(outcome.loc[index])))
    if study.table is not None:
        inside = study.table.values.index
        facts = study.table.subjects
        rows.append(("in the feature table", str(len(inside)), _events(outcome_of(facts))))
    if GROUP in study.roster:
        rows.append(("groups kept together", str(study.roster[GROUP].nunique()), ""))
    return Table("Subjects and events", ("subjects", "n", "events (outcome 1)"), rows, ("n", "events (outcome 1)"))


def _events(outcome: pd.Series) -> str:
    known = outcome.dropna()
    if known.empty:
        return DASH
    share = f"{int((known == 1).sum())} ({100 * (known == 1).mean():.0f} %)"
    unknown = len(outcome) - len(known)
    return share + (f", {unknown} unknown" if unknown else "")


def _batches(roster: pd.DataFrame, names: list[str]) -> Table:
    outcome = outcome_of(roster)
    rows = []
    for name in names:
        labels = roster[name].astype("string").fillna("(none)")
        for label, index in labels.groupby(labels, sort=True).groups.items():
            rows.append((name.removeprefix(BATCH), str(label), str(len(index)), _events(outcome.loc[index])))
    columns = ("modality", "batch", "n", "events (outcome 1)")
    return Table("Batches of each modality", columns, rows, ("n", "events (outcome 1)"))


def _facts(roster: pd.DataFrame, names: list[str]) -> Table:
    outcome = outcome_of(roster)
    rows = []
    for name in names:
        column = roster[name]
        described = [_described(column[outcome == side], column) for side in (0, 1)]
        missing = int(column.isna().sum())
        for line, (without, with_event) in enumerate(zip(*described, strict=True)):
            level = without[0]
            rows.append((f"{name} {level}".strip(), without[1], with_event[1], str(missing) if line == 0 else ""))
    columns = ("fact", "outcome 0", "outcome 1", "missing")
    return Table("Facts by outcome: median [quartiles], or counts", columns, rows, columns[1:])


def _described(part: pd.Series, whole: pd.Series) -> list[tuple[str, str]]:
    if pd.api.types.is_numeric_dtype(whole) and whole.nunique() > 2:
        low, middle, high = part.astype(float).quantile([0.25, 0.5, 0.75])
        return [("", f"{number(middle, 1)} [{number(low, 1)}, {number(high, 1)}]")]
    levels = sorted(whole.dropna().astype(str).unique())
    if len(levels) > MAX_LEVELS:
        return [(f"({len(levels)} different values)", DASH)]
    counts = part.dropna().astype(str).value_counts()
    return [(f"= {level}", str(int(counts.get(level, 0)))) for level in levels]
