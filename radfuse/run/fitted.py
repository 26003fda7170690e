"""A finished run, opened to predict: its settings, its models, and proof that this radfuse would make them again."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import radfuse
from radfuse.component import Stage
from radfuse.config import Config, read_config
from radfuse.data.cohort import Cohort
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, RadfuseError, StageError
from radfuse.run import judging
from radfuse.run.judging import MODEL, arm_settings, load_table, measurements_digest
from radfuse.run.ledger import DECIDING, scans_digest
from radfuse.run.models import load_model
from radfuse.run.store import Store, digest, file_digest, libraries
from radfuse.train.stage import NETWORK, Arm

RUN, ENVIRONMENT = "run.yaml", "environment.json"
EVERY_ARM = "all"
TABLES = ("splits.csv", "train/table.parquet", "train/subjects.parquet")
VERSIONS = range(1, 50)  # where a key is looked for when it is not of the installed version
ENOUGH = 3  # subjects whose scans are hashed to tell which version of align a run has
AGAIN = "Run `radfuse run` in the study with this radfuse; it redoes only what changed."


@dataclass(frozen=True, eq=False)
class FittedRun:
    """A run whose models may be applied to new patients.

    Parameters
    ----------
    store : the run folder; it is read and never written.
    config : the settings that the run was made with, the grid's spacing among them.
    table : the features and facts that the models were fitted on.
    """

    store: Store
    config: Config
    table: FeatureTable

    @classmethod
    def open(cls, place: Path, run: str = "main", overrides: Sequence[str] = ()) -> FittedRun:
        """Open a run folder, or a run of a study folder, and refuse it where its results do not belong together.

        Parameters
        ----------
        place : the run folder, or the study folder.
        run : the run's name inside a study folder.
        overrides : of ``execution`` only.
        """
        root = place if (place / RUN).is_file() else place / "runs" / run
        if not (root / RUN).is_file():
            raise StageError(
                f"{place} is no run and holds none called {run!r}: there is no {root / RUN}",
                hint="Name a study folder, or a run such as STUDY/runs/main, in which `radfuse run` has finished. "
                "What `radfuse train --features` makes knows nothing of images.",
            )
        store = Store(root)
        absent = [name for name in (*TABLES, "features.parquet") if not (root / name).is_file()]
        if absent:
            raise StageError(f"{root} has no {absent[0]}", hint="Run `radfuse train` in the study first.")
        found = cls(store, read_config(root / RUN, overrides), load_table(store))
        found.require_standing()
        return found

    @property
    def modalities(self) -> tuple[str, ...]:
        """The measured modalities of the study."""
        return self.config.cohort.modalities or tuple(self.table.single)

    @property
    def fuses(self) -> bool:
        """Whether the run has fused volumes."""
        return len(self.modalities) > 1 and bool(self.config.fuse.methods)

    @property
    def stages(self) -> list[Stage]:
        """The stages that a subject passes, in order."""
        return [self.config.align, *([self.config.fuse] if self.fuses else []), self.config.extract]

    @cached_property
    def cohort(self) -> Cohort | None:
        """The patients that the run was made of, with their scans; None where manifest or tables are elsewhere."""
        try:
            return self.config.read_cohort()
        except (RadfuseError, OSError):
            return None

    @property
    def primary(self) -> str:
        """The arm that the config declared before the run."""
        train = self.config.train
        wanted, classifier = train.primary.fusion, train.primary.classifier or train.classifiers[0].method
        arms = [arm for arm in train.arms(self.table) if arm.strategy is not None and arm.fusion == arm.strategy.method]
        arms = [arm for arm in arms if arm.classifier in (classifier, NETWORK)]
        named = [arm.name for arm in arms if arm.strategy is not None and arm.strategy.title == wanted]
        for name in named or [arm.name for arm in arms if arm.fusion == wanted]:
            return name
        raise StageError(f"{self.store.root} has no arm {train.primary.fusion!r}", hint="Name one with --arm.")

    def arms(self, names: Sequence[str] = ()) -> list[Arm]:
        """Give the arms asked for, each with a model that stands; none named is the primary one, ``all`` is every one.

        An arm that could not be trained is refused by its name, and left out of ``all``.
        """
        known = {arm.name: arm for arm in self.config.train.arms(self.table)}
        wanted = list(dict.fromkeys(names)) or [self.primary]
        for name in [name for name in wanted if name not in known and name != EVERY_ARM]:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"the run has no arm {name!r}{meant}", hint=f"Known: {', '.join(known)}, {EVERY_ARM}.")
        if EVERY_ARM in wanted:
            failed = [name for name in known if (found := self.store.read("train", name)) and not found.done]
            wanted = [name for name in known if name not in failed]
        for name in wanted:
            self._require_arm(known[name])
        return [known[name] for name in wanted]

    def model(self, arm: Arm) -> Any:
        """Read the pipeline that was fitted on every row."""
        return load_model(self.model_file(arm))

    def model_file(self, arm: Arm) -> Path:
        """Where an arm's pipeline lies."""
        return self.store.folder("train", arm.name) / MODEL

    def require_standing(self) -> None:
        """Refuse a run whose results are not of its settings, or of other versions than those installed."""
        if self.config.align.spacing_mm == "auto":
            raise StageError(f"{self.store.root / RUN} has no settled grid spacing", hint=AGAIN)
        self._require_align()
        for before, stage in zip(self.stages, self.stages[1:], strict=False):
            for subject in self.table.values.index:
                inputs = self._stored_key(before.name, str(subject))
                self._require_key(stage, str(subject), inputs)
        values = pd.read_parquet(self.store.root / "features.parquet")
        own = self.table.values
        same = values.shape == own.shape and list(values.index) == list(own.index) and list(values) == list(own)
        if not same or not np.array_equal(values.to_numpy(), own.to_numpy(), equal_nan=True):
            raise StageError(
                f"the models of {self.store.root} were fitted on other features than those it holds",
                hint="Run `radfuse train` in the study.",
            )

    def _require_align(self) -> None:
        """Align's key follows the scans: where they are gone, the version of radfuse has to do."""
        inputs = []
        for subject in self.table.values.index if self.cohort is not None else ():
            try:
                scans = scans_digest(self.cohort, str(subject)) if self.cohort is not None else []
            except OSError:
                continue
            if scans:
                inputs.append((str(subject), scans))
            if len(inputs) == ENOUGH:
                break
        align = self.config.align
        if not inputs:
            recorded = self._environment().get("radfuse", "an unknown version")
            if recorded != radfuse.__version__:
                raise StageError(
                    f"the run was made by radfuse {recorded}, and this is {radfuse.__version__}; its scans are not "
                    "there to tell whether align gives the same",
                    hint=f"Install radfuse {recorded}, or bring the scans back.",
                )
        elif all(self._stored_key("align", s) != _key(align, align.version, scans) for s, scans in inputs):
            self._require_key(align, *inputs[0])

    def _require_key(self, stage: Stage, subject: str, inputs: object) -> None:
        stored = self._stored_key(stage.name, subject)
        if stored != _key(stage, stage.version, inputs):
            found = next((v for v in VERSIONS if _key(stage, v, inputs) == stored), None)
            versions = {} if found is None else {stage.name: (found, stage.version)}
            raise self._other(f"{stage.name} of {subject}", versions, DECIDING[stage.name])

    def _require_arm(self, arm: Arm) -> None:
        train, harmonize = self.config.train, self.config.harmonize
        files: list[str] = [self._digests[name] for name in TABLES]
        files += measurements_digest(arm, self.store)
        settings = arm_settings(arm), harmonize.model_dump(mode="json")
        deciding = libraries(*judging.DECIDING)

        def key(train_version: int, harmonize_version: int) -> str:
            return digest("train", train_version, settings[0], settings[1], harmonize_version, files, deciding)

        installed = (train.version, harmonize.version)
        record = self.store.read("train", arm.name)
        if record is None:
            raise StageError(f"the arm {arm.name} was not trained in {self.store.root}", hint="Run `radfuse train`.")
        if record.key != key(*installed):
            made = next((pair for pair in product(VERSIONS, VERSIONS) if key(*pair) == record.key), installed)
            pairs = zip(("train", "harmonize"), made, installed, strict=True)
            versions = {name: (then, now) for name, then, now in pairs if then != now}
            raise self._other(f"the model of {arm.name}", versions, judging.DECIDING)
        if not record.done:
            raise StageError(f"the arm {arm.name} could not be trained: {record.what}", hint=record.hint)
        if self.store.current("train", arm.name, record.key) is None:
            raise StageError(
                f"the files of {arm.name} in {self.store.root} are not those that training wrote",
                hint="Do not use them; run `radfuse train` again.",
            )

    def _other(self, what: str, versions: dict[str, tuple[int, int]], deciding: Sequence[str]) -> StageError:
        """Say what differs between then and now: a stage's version, a library, or the settings."""
        if versions:
            told = "; ".join(
                f"{stage} had version {then}, this radfuse has {now}" for stage, (then, now) in versions.items()
            )
            then = self._environment().get("radfuse", "that made it")
            return StageError(f"{what} is of another version: {told}", hint=f"Install radfuse {then}. Or: {AGAIN}")
        recorded, installed = self._environment(), libraries(*deciding)
        others = {n: v for n, v in installed.items() if recorded.get(n, v) != v}
        if others:
            told = ", ".join(f"{name} {recorded[name]} then, {now} now" for name, now in others.items())
            return StageError(f"{what} was made with other libraries: {told}", hint=f"Install those. Or: {AGAIN}")
        then = recorded.get("radfuse", "unknown")
        return StageError(
            f"{what} was made with other settings than {self.store.root / RUN} says, from other results, or by a "
            f"radfuse that has other ones (then {then}, now {radfuse.__version__})",
            hint=AGAIN,
        )

    def _stored_key(self, stage: str, subject: str) -> str:
        record = self.store.read(stage, subject)
        if record is None or not record.done:
            raise StageError(
                f"{self.store.root} has no {stage} of {subject}, who is among the rows of its models", hint=AGAIN
            )
        return record.key

    def _environment(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads((self.store.root / ENVIRONMENT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {name: file_digest(self.store.root / name) for name in TABLES}


def _key(stage: Stage, version: int, inputs: object) -> str:
    """What `Ledger.key` gives for a stage of some version."""
    settings = stage.model_dump(mode="json")
    return digest(stage.name, version, settings, inputs, libraries(*DECIDING[stage.name]))
