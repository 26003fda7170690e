"""An export: the models of a run in one sealed folder, opened to predict on another machine, without the study."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import pandas as pd
from pydantic import Field, ValidationError

import radfuse
from radfuse.align.stage import Align
from radfuse.align.tissues import Tissue
from radfuse.component import Frozen, describe
from radfuse.config import Config, read_config
from radfuse.data.cohort import Cohort
from radfuse.data.digest import sha256_of
from radfuse.data.region import MAIN
from radfuse.data.table import BATCH, GROUP, FeatureTable
from radfuse.errors import ConfigError, StageError
from radfuse.run import judging
from radfuse.run.fitted import FittedRun
from radfuse.run.ledger import DECIDING
from radfuse.run.models import parse_model
from radfuse.run.predictor import Predictor
from radfuse.run.sealing import DAMAGED, SIGNATURE, checked, require_signed
from radfuse.run.store import file_digest, libraries
from radfuse.train.stage import Arm

EXPORT, RUN, KNOWN, FINGERPRINTS = "export.json", "run.yaml", "known.json", "fingerprints.json"
Model = TypeVar("Model", bound=Frozen)


class ExportedArm(Frozen):
    """One model of an export."""

    file: str = Field(description="Where it lies.")
    fusion: str = Field(description="Its fusion level.")
    modalities: tuple[str, ...] = Field(description="What it looks at.")
    classifier: str = Field(description="How it classifies.")
    keeps_rows: bool = Field(description="Whether feature rows of patients are part of the model.")
    judged: dict[str, float | None] = Field({}, description="Its line of the run's AUC table.")


class Manifest(Frozen):
    """What an export holds and was made with."""

    format: Literal[1] = Field(1, description="Of the folder.")
    name: str = Field(description="The study's name.")
    radfuse: str = Field(description="The version that made it.")
    stages: dict[str, int] = Field(description="The version of each stage's numbers.")
    libraries: dict[str, str] = Field(description="Versions of what decides numbers.")
    outcome: str = Field(description="What is predicted.")
    subjects: int = Field(description="How many the models were fitted on.")
    events: int = Field(description="How many of them had the outcome.")
    primary: str | None = Field(description="The arm that was declared before the run, where it is among these.")
    arms: dict[str, ExportedArm] = Field(description="The models, by arm.")
    needs: dict[str, Any] = Field(description="What a new patient must bring.")
    signed_by: str | None = Field(description="SHA-256 of the public key of the signature beside it; null: none.")
    files: dict[str, str] = Field(description="SHA-256 of every other file.")


class Known(Frozen):
    """What the models know of the study's table, without its patients."""

    columns: tuple[str, ...] = Field(description="Features, in the order of the fit.")
    batches: tuple[dict[str, str | None], ...] = Field(description="The combinations of batch labels that occurred.")
    covariates: dict[str, Literal["number", "flag", "text"]] = Field(description="Facts, and their kind.")
    grouped: bool = Field(description="Whether rows of one patient were kept together.")

    @classmethod
    def of(cls, table: FeatureTable) -> Self:
        """Describe a table."""
        labels = table.subjects[[c for c in table.subjects if str(c).startswith(BATCH)]].astype(object)
        rows = [{str(c): None if pd.isna(v) else str(v) for c, v in row.items()} for row in labels.to_dict("records")]
        combinations = {json.dumps(row): row for row in rows}
        return cls(
            columns=tuple(table.values.columns),
            batches=tuple(combinations[text] for text in sorted(combinations)),
            covariates={name: _kind(table.subjects[name]) for name in table.covariates},
            grouped=GROUP in table.subjects,
        )

    def table(self) -> FeatureTable:
        """A table of the same columns, labels and kinds, with a row per combination of batches and no value in it."""
        index = pd.Index([f"combination {i + 1}" for i in range(len(self.batches))], name="subject", dtype=object)
        values = pd.DataFrame(float("nan"), index, list(self.columns), dtype="float64")
        facts: dict[str, Any] = {GROUP: list(index)} if self.grouped else {}
        for name, kind in self.covariates.items():
            nothing = {"number": float("nan"), "flag": False, "text": None}[kind]
            facts[name] = pd.Series([nothing] * len(index), index, dtype=object if kind == "text" else None)
        for name in self.batches[0] if self.batches else ():
            facts[name] = pd.Series([row[name] for row in self.batches], index, dtype=object)
        return FeatureTable(values, pd.DataFrame(facts, index=index))


@dataclass(frozen=True, eq=False)
class ExportedRun(Predictor):
    """An export whose files are those that were sealed.

    Parameters
    ----------
    folder : the export; it is read and never written.
    manifest : its list.
    config : the settings that the run was made with.
    table : columns, batch labels and covariates, without patients: see `Known`.
    said : sentences about what was not made sure.
    """

    folder: Path
    manifest: Manifest
    config: Config
    table: FeatureTable
    said: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        folder: Path,
        overrides: Sequence[str] = (),
        trust: Path | None = None,
        *,
        allow_other_versions: bool = False,
    ) -> Self:
        """Open an export, and refuse one that was changed, is not signed as asked, or was made with other versions.

        Parameters
        ----------
        overrides : of ``execution`` only.
        trust : the public key (PEM) that must have signed it; None asks for no signature.
        allow_other_versions : work with other libraries than the run's. Another version of a stage stays refused.
        """
        content = (folder / EXPORT).read_bytes()
        if trust is not None:
            require_signed(folder / EXPORT, content, trust)
        manifest = _parsed(Manifest, folder / EXPORT, content)
        for name, sha256 in manifest.files.items():
            checked(folder, name, sha256)
        unlisted = sorted({RUN, KNOWN, *(arm.file for arm in manifest.arms.values())} - set(manifest.files))
        if unlisted or not manifest.arms:
            raise StageError(f"{folder / EXPORT} does not list {', '.join(unlisted) or 'a model'}", hint=DAMAGED)
        config = _with_scales(_with_weights(read_config(folder / RUN, overrides), folder, manifest), folder, manifest)
        commands = _commands_said(config)
        config = _with_template(config, folder, manifest)
        other = _require_versions(folder, manifest, config, allow_other_versions)
        known = _parsed(Known, folder / KNOWN, checked(folder, KNOWN, manifest.files[KNOWN]))
        said = (*_signature_said(folder, manifest, trust), *other, *commands)
        return cls(folder, manifest, config, known.table(), said)

    @property
    def images(self) -> bool:
        """Whether the run had images: then it has a stage that aligns them."""
        return Align.name in self.manifest.stages

    @property
    def place(self) -> Path:
        """The folder."""
        return self.folder

    @property
    def main_region(self) -> str:
        """The region whose columns carry no name; the export's settings name it."""
        return self.config.cohort.region or MAIN

    @property
    def remarks(self) -> Sequence[str]:
        """What was not made sure when the export was opened, and whether it knows its own patients."""
        if FINGERPRINTS in self.manifest.files or not self.images:
            return self.said
        return (*self.said, "the export does not know which images it learned from: nobody is told as seen in training")

    @property
    def primary(self) -> str:
        """The arm that the run declared; where it was not exported, the only one."""
        if self.manifest.primary is not None:
            return self.manifest.primary
        if len(self.manifest.arms) == 1:
            return next(iter(self.manifest.arms))
        raise StageError(
            f"{self.folder} does not hold the primary arm of its run",
            hint=f"Use --arm: {', '.join(self.manifest.arms)}.",
        )

    def offered(self) -> list[Arm]:
        """The arms that were exported."""
        known = {arm.name: arm for arm in self.config.train.arms(self.table)}
        strange = [name for name in self.manifest.arms if name not in known]
        if strange:
            raise StageError(f"{self.folder} lists {', '.join(strange)}, no arm of its own settings", hint=DAMAGED)
        return [arm for name, arm in known.items() if name in self.manifest.arms]

    def is_whole(self, arm: Arm) -> bool:
        """Only what was trained to the end is exported."""
        return True

    def require_arm(self, arm: Arm) -> None:
        """Refuse a model that was changed since the export was opened."""
        self._content(arm)

    def model(self, arm: Arm) -> Any:
        """Read a model: what is parsed is what was hashed, and holds types of the fixed list only."""
        return parse_model(self._content(arm), str(self.folder / self.manifest.arms[arm.name].file))

    def model_digest(self, arm: Arm) -> str:
        """SHA-256 of an arm's model."""
        return self.manifest.files[self.manifest.arms[arm.name].file]

    def recognised(self, cohort: Cohort) -> Mapping[str, str]:
        """Find patients one of whose images is, byte for byte, one that the models were fitted on."""
        salt, images = self._fingerprints
        found = {}
        for scan in cohort.scans if images else ():
            if scan.subject not in found and scan.image.is_file() and salted(salt, file_digest(scan.image)) in images:
                found[scan.subject] = "a patient of the study"
        return found

    def _content(self, arm: Arm) -> bytes:
        return checked(self.folder, self.manifest.arms[arm.name].file, self.model_digest(arm))

    @cached_property
    def _fingerprints(self) -> tuple[str, frozenset[str]]:
        if FINGERPRINTS not in self.manifest.files:
            return "", frozenset()
        found = json.loads(checked(self.folder, FINGERPRINTS, self.manifest.files[FINGERPRINTS]))
        return found["salt"], frozenset(found["images"])


def open_predictor(
    place: Path,
    run: str = "main",
    overrides: Sequence[str] = (),
    trust: Path | None = None,
    *,
    allow_other_versions: bool = False,
) -> Predictor:
    """Open what predicts: an export, a run folder, or a run of a study folder."""
    if (place / EXPORT).is_file():
        if run != "main":
            raise ConfigError(f"--run {run} is for a study folder, and {place} is an export", hint="Leave it out.")
        return ExportedRun.open(place, overrides, trust, allow_other_versions=allow_other_versions)
    given = {"--trust": trust is not None, "--allow-other-versions": allow_other_versions}
    for name in [name for name, asked in given.items() if asked]:
        raise ConfigError(f"{name} is for an export, and {place} is none", hint="Make one with `radfuse export`.")
    return FittedRun.open(place, run, overrides)


def salted(salt: str, sha256: str) -> str:
    """Hash a hash: lists of two exports cannot be compared, nor an image found by a hash published elsewhere."""
    return sha256_of(f"{salt}{sha256}".encode())


def deciding(images: bool, fuses: bool) -> dict[str, str]:
    """The installed versions of every library that decides the numbers of a prediction."""
    names = [name for stage, own in DECIDING.items() for name in own if images and (fuses or stage != "fuse")]
    return libraries(*dict.fromkeys([*names, *judging.DECIDING]))


def stage_versions(config: Config, images: bool) -> dict[str, int]:
    """The version of each stage of this radfuse that a run passes."""
    looked = (config.align, config.fuse, config.extract) if images else ()
    return {stage.name: stage.version for stage in (*looked, config.harmonize, config.train)}


def _kind(column: pd.Series) -> Literal["number", "flag", "text"]:
    if pd.api.types.is_bool_dtype(column):
        return "flag"
    return "number" if pd.api.types.is_numeric_dtype(column) else "text"


def _parsed(model: type[Model], path: Path, content: bytes) -> Model:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise StageError(
            f"{path} is not what this radfuse {radfuse.__version__} exports: {'; '.join(describe(error, model))}",
            hint="It may be of another radfuse version, or damaged.",
        ) from error


def _with_weights(config: Config, folder: Path, manifest: Manifest) -> Config:
    """Let fusion methods read their weights from the folder, and from nowhere else."""
    methods = []
    for method in config.fuse.methods:
        if method.trained_weights is not None:
            place = _held(method.trained_weights.as_posix(), "weights", folder, manifest)
            method = method.model_copy(update={"weights": place})
        methods.append(method)
    return config.model_copy(update={"fuse": config.fuse.model_copy(update={"methods": tuple(methods)})})


def _with_scales(config: Config, folder: Path, manifest: Manifest) -> Config:
    """Let intensity scales read their files from the folder, and from nowhere else."""
    scales = {
        modality: tuple(
            step.model_copy(update={step.reads: _held(getattr(step, step.reads), step.reads, folder, manifest)})
            if step.reads
            else step
            for step in steps
        )
        for modality, steps in config.align.intensity.items()
    }
    return config.model_copy(update={"align": config.align.model_copy(update={"intensity": scales})})


def _with_template(config: Config, folder: Path, manifest: Manifest) -> Config:
    """Let the template be read from the folder, and let no tissue run a program: an export brings no commands."""
    align, changed = config.align, dict[str, Any]()
    if align.template is not None:
        given = {setting: getattr(align.template, setting) for setting in ("image", "mask")}
        places = {setting: _held(name, setting, folder, manifest) for setting, name in given.items() if name}
        changed["template"] = align.template.model_copy(update=places)
    changed["tissues"] = {name: Tissue() if each.of == "tool" else each for name, each in align.tissues.items()}
    return config.model_copy(update={"align": align.model_copy(update=changed)})


def _commands_said(config: Config) -> tuple[str, ...]:
    """Say which tissues the study had drawn by a program, which predicting from an export never starts."""
    return tuple(
        f"the study had {name} drawn by `{each.command}`; an export runs no programs, so draw it in the manifest's "
        f"column `region`"
        for name, each in config.align.tissues.items()
        if each.of == "tool"
    )


def _held(name: str, what: str, folder: Path, manifest: Manifest) -> str:
    if name not in manifest.files:
        raise StageError(f"{folder / RUN} names {what} {name}, which the export does not hold", hint=DAMAGED)
    return str(folder / name)


def _require_versions(folder: Path, manifest: Manifest, config: Config, allow: bool) -> tuple[str, ...]:
    """Refuse other versions by name; give what to say where libraries may differ."""
    installed = stage_versions(config, Align.name in manifest.stages)
    other = [f"{s} had version {v}, this radfuse has {installed.get(s)}" for s, v in manifest.stages.items()
             if installed.get(s) != v]  # fmt: skip
    if other or set(manifest.stages) != set(installed):
        raise StageError(
            f"{folder} was made by radfuse {manifest.radfuse}, whose numbers are others: {'; '.join(other)}",
            hint=f"Install radfuse {manifest.radfuse}, or export the run again with this one ({radfuse.__version__}).",
        )
    now = {name: _installed(name) for name in manifest.libraries}
    differ = ", ".join(f"{name} {v} then, {now[name]} now" for name, v in manifest.libraries.items() if now[name] != v)
    if differ and not allow:
        raise StageError(
            f"{folder} was made with other libraries: {differ}",
            hint=f"`pip install -r {folder / 'requirements.txt'}`; or --allow-other-versions, and scores may differ.",
        )
    return (f"scores may differ from those of the study's machine: {differ}",) if differ else ()


def _installed(name: str) -> str:
    try:
        return libraries(name)[name]
    except PackageNotFoundError:
        return "none"


def _signature_said(folder: Path, manifest: Manifest, trust: Path | None) -> tuple[str, ...]:
    if trust is not None:
        return ()
    if manifest.signed_by is None or not (folder / EXPORT).with_suffix(SIGNATURE).is_file():
        return ("the export is not signed: its hashes tell damage, not who made it",)
    return (f"the export says it was signed by {manifest.signed_by[:16]}..., which only --trust PUBLIC.pem makes sure",)
