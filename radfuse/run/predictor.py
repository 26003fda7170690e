"""What predicts: the settings and fitted models of a study, whether they lie in its run folder or in an export."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radfuse.component import Stage
from radfuse.config import Config
from radfuse.data.cohort import Cohort
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, StageError
from radfuse.train.stage import Arm

EVERY_ARM = "all"


class Predictor(ABC):
    """Settings, columns and models that new patients are put through.

    Attributes
    ----------
    config : the settings that the models were made with, the grid's spacing among them.
    table : the columns that the models know, the batch labels and the covariates; the features and facts that they
        were fitted on where this is the run itself.
    """

    config: Config
    table: FeatureTable

    @property
    @abstractmethod
    def images(self) -> bool:
        """Whether patients are taken from their images; a run on a feature table of one's own knows of none."""

    @property
    @abstractmethod
    def place(self) -> Path:
        """The folder."""

    @property
    @abstractmethod
    def main_region(self) -> str:
        """The region whose columns carry no name."""

    @property
    @abstractmethod
    def remarks(self) -> Sequence[str]:
        """Sentences that whoever predicts should read."""

    @abstractmethod
    def offered(self) -> list[Arm]:
        """The arms that may be asked for; one of them may turn out not to stand."""

    @abstractmethod
    def is_whole(self, arm: Arm) -> bool:
        """Whether an arm was trained to the end; ``all`` leaves out those that were not."""

    @abstractmethod
    def require_arm(self, arm: Arm) -> None:
        """Refuse an arm whose model is not what it should be."""

    @abstractmethod
    def model(self, arm: Arm) -> Any:
        """Read the pipeline that was fitted on every row."""

    @abstractmethod
    def model_digest(self, arm: Arm) -> str:
        """SHA-256 of the file that `model` reads."""

    @abstractmethod
    def recognised(self, cohort: Cohort) -> Mapping[str, str]:
        """Find patients whose images the models were fitted on: by subject, as whom the models know them."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """The measured modalities of the study."""
        return self.config.cohort.modalities or tuple(self.table.single)

    @property
    def fuses(self) -> bool:
        """Whether there are fused volumes."""
        return self.images and len(self.modalities) > 1 and bool(self.config.fuse.methods)

    @property
    def stages(self) -> list[Stage]:
        """The stages that a subject passes, in order; none without images."""
        config = self.config
        return [config.align, *([config.fuse] if self.fuses else []), config.extract] if self.images else []

    @property
    def primary(self) -> str:
        """The arm that the config declared before the run."""
        name, _ = self.config.train.declared(next(iter(self.table.single), ""))
        known = [arm.name for arm in self.offered()]
        if name not in known:
            raise StageError(f"{self.place} has no arm {name!r}", hint=f"Name one with --arm: {', '.join(known)}.")
        return name

    def arms(self, names: Sequence[str] = ()) -> list[Arm]:
        """Give the arms asked for, each with a model that stands; none named is the primary one, ``all`` is every one.

        An arm that was not trained, or could not be, is refused by its name, and left out of ``all``.
        """
        known = {arm.name: arm for arm in self.offered()}
        wanted = list(dict.fromkeys(names)) or [self.primary]
        for name in [name for name in wanted if name not in known and name != EVERY_ARM]:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"the run has no arm {name!r}{meant}", hint=f"Known: {', '.join(known)}, {EVERY_ARM}.")
        if EVERY_ARM in wanted:
            wanted = [name for name, arm in known.items() if self.is_whole(arm)] or [*known]
        for name in wanted:
            self.require_arm(known[name])
        return [known[name] for name in wanted]
