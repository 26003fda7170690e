"""Where sites are left out one after another: what the harmoniser does to them is known before anything is computed."""

import pandas as pd

from radfuse.config import Config
from radfuse.data.cohort import Problem
from radfuse.data.table import BATCH, CONTEXT, FeatureTable, context_columns
from radfuse.errors import ConfigError
from radfuse.harmonize import Harmonizer
from radfuse.harmonize.left_out import require_said
from radfuse.train.splits import SITE


def refuse_unsaid(harmonizer: Harmonizer, table: FeatureTable, splits: pd.DataFrame) -> None:
    """Refuse a harmoniser that was not told what to do with the sites that these splits leave out; others pass."""
    if SITE not in splits:
        return
    rows = table.rows()
    facts = rows[context_columns(rows)].rename(columns=lambda name: str(name).removeprefix(CONTEXT))
    for modality in table.modalities:
        label = f"{BATCH}{modality}"
        if label in facts:  # who lacks the modality takes no part in it
            facts[label] = facts[label].where(table.values[table.columns_of(modality)].notna().any(axis=1))
    sites = splits.drop_duplicates("subject").set_index("subject")[SITE].reindex(table.values.index)
    require_said(harmonizer.resolved(table.modalities), facts, sites)


def unsaid_problems(config: Config, facts: pd.DataFrame) -> list[Problem]:
    """Find the same from the tables of the cohort, whose subjects these facts are of."""
    sites = config.train.splits.strata(facts)
    if sites is None:
        return []
    try:
        require_said(config.harmonize.harmonizer, facts, sites)
    except ConfigError as error:
        return [Problem("", error.message, error.hint)]
    return []
