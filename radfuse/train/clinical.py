"""Clinical facts as a modality of their own, beside the measured ones."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from radfuse.data.table import CONTEXT, FeatureTable
from radfuse.errors import ConfigError

CLINICAL = "clinical"
"""The modality: its columns are ``clinical.<fact>``, or ``clinical.<fact>=<level>``, made in each fold."""

HIDDEN = f"{CONTEXT}withheld.{CLINICAL}"
"""1 in rows whose clinical facts are withheld from the modality; a harmoniser may still protect them."""


def refuse_later(names: Sequence[str], later: re.Pattern[str], vouched: Sequence[str]) -> None:
    """Refuse facts whose name sounds as if they were known only after imaging, unless somebody vouches for them."""
    for name in names:
        if later.search(name) and name not in vouched:
            raise ValueError(
                f"clinical_modality lists {name!r}, which sounds like a fact known only after imaging; leave it out, "
                "or add it to baselines.known_before_imaging if you are sure"
            )


def require_facts(names: Sequence[str], table: FeatureTable) -> None:
    """Refuse facts that the table does not have, and a measured modality of the same name."""
    unknown = [name for name in names if name not in table.covariates]
    if unknown:
        raise ConfigError(
            f"train.clinical_modality names {', '.join(unknown)}, not among the subjects' columns "
            f"({', '.join(table.covariates) or 'none'})",
            hint="Name columns of the clinical table; outcome, group and batch columns cannot be used.",
        )
    if CLINICAL in table.modalities:
        raise ConfigError(
            f"the feature table has a modality {CLINICAL!r} of its own, {table.columns_of(CLINICAL)[0]!r}, and "
            "train.clinical_modality would make a second one",
            hint="Rename the columns, or leave train.clinical_modality empty: they are a modality already.",
        )


def hide(rows: pd.DataFrame, hidden: np.ndarray) -> pd.DataFrame:
    """Withhold the clinical modality from those rows for which ``hidden`` is true."""
    return pd.concat([rows, pd.DataFrame({HIDDEN: hidden.astype(float)}, rows.index)], axis=1)


def lacks_facts(rows: pd.DataFrame, names: Sequence[str]) -> bool:
    """Whether nothing of these facts is known of any of the rows."""
    return bool(rows[[f"{CONTEXT}{name}" for name in names]].isna().all(axis=None))
