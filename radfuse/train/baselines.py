"""What every radiomics model must beat: volume, uptake, the scanner, and the clinic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from radfuse.component import Frozen
from radfuse.data.modality import unit_of
from radfuse.data.names import column
from radfuse.data.table import BATCH, CONTEXT, FeatureTable
from radfuse.errors import ConfigError

VOLUMES = ("original_shape_MeshVolume", "original_shape_VoxelVolume")
MAXIMUM = "original_firstorder_Maximum"

LATER = re.compile(
    r"outcome|event|status|deceas|death|died|dead|alive|surviv|follow.?up|recur|relapse|progress|metasta|_mets?\b"
    r"|time_to|treat|therap|response|label|censor",
    re.IGNORECASE,
)
"""Names of facts that are usually known only after imaging."""


@dataclass(frozen=True)
class Baseline:
    """One baseline: its name and the columns it looks at, of which some are volumes to take the logarithm of."""

    name: str
    modalities: tuple[str, ...]
    columns: tuple[str, ...]
    volumes: tuple[str, ...] = ()


class Baselines(Frozen):
    """Simple models in the same folds; a fusion that does not beat them is not worth its scans."""

    volume: bool = Field(True, description="Logistic regression on the log volume.")
    uptake: bool = Field(True, description="Log volume and SUVmax, where there is PET.")
    batch: bool = Field(True, description="The batch labels alone: how much the scanner knows of the outcome.")
    clinical: tuple[str, ...] = Field((), description="Subject columns known at imaging time, for a clinical model.")
    known_before_imaging: tuple[str, ...] = Field(
        (), description="Columns whose name looks like a later fact but is not, such as performance_status."
    )

    @model_validator(mode="after")
    def _no_later_facts(self) -> Self:
        for name in self.clinical:
            if LATER.search(name) and name not in self.known_before_imaging:
                raise ValueError(
                    f"the clinical baseline lists {name!r}, which sounds like a fact known only after imaging; "
                    "leave it out, or add it to known_before_imaging if you are sure"
                )
        return self

    def of(self, table: FeatureTable) -> Iterator[Baseline]:
        """Give the baselines that this table allows."""
        yield from self._size(table)
        labels: dict[str, str] = {}
        for modality in table.single:
            batch = table.batch_of(modality)
            if batch is not None and batch.nunique() > 1:
                labels[modality] = f"{CONTEXT}{BATCH}{modality}"
        if self.batch and labels:
            yield Baseline("batch", tuple(labels), tuple(labels.values()))
        unknown = [name for name in self.clinical if name not in table.covariates]
        if unknown:
            raise ConfigError(
                f"train.baselines.clinical names {', '.join(unknown)}, not among the subjects' columns "
                f"({', '.join(table.covariates) or 'none'})",
                hint="Name columns of the clinical table; outcome, group and batch columns cannot be used.",
            )
        if self.clinical:
            yield Baseline("clinical", ("clinical",), tuple(f"{CONTEXT}{name}" for name in self.clinical))

    def _size(self, table: FeatureTable) -> Iterator[Baseline]:
        columns = set(table.values.columns)
        volumes = [(m, column(m, name)) for m in table.single for name in VOLUMES if column(m, name) in columns]
        if not volumes:
            return
        modality, volume = volumes[0]
        if self.volume:
            yield Baseline("volume", (modality,), (volume,), (volume,))
        uptakes = [(m, column(m, MAXIMUM)) for m in table.single if unit_of(m) == "SUV"]
        uptakes = [(m, name) for m, name in uptakes if name in columns]
        if self.uptake and uptakes:
            pet, uptake = uptakes[0]
            yield Baseline("volume-suvmax", tuple(dict.fromkeys((modality, pet))), (volume, uptake), (volume,))
