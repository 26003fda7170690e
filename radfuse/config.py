"""Config: one model per stage. Reads YAML, applies overrides, refuses the unknown, lists every fault at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, PositiveInt, ValidationError, field_validator, model_validator

from radfuse.align.intensity import Intensity
from radfuse.align.partial_volume import PartialVolume
from radfuse.align.registration import Registration
from radfuse.align.stage import Align
from radfuse.component import Component, Frozen, describe
from radfuse.data.cohort import Cohort, Columns
from radfuse.data.reading.tables import read_manifest, read_table
from radfuse.data.region import EVERY, LEGAL_REGION, labels_of
from radfuse.errors import ConfigError
from radfuse.extract.extractor import Extractor
from radfuse.extract.perturbations import Perturbation
from radfuse.extract.regions import Region
from radfuse.extract.stability import Stability
from radfuse.extract.stage import Extract
from radfuse.fuse import FusionMethod
from radfuse.fuse.pictures import PictureFusion
from radfuse.fuse.stage import Fuse
from radfuse.harmonize import Harmonizer
from radfuse.harmonize.stage import Harmonize
from radfuse.report.stage import Report
from radfuse.train.classifiers import Classifier
from radfuse.train.combinations import Combination
from radfuse.train.fusion import FusionStrategy
from radfuse.train.joins import Join
from radfuse.train.selection import Selection
from radfuse.train.splits import Splits
from radfuse.train.stage import Train

MAX_CONFIG_BYTES = 1_000_000


class CohortSettings(Frozen):
    """Where the patients are, and which columns mean what."""

    root: Path = Field(Path("."), description="Folder that the manifest, the tables and the image paths start from.")
    manifest: Path = Field(Path("manifest.csv"), description="One row per image: subject, modality, image, mask.")
    tables: tuple[Path, ...] = Field((), description="Tables with one row per subject: outcome, facts, scanners.")
    outcome: str = Field(description="Column to predict.")
    positive: str | None = Field(None, description="The value that counts as the event, when it is not 0 and 1.")
    group: str | None = Field(None, description="Column whose equal values are one patient; never split apart.")
    modalities: tuple[str, ...] = Field((), description="Modalities of the study; empty: all of the manifest.")
    reference: str | None = Field(None, description="Modality whose frame and region lead; default: the first.")
    regions: dict[str, tuple[int, ...]] = Field(
        {},
        description="Regions that every mask holds, by the labels of each: `{tumour: 1, node: [2, 3], both: all}`; the "
        "first is the main one. Empty: the manifest's columns `region` and `label` say it.",
    )
    region: str | None = Field(None, description="The main region, whose columns carry no name; default: the first.")
    few_voxels: PositiveInt = Field(
        64, description="`radfuse validate` warns of regions that are measured in fewer voxels than that."
    )
    batches: dict[str, str] = Field({}, description="By modality, the column with its scanner or site; * means all.")
    covariates: tuple[str, ...] = Field((), description="Further facts to carry into subjects.csv.")
    missing: Literal["exclude", "keep"] = Field(
        "exclude",
        description="A subject without one of the modalities: leave it out, so that all arms are judged on the same "
        "patients, or keep it and let the fusion levels work with what is there.",
    )

    @field_validator("regions", mode="before")
    @classmethod
    def _named_labels(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        for name in given:
            if not LEGAL_REGION.match(str(name)):
                raise ValueError(f"region {name!r} must be a letter, then letters, digits, _ or -, at most 32")
        try:
            # An empty list is how `all` is written into run.yaml.
            return {name: labels_of(labels) if labels not in ([], EVERY) else EVERY for name, labels in given.items()}
        except ConfigError as error:
            raise ValueError(error.message) from error


class External(Frozen):
    """Patients of another manifest on whom the finished models are tested; nothing is learned from them."""

    manifest: Path | None = Field(
        None, description="Their manifest, from cohort.root; image paths in it start from its own folder. Null: none."
    )
    tables: tuple[Path, ...] = Field(
        (), description="Tables with their outcome, facts and scanners, from cohort.root; default: the manifest."
    )
    arms: tuple[str, ...] = Field(
        (), description="Arms to test, or `all`; default: the two of the comparison declared in train.primary."
    )


class Tracking(Frozen):
    """Where runs are recorded. MLFLOW_TRACKING_URI, when set, wins over the study's own mlflow.db."""

    experiment: str = Field("", description="MLflow experiment; empty: the study's name.")
    models: bool = Field(True, description="Log the model fitted on all subjects with each arm.")
    registry: Literal["primary", "all", "none"] = Field(
        "primary",
        description="Whose models become versions in MLflow's registry, as STUDY-ARM: the primary arm's, all, or none.",
    )


class Execution(Frozen):
    """How the work is done. Nothing here is part of a cache key: no number changes by more than its rounding."""

    jobs: PositiveInt | None = Field(None, description="Processes; default: one per core.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where networks run; texture and maps of features too where it says `cuda`."
    )


class Config(Frozen):
    """A whole study."""

    name: str = Field("study", description="The study's name; the MLflow experiment and the report carry it.")
    cohort: CohortSettings
    align: Align = Align()
    fuse: Fuse = Fuse()
    extract: Extract = Extract()
    stability: Stability = Stability()
    harmonize: Harmonize = Harmonize()
    train: Train = Train()
    external: External = External()
    report: Report = Report()
    tracking: Tracking = Tracking()
    execution: Execution = Execution()

    @model_validator(mode="after")
    def _outcome_stays_out(self) -> "Config":
        protected = self.protected
        if self.cohort.outcome in protected:
            raise ValueError(
                f"harmonize protects {self.cohort.outcome!r}, which is the outcome: that alone makes an AUC of 0.67 "
                "out of noise. Protect only what is known before the outcome"
            )
        late = sorted(set(protected) & set(self.train.known_after_imaging))
        if late:
            raise ValueError(f"harmonize protects {', '.join(late)}, which is known only after imaging")
        if self.cohort.outcome in self.train.baselines.clinical:
            raise ValueError(f"the clinical baseline lists {self.cohort.outcome!r}, which is the outcome")
        if self.cohort.outcome in self.train.clinical_modality:
            raise ValueError(f"train.clinical_modality lists {self.cohort.outcome!r}, which is the outcome")
        if self.cohort.outcome in self.train.taught:
            raise ValueError(f"an auxiliary target is {self.cohort.outcome!r}, which is the outcome itself")
        derived = [each for name, region in self.extract.regions.items() for each in region.names(name)]
        twice = sorted(set(derived) & set(self.cohort.regions))
        if twice:
            raise ValueError(
                f"extract.regions would make a second region {twice[0]!r}; cohort.regions names one already"
            )
        return self

    @property
    def protected(self) -> tuple[str, ...]:
        """Covariates that the harmoniser keeps."""
        return tuple(getattr(self.harmonize.harmonizer, "protect", ()))

    @property
    def columns(self) -> Columns:
        """What the clinical tables' columns mean in this study."""
        member = self.harmonize.harmonizer
        clinical = (*self.train.baselines.clinical, *self.train.clinical_modality, *self.train.taught)
        facts = (*self.protected, *member.facts, *self.train.splits.facts, *clinical, *self.cohort.covariates)
        return Columns(
            outcome=self.cohort.outcome,
            positive=self.cohort.positive,
            group=self.cohort.group,
            batches=self.cohort.batches,
            covariates=tuple(dict.fromkeys(facts)),
        )

    def read_cohort(self) -> Cohort:
        """Read the manifest and the tables; problems are in the result, nothing is raised for them."""
        root = self.cohort.root
        manifest = read_manifest(root / self.cohort.manifest)
        tables = {str(path): read_table(root / path) for path in self.cohort.tables}
        if not tables:
            tables = {str(self.cohort.manifest): manifest.set_index("subject").pipe(lambda t: t[~t.index.duplicated()])}
        cohort = self.cohort
        return Cohort.assemble(manifest, tables, self.columns, root, cohort.modalities, cohort.regions, cohort.region)

    def to_yaml(self) -> str:
        """Write every setting, resolved, so that the file alone repeats the run."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def families() -> dict[str, type[Component]]:
    """Every family of methods that a config or a command can name, by the word `radfuse list` uses."""
    return {
        "registration": Registration,
        "intensity": Intensity,
        "partial_volume": PartialVolume,
        "fusion": FusionMethod,
        "picture": PictureFusion,
        "extractor": Extractor,
        "perturbation": Perturbation,
        "region": Region,
        "harmonizer": Harmonizer,
        "selection": Selection,
        "classifier": Classifier,
        "strategy": FusionStrategy,
        "combination": Combination,
        "join": Join,
        "splits": Splits,
    }


def read_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a study's YAML.

    Paths inside it are relative to its folder; a path given as an override is relative to the current folder.
    ``extract.parameters`` may name PyRadiomics parameter files; their contents are taken in, so that a cache key
    follows what they say and not where they lie.

    Parameters
    ----------
    path : the YAML file.
    overrides : ``section.key=value``, the value in YAML: ``align.spacing_mm=2``.
    """
    settings = load_yaml(path)
    base = path.resolve().parent
    cohort = settings.setdefault("cohort", {})
    if not isinstance(cohort, dict):
        raise ConfigError(f"{path}: cohort must be a mapping, found {cohort!r}")
    cohort["root"] = str((base / str(cohort.get("root", "."))).resolve())
    for override in overrides:
        set_override(settings, override)
    _take_in_parameters(settings, base)
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        lines = "\n".join(f"  - {line}" for line in describe(error, Config))
        raise ConfigError(
            f"{path} cannot be used:\n{lines}", hint="`radfuse list --settings` shows every method and its settings."
        ) from error


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, safely."""
    if not path.is_file():
        raise ConfigError(
            f"config not found: {path}",
            hint="Run in a study folder (it holds radfuse.yaml), or make one with `radfuse init`.",
        )
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path} is {path.stat().st_size} bytes; a config has at most {MAX_CONFIG_BYTES}")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, found {type(settings).__name__}")
    return settings


def set_override(settings: dict[str, Any], override: str) -> None:
    """Apply one ``section.key=value``; a path given this way is relative to the current folder."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override!r}: expected KEY=VALUE", hint="For example --set align.spacing_mm=2.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is not valid YAML") from error
    parts = key.split(".")
    if key == "cohort.root":
        value = str(Path(text).resolve())
    if parts[:2] == ["extract", "parameters"] and isinstance(value, str):
        value = str(Path(value).resolve())
    set_value(settings, parts, value)


def set_value(settings: dict[str, Any], place: Sequence[str], value: object) -> None:
    """Put a value into nested settings; a method named by text alone grows into a mapping when it must."""
    for part in place[:-1]:
        inner = settings.setdefault(part, {})
        if isinstance(inner, str):
            inner = settings[part] = {"method": inner}
        if not isinstance(inner, dict):
            raise ConfigError(f"cannot set {'.'.join(place)}: {part!r} is not a mapping, found {inner!r}")
        settings = inner
    settings[place[-1]] = value


def _take_in_parameters(settings: dict[str, Any], base: Path) -> None:
    extract = settings.get("extract")
    parameters = extract.get("parameters") if isinstance(extract, dict) else None
    if not isinstance(parameters, dict):
        return
    for modality, given in parameters.items():
        if isinstance(given, str):
            parameters[modality] = read_parameters(base / given)


def read_parameters(path: Path) -> dict[str, Any]:
    """Read a PyRadiomics parameter file as it is."""
    if not path.is_file():
        raise ConfigError(f"PyRadiomics parameter file not found: {path}")
    return load_yaml(path)
