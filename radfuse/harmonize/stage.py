"""Harmonize: the whole table at once, for looking, and for new patients of scanners already known.

Cross-validated numbers never come from here: `train` fits the same harmoniser again on each fold's training rows.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from radfuse.component import Stage
from radfuse.data.table import CONTEXT, MISSING, OUTCOME, FeatureTable
from radfuse.errors import ConfigError, DataError
from radfuse.harmonize import Harmonizer
from radfuse.harmonize.combat import ComBat
from radfuse.harmonize.nested_combat import EVERYWHERE

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Harmonized:
    """What `Harmonize` gives.

    Parameters
    ----------
    table : the same subjects and columns, harmonised; a value that was missing is missing still.
    diagnostics : before and after, by modality; see `radfuse.harmonize.diagnostics`.
    transformer : the fitted scikit-learn transformer, to be applied to new rows.
    effects : the batch effect of every feature before and after; see `radfuse.harmonize.effects`.
    """

    table: FeatureTable
    diagnostics: dict[str, Any]
    transformer: Any
    effects: pd.DataFrame


class Harmonize(Stage):
    """Remove what scanners and sites add to the features, and show how well that went."""

    name: ClassVar[str] = "harmonize"
    version: ClassVar[int] = 3

    harmonizer: Harmonizer = Field(ComBat(), description="How; `none` leaves the features as they are.")
    seed: int = Field(0, ge=0, description="Draws the folds of the held-out test of the batch; nothing else.")

    def __call__(self, table: FeatureTable) -> Harmonized:
        """Harmonise all rows. The outcome is used to warn where it goes together with the batch, for nothing else.

        For fitting, a missing value becomes its column's median, and a subject without any value of a modality takes no
        part in that modality.
        """
        from radfuse.harmonize.diagnostics import diagnose
        from radfuse.harmonize.effects import effects

        self._require_known(table)
        rows, missing = _complete(table)
        member = self.harmonizer.resolved(table.modalities)
        transformer = member.build()
        outcome = table.outcome if OUTCOME in table.subjects else None
        transformer.fit(rows, outcome)
        harmonised = transformer.transform(rows)
        diagnostics = diagnose(
            rows,
            harmonised,
            member.build,
            report=transformer.report_,
            protect=tuple(getattr(self.harmonizer, "protect", ())),
            outcome=outcome,
            seed=self.seed,
        )
        for modality, found in diagnostics.items():
            own = table.values.columns.get_indexer(pd.Index(table.columns_of(modality)))
            found["report"]["imputed_cells"] = int(missing[:, own].sum())
            log.info("%s: %s", modality, found["verdict"])
        values = harmonised[list(table.values.columns)].to_numpy(dtype=np.float64, copy=True)
        values[missing] = np.nan
        kept = pd.DataFrame(values, index=table.values.index, columns=table.values.columns)
        return Harmonized(table.with_values(kept), diagnostics, transformer, effects(rows, harmonised))

    def _require_known(self, table: FeatureTable) -> None:
        for setting, also in (("reference_batch", ()), ("then", (EVERYWHERE,))):
            named = getattr(self.harmonizer, setting, None) or {}
            strange = sorted(set(named) - {*table.modalities, *also})
            if strange:
                raise ConfigError(
                    f"harmonizer.{setting} names {', '.join(strange)}, which the table lacks; "
                    f"found {', '.join(table.modalities)}"
                )


def _complete(table: FeatureTable) -> tuple[pd.DataFrame, npt.NDArray[np.bool_]]:
    """Fill missing features by their column's median and flag who lacks a modality; give the rows and what was missing.

    The flags are those of the imputer in training, ``@missing.<modality>``, where anyone lacks it.
    """
    values = table.values.to_numpy(dtype=np.float64, copy=True)
    infinite = table.values.columns[np.isinf(values).any(axis=0)].tolist()
    if infinite:
        raise DataError(
            f"{len(infinite)} features hold an infinite value, such as {', '.join(infinite[:3])}",
            hint="Take the feature out of the table, or correct it.",
        )
    missing = np.isnan(values)
    for column in np.flatnonzero(missing.any(axis=0)):
        known = values[~missing[:, column], column]
        values[missing[:, column], column] = np.median(known) if known.size else 0.0
    frame = pd.DataFrame(values, index=table.values.index, columns=table.values.columns)
    rows = table.with_values(frame).rows()
    flags = {}
    for modality in table.modalities:
        own = table.values.columns.get_indexer(pd.Index(table.columns_of(modality)))
        lacks = missing[:, own].all(axis=1)
        if lacks.any():
            flags[f"{CONTEXT}{MISSING}{modality}"] = lacks.astype(np.float64)
    return pd.concat([rows, pd.DataFrame(flags, index=rows.index)], axis=1), missing
