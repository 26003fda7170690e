"""What a harmoniser does to a site that is left out: said in the config, or refused.

A model that is judged on a site that it never saw gets rows whose batch was not fitted. ComBat has no shift and scale
for them; by default it leaves them as measured, beside training rows that it moved. A cross-validated AUC of that is
neither one of harmonised features nor one of raw ones, and nobody chose it. So, where sites are left out:

- `none` always goes: training and left-out rows are both as measured.
- A harmoniser goes where every left-out label was fitted all the same (the site is a hospital, the batch a scanner
  model that others have too), is merged into one that was (`merge`), or where training has one batch alone, so that
  nothing is harmonised at all.
- Else `unseen` must be written in the config. `pass` leaves the rows as measured: a shift that a whole site shares
  cannot change the order of a linear model's scores within that site, its scale and a tree's thresholds can.
  `largest` corrects them like the largest training batch, which is right only if the two scanners are alike.
- `refuse`, and a reference batch that is itself left out, would fail in a fold; they are refused before any work.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from radfuse.data.table import BATCH
from radfuse.errors import ConfigError
from radfuse.harmonize import Harmonizer
from radfuse.harmonize.batches import LARGEST
from radfuse.harmonize.labels import text_of, texts

WHAT_TO_DO = (
    "Say what is meant: harmonize.harmonizer: none (all rows as measured), harmonizer.unseen: pass (left-out rows as "
    "measured, beside harmonised training rows) or largest (corrected like the largest training batch), or merge the "
    "label into one that other sites have."
)


def require_said(harmonizer: Harmonizer, facts: pd.DataFrame, sites: pd.Series) -> None:
    """Refuse a harmoniser that meets batches of a left-out site which it was not fitted on, unless the config says how.

    Parameters
    ----------
    facts : one row per subject; of its columns ``batch.<modality>`` and those that the harmoniser names are looked at.
        An empty label is of a subject that takes no part.
    sites : the site of each row; each is left out in turn.

    Raises
    ------
    ConfigError : naming a site, the batch variable and the labels.
    """
    settings = harmonizer.model_dump()
    if "unseen" not in settings:
        return
    names = sorted(set(sites))
    unseen: dict[str, str] = {}
    for name in names:
        left_out = sites == name
        _require_reference(settings, facts[~left_out], name)
        told = "; ".join(_unseen(harmonizer, settings, facts[~left_out], facts[left_out]))
        if told:
            unseen[name] = told
    if not unseen or (settings["unseen"] != "refuse" and "unseen" in harmonizer.model_fields_set):
        return
    site, told = next(iter(unseen.items()))
    does = "stops at" if settings["unseen"] == "refuse" else "was not told what to do with"
    raise ConfigError(
        f"in {len(unseen)} of {len(names)} sites {settings['method']} {does} the rows left out, whose batches it is "
        f"not fitted on; without {site}: {told}",
        hint=WHAT_TO_DO,
    )


def _unseen(
    harmonizer: Harmonizer, settings: dict[str, Any], training: pd.DataFrame, validation: pd.DataFrame
) -> Iterator[str]:
    """Say, by batch variable, which labels of the left-out rows are not fitted."""
    merge = {text_of(label): text_of(other) for label, other in settings["merge"].items()}
    variables = [str(c) for c in training if str(c).startswith(BATCH) or c in harmonizer.facts]
    for variable in variables:
        fitted = {merge.get(label, label) for label in texts(training[variable]) if label is not None}
        own = {label: merge.get(label, label) for label in texts(validation[variable]) if label is not None}
        new = sorted(label for label, merged in own.items() if merged not in fitted | {LARGEST})
        if new and len(fitted) > 1:  # one batch alone is not harmonised, so both sides are as measured
            yield f"{variable} {', '.join(new)}"


def _require_reference(settings: dict[str, Any], training: pd.DataFrame, site: str) -> None:
    for modality, reference in (settings.get("reference_batch") or {}).items():
        column = f"{BATCH}{modality}"
        if column in training and text_of(reference) not in texts(training[column]):
            raise ConfigError(
                f"the reference batch {reference} of {modality} is in the site {site} alone, which is left out in turn",
                hint="Name a reference that several sites have, or none.",
            )
