"""A finished run, opened to predict: its settings, its models, and proof that this radfuse would make them again."""

from __future__ import annotations

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
from radfuse.config import Config, load_yaml, read_config
from radfuse.data.cohort import Cohort, Scan
from radfuse.data.region import MAIN
from radfuse.data.table import FeatureTable
from radfuse.errors import RadfuseError, StageError
from radfuse.run import judging
from radfuse.run.judging import MODEL, arm_settings, load_table, measurements_digest
from radfuse.run.ledger import DECIDING, scans_digest
from radfuse.run.models import load_model
from radfuse.run.predictor import Predictor
from radfuse.run.store import Store, digest, file_digest, libraries
from radfuse.train.stage import Arm

RUN, ENVIRONMENT = "run.yaml", "environment.json"
TABLES = ("splits.csv", "train/table.parquet", "train/subjects.parquet")
VERSIONS = range(1, 50)  # where a key is looked for when it is not of the installed version
ENOUGH = 3  # subjects whose scans are hashed to tell which version of align a run has
AGAIN = "Run `radfuse run` in the study with this radfuse; it redoes only what changed."
TRAIN_AGAIN = "Give the same `radfuse train --features` with this radfuse; it redoes only what changed."
OF_A_TABLE = {"name", "cohort", "harmonize", "train"}
"""The settings of a run on a feature table of one's own: there are none about images, and by that it is told."""


@dataclass(frozen=True, eq=False)
class FittedRun(Predictor):
    """A run whose models may be applied to new patients.

    Parameters
    ----------
    store : the run folder; it is read and never written.
    config : the settings that the run was made with, the grid's spacing among them.
    table : the features and facts that the models were fitted on.
    images : whether the run made its features from images.
    """

    store: Store
    config: Config
    table: FeatureTable
    images: bool = True

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
                hint="Name a study folder, or a run such as STUDY/runs/main, in which `radfuse run` has finished, or "
                "what `radfuse train --features` made with this radfuse.",
            )
        store, images = Store(root), "align" in load_yaml(root / RUN)
        made = (*TABLES, "features.parquet") if images else TABLES
        absent = [name for name in made if not (root / name).is_file()]
        if absent:
            raise StageError(f"{root} has no {absent[0]}", hint="Run `radfuse train` in the study first.")
        found = cls(store, read_config(root / RUN, overrides), load_table(store), images)
        if images:  # else the arms' own keys say all
            found.require_standing()
        return found

    @property
    def place(self) -> Path:
        """The run folder."""
        return self.store.root

    @property
    def main_region(self) -> str:
        """The region whose columns carry no name; the manifest's first, unless the settings name it."""
        return self.config.cohort.region or (self.cohort.regions[0] if self.cohort is not None else MAIN)

    @property
    def remarks(self) -> Sequence[str]:
        """How well the run's own patients are told from new ones."""
        if not self.images:
            return ()
        if self.cohort is not None and all(scan.image.is_file() for scan in self.cohort.scans):
            return ()
        return (
            "images of the study are elsewhere: its patients are recognised only where all their scans are the same",
        )

    @cached_property
    def cohort(self) -> Cohort | None:
        """The patients that the run was made of, with their scans; None where there are none, or none are there."""
        if not self.images:
            return None
        try:
            return self.config.read_cohort()
        except (RadfuseError, OSError):
            return None

    def offered(self) -> list[Arm]:
        """Every arm that the settings allow."""
        return self.config.train.arms(self.table)

    def is_whole(self, arm: Arm) -> bool:
        """Whether training took place and ended well, as far as its record tells."""
        record = self.store.read("train", arm.name)
        return record is not None and record.done

    def model(self, arm: Arm) -> Any:
        """Read the pipeline that was fitted on every row."""
        return load_model(self.model_file(arm))

    def model_file(self, arm: Arm) -> Path:
        """Where an arm's pipeline lies."""
        return self.store.folder("train", arm.name) / MODEL

    def model_digest(self, arm: Arm) -> str:
        """SHA-256 of an arm's pipeline."""
        return file_digest(self.model_file(arm))

    def recognised(self, cohort: Cohort) -> dict[str, str]:
        """Find patients whose images are the run's own.

        A copy has the size of its original, so that few files are hashed. Where the run's images are elsewhere, a
        patient is still known by the key of its aligned images, as long as all its scans and masks are the same.
        """
        own: dict[int, list[Scan]] = {}
        trained = set(self.table.values.index)  # the study may list others, who failed
        for scan in self.cohort.scans if self.cohort is not None else ():
            if scan.subject in trained and scan.image.is_file():
                own.setdefault(scan.image.stat().st_size, []).append(scan)
        align = self.config.align
        keys = {record.key: str(s) for s in trained if (record := self.store.read("align", str(s)))}
        seen: dict[str, str] = {}
        for scan in cohort.scans:
            if not scan.image.is_file() or scan.subject in seen:
                continue
            alike = own.get(scan.image.stat().st_size, [])
            content = file_digest(scan.image) if alike else ""
            twin = next((each.subject for each in alike if file_digest(each.image) == content), None)
            if twin is not None:
                seen[scan.subject] = twin
        for subject in [s for s in cohort.ids if s not in seen]:
            try:
                key = _key(align, align.version, scans_digest(cohort, subject))
            except OSError:
                continue  # a file that is not there has its own line
            if key in keys:
                seen[subject] = keys[key]
        return seen

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

    def require_arm(self, arm: Arm) -> None:
        """Refuse an arm that was not trained, was trained otherwise, or whose files changed since."""
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
        again = AGAIN if self.images else TRAIN_AGAIN
        if versions:
            told = "; ".join(
                f"{stage} had version {then}, this radfuse has {now}" for stage, (then, now) in versions.items()
            )
            then = self._environment().get("radfuse", "that made it")
            return StageError(f"{what} is of another version: {told}", hint=f"Install radfuse {then}. Or: {again}")
        recorded, installed = self._environment(), libraries(*deciding)
        others = {n: v for n, v in installed.items() if recorded.get(n, v) != v}
        if others:
            told = ", ".join(f"{name} {recorded[name]} then, {now} now" for name, now in others.items())
            return StageError(f"{what} was made with other libraries: {told}", hint=f"Install those. Or: {again}")
        then = recorded.get("radfuse", "unknown")
        return StageError(
            f"{what} was made with other settings than {self.store.root / RUN} says, from other results, or by a "
            f"radfuse that has other ones (then {then}, now {radfuse.__version__})",
            hint=again,
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
    return digest(stage.name, version, stage.deciding, inputs, libraries(*DECIDING[stage.name]))
