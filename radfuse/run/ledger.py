"""Ledger: which results of a run stand, told from keys alone. A key follows contents, never names, rows or times."""

from __future__ import annotations

import json
from collections.abc import Sequence

from radfuse.component import Stage
from radfuse.config import Config
from radfuse.data.blur import COLUMN, stated_text
from radfuse.data.cohort import Cohort, Problem
from radfuse.data.region import label_text
from radfuse.errors import StageError
from radfuse.extract.stability import Stability
from radfuse.extract.voxelwise.stage import Voxelwise
from radfuse.run.store import Record, Store, digest, file_digest, libraries

DECIDING = {
    "align": ("SimpleITK", "scipy", "numba", "numpy"),
    "fuse": ("torch", "PyWavelets", "curvelets", "scipy", "SimpleITK", "scikit-learn", "numpy"),
    "extract": ("pyradiomics-cuda", "SimpleITK", "PyWavelets", "scipy", "scikit-learn", "numba", "numpy"),
}
"""The distributions whose version decides a stage's numbers."""

SOURCE = "features.json"


class Ledger:
    """The subject stages of a study, and the state of each subject in each.

    Parameters
    ----------
    store : the run folder.
    config : the settings, resolved for the cohort.
    cohort : the subjects and their scans.
    """

    def __init__(self, store: Store, config: Config, cohort: Cohort) -> None:
        self.store = store
        self.config = config
        self.cohort = cohort
        self._keys: dict[tuple[str, str], str] = {}

    @property
    def fuses(self) -> bool:
        """Whether there is anything to fuse: two modalities and a method."""
        return len(self.cohort.modalities) > 1 and bool(self.config.fuse.methods)

    @property
    def stages(self) -> list[Stage]:
        """The stages that a subject passes, in order."""
        return [self.config.align, *([self.config.fuse] if self.fuses else []), self.config.extract]

    @property
    def eligible(self) -> list[str]:
        """All subjects that can take part, by the manifest alone."""
        return eligible(self.config, self.cohort)

    @property
    def measured(self) -> list[str]:
        """The subjects whose features stand."""
        return [subject for subject in self.eligible if self.done(self.config.extract, subject) is not None]

    def before(self, stage: Stage) -> list[Stage]:
        """The stages that a stage builds on."""
        return self.stages[: [each.name for each in self.stages].index(stage.name)]

    def key(self, stage: Stage, subject: str) -> str:
        """Hash a stage, its version and settings, its inputs' contents, and the libraries that decide its numbers.

        Scans that cannot be read give a key of their own, so that the failure is recorded like any other.
        """
        place = (stage.name, subject)
        if place not in self._keys:
            before = self.before(stage)
            inputs = self.key(before[-1], subject) if before else self._scans(subject)
            deciding = libraries(*DECIDING[stage.name])
            self._keys[place] = digest(stage.name, stage.version, stage.deciding, inputs, deciding)
        return self._keys[place]

    def stability_key(self, subject: str, stage: Stability) -> str:
        """Hash what the repeated measurements of a subject depend on: all that extract does, and the perturbations."""
        extract = self.config.extract
        return digest(
            stage.name, stage.version, stage.deciding, self.key(extract, subject), libraries(*DECIDING["extract"])
        )

    def maps_key(self, stage: Voxelwise, subject: str) -> str:
        """Hash what the maps of a subject depend on, whichever features they are of."""
        settings = stage.model_dump(mode="json", exclude={"features"})
        inputs = self.key(self.before(self.config.extract)[-1], subject)
        return digest(stage.name, stage.version, settings, inputs, libraries(*DECIDING["extract"]))

    def record(self, stage: Stage, subject: str) -> Record | None:
        """The record of a subject with these scans and settings, done or failed."""
        found = self.store.read(stage.name, subject)
        return found if found is not None and found.key == self.key(stage, subject) else None

    def done(self, stage: Stage, subject: str) -> Record | None:
        """The record of a result that stands."""
        found = self.record(stage, subject)
        return found if found is not None and found.done else None

    def require(self, subjects: Sequence[str], stages: Sequence[Stage]) -> None:
        """Refuse to go on while somebody's result is missing or belongs to other scans or settings.

        A subject that failed has its line in failures.csv and is not asked for in later stages.
        """
        for stage in stages:
            due = [subject for subject in subjects if not self._failed(self.before(stage), subject)]
            stale = [subject for subject in due if self.record(stage, subject) is None]
            if stale:
                some = ", ".join(stale[:3]) + (", ..." if len(stale) > 3 else "")
                raise StageError(
                    f"{len(stale)} of {len(subjects)} subjects have no result of {stage.name} with these scans and "
                    f"settings ({some})",
                    hint=f"Run `radfuse {stage.name}` first; it redoes only what changed.",
                )

    def failures(self) -> list[Problem]:
        """Everybody of the cohort who is left out or lost a part, and why; each text starts with its stage."""
        found = [problem for problem in self.cohort.problems if not problem.fatal]
        found = [Problem(p.subject, f"manifest: {p.what}", p.hint, fatal=False) for p in found]
        for stage in self.stages:
            for subject in self.eligible:
                record = self.record(stage, subject)
                if record is not None and not record.done:
                    found.append(Problem(subject, f"{stage.name}: {record.what}", record.hint, fatal=False))
        return found

    def findings(self) -> dict[str, dict[str, object]]:
        """What the stages found, by stage and subject."""
        return {
            stage.name: {s: dict(record.findings) for s in self.eligible if (record := self.done(stage, s)) is not None}
            for stage in self.stages
        }

    def made_from(self, subjects: Sequence[str]) -> str:
        """Hash what a feature table of some subjects comes from: their features' keys and their facts."""
        facts = self.cohort.subjects.loc[list(subjects)].to_csv()
        return digest([(subject, self.key(self.config.extract, subject)) for subject in subjects], facts)

    @property
    def tabled(self) -> bool:
        """Whether the feature table is of the present scans, settings and subjects."""
        try:
            source = json.loads((self.store.root / SOURCE).read_text(encoding="utf-8"))["made_from"]
        except (OSError, ValueError, KeyError):
            return False
        return bool(source == self.made_from(self.measured))

    def _failed(self, stages: Sequence[Stage], subject: str) -> bool:
        records = (self.record(stage, subject) for stage in stages)
        return any(record is not None and not record.done for record in records)

    def _scans(self, subject: str) -> object:
        try:
            return scans_digest(self.cohort, subject)
        except OSError as error:
            return ("unreadable", str(error))


def eligible(config: Config, cohort: Cohort) -> list[str]:
    """All subjects that can take part, by the manifest alone."""
    keep = config.cohort.missing == "keep"
    out = {p.subject for p in cohort.problems if not p.fatal and not (keep and p.absent)}
    return [subject for subject in cohort.ids if subject not in out]


def scans_digest(cohort: Cohort, subject: str) -> list[tuple[object, ...]]:
    """What a subject's scans hold: modality, label, SHA-256 of image and mask, and the same of every further region."""
    found: list[tuple[object, ...]] = []
    for scan in cohort.scans_of(subject):
        label = scan.labels[0] if len(scan.labels) == 1 else label_text(scan.labels)
        further = [
            (each.region, label_text(each.labels), file_digest(each.mask) if each.mask else "") for each in scan.further
        ]
        mask = file_digest(scan.mask) if scan.mask else ""
        # Only where there is one, so that the keys of images without stay what they were.
        blur = [] if scan.header_fwhm_mm is None else [(COLUMN, stated_text(scan.header_fwhm_mm))]
        found.append((scan.modality, label, file_digest(scan.image), mask, *further, *blur))
    return found
