"""The stages outside a study folder, on manifests and tables of one's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import yaml
from pydantic import BaseModel, ValidationError

from radfuse.component import Stage, describe
from radfuse.config import Config, Execution, Tracking, read_parameters, set_value
from radfuse.data.cohort import Cohort, Columns, Problem, refuse, subject_facts
from radfuse.data.names import modality_of
from radfuse.data.reading.tables import read_manifest, read_table
from radfuse.data.study import Study
from radfuse.data.table import FeatureTable
from radfuse.errors import CohortError, ConfigError, DataError
from radfuse.extract.dictionary import data_dictionary
from radfuse.extract.parameters import parameters_for
from radfuse.extract.stage import Extract
from radfuse.harmonize.stage import Harmonize
from radfuse.report.stage import Report
from radfuse.run import subjects
from radfuse.run.controls import NOTHING_ASKED, Asked, Judging, require, run_controls, with_shared
from radfuse.run.device import device_of
from radfuse.run.environment import describe_environment, environment
from radfuse.run.executors.local import LocalExecutor
from radfuse.run.fitted import ENVIRONMENT, OF_A_TABLE, RUN
from radfuse.run.harmonizing import (
    associate,
    by_batches,
    refuse_associated,
    told,
    verdicts,
    write_associated,
    write_diagnostics,
)
from radfuse.run.judging import Judged, judge
from radfuse.run.ledger import DECIDING, scans_digest
from radfuse.run.lock import alone
from radfuse.run.logs import RunLog
from radfuse.run.models import save_model
from radfuse.run.progress import Listener
from radfuse.run.session import failure_table
from radfuse.run.shipped import shipped
from radfuse.run.store import Store, digest, file_digest, libraries, require_csv, write, write_bytes, write_text
from radfuse.run.tasks import SubjectTask, lost, perform
from radfuse.run.tracking import Trained, tracked
from radfuse.train.stage import Train

Settings = TypeVar("Settings", bound=BaseModel)


def extract_table(
    manifest: Path,
    only: tuple[Sequence[str], Sequence[str]],
    parameters: Sequence[str],
    overrides: Sequence[str],
    output: Path,
    listener: Listener,
) -> list[Problem]:
    """Measure the files of a manifest as they are, and write one CSV.

    Results are kept beside the CSV in ``<name>.radfuse/``, so that an interrupted extraction goes on where it was.

    Parameters
    ----------
    manifest : CSV; image paths start from its folder.
    only : subjects and modalities to keep; empty keeps all.
    parameters : PyRadiomics YAML files, ``FILE`` for everything or ``MODALITY=FILE``.
    overrides : settings of ``extract`` and ``execution``.
    output : the CSV to write; ``.parquet``, ``.diagnostics.csv`` and ``.dictionary.csv`` go beside it.
    """
    require_csv(output)
    chosen, modalities = only
    cohort = Cohort.assemble(read_manifest(manifest), {}, Columns(), manifest.resolve().parent, modalities)
    cohort.require_sound()
    unknown = [subject for subject in chosen if subject not in cohort.ids]
    if unknown:
        raise ConfigError(f"not in {manifest}: {', '.join(unknown)}")
    settings, execution = _stage_settings(overrides, "extract")
    settings["parameters"] = {**settings.get("parameters", {}), **_parameters(parameters)}
    stage = _validated(Extract, settings)
    _require_parameters(stage, cohort.modalities)
    store = Store(output.with_suffix(".radfuse"))
    ids = [subject for subject in cohort.ids if not chosen or subject in chosen]
    problems = [problem for problem in cohort.problems if problem.subject in ids]
    left_out = {problem.subject for problem in problems if not problem.absent}
    device = device_of(stage.name, execution.device)
    tasks = [_task(stage, cohort, subject, store, device) for subject in ids if subject not in left_out]
    done = {}
    for task in tasks:
        record = store.current("extract", task.subject, task.key)
        if record is not None and record.done:
            done[task.subject] = record
    listener.began("extract", len(tasks), len(done))
    began = time.perf_counter()
    with alone(store.root), LocalExecutor(execution.jobs) as executor:
        for task, record in executor.map(perform, [task for task in tasks if task.subject not in done], lost):
            done[task.subject] = record
            listener.advanced("extract", record)
    listener.ended("extract", time.perf_counter() - began)
    problems += [Problem(s, r.what, r.hint, fatal=False) for s, r in done.items() if not r.done]
    rows = [subjects.load_row(store.folder("extract", s), s) for s in ids if s in done and done[s].done]
    failures = pd.DataFrame([(p.subject, p.what, p.hint) for p in problems], columns=["subject", "what", "hint"])
    write(output.with_suffix(".failures.csv"), lambda path: failures.to_csv(path, index=False))
    if not rows:
        raise DataError("no subject could be measured", hint=f"See {output.with_suffix('.failures.csv')}.")
    values = subjects.write_rows(output, output.with_suffix(".diagnostics.csv"), rows)
    meaning = data_dictionary(values.columns, stage.extractor, stage.parameters)
    write(output.with_suffix(".dictionary.csv"), lambda path: meaning.to_csv(path, index=False))
    return problems


def harmonize_table(
    features: Path,
    facts: Path | None,
    columns: Mapping[str, str | None],
    overrides: Sequence[str],
    output: Path,
    *,
    association: bool = False,
) -> str:
    """Harmonise a feature table of one's own and write it, and beside it what was found; give the verdict in words.

    Parameters
    ----------
    columns : names of the columns ``outcome`` (to refuse it as a covariate, and to warn where it goes with the batch),
        ``batch`` (several for nested ComBat) and ``protect``, as typed.
    output : the CSV; the figures, ``<name>.effects.csv`` and the fitted harmoniser go beside it.
    association : protect the outcome, and mark the table so that no AUC is made from it.
    """
    if columns["batch"] is None:
        raise ConfigError("harmonising needs --batch", hint="Name the column of --subjects with the scanner or site.")
    require_csv(output)
    covariates = _covariates(columns)
    stage, batch = _harmonize(covariates, overrides, columns["batch"])
    wanted = (*covariates, *getattr(stage.harmonizer, "protect", ()), *stage.harmonizer.facts)
    roles = Columns(outcome=columns["outcome"], batches={"*": batch}, covariates=tuple(dict.fromkeys(wanted)))
    table = _own_table(features, facts, roles)
    if association:
        found = associate(stage, table)
        write_associated(output, found)
        write_diagnostics(output.parent, f"{output.stem}.", found)
        return told(found, output)
    found = stage(table)
    write(output, lambda path: found.table.values.to_csv(path))
    write(output.with_suffix(".skops"), lambda path: save_model(found.transformer, path))
    write_diagnostics(output.parent, f"{output.stem}.", found)
    lines = [f"{modality}: {text}" for modality, text in verdicts(found.diagnostics).items()]
    return "\n".join([*lines, f"harmonised features in {output}"])


def train_table(
    features: Path,
    facts: Path | None,
    columns: Mapping[str, str | None],
    fusion: str,
    overrides: Sequence[str],
    output: Path,
    listener: Listener,
    asked: Asked = NOTHING_ASKED,
    tell: Callable[[str], None] = lambda line: None,
) -> Judged:
    """Judge a feature table of one's own: everything that a run leaves goes into the folder ``output``."""
    if columns["outcome"] is None:
        raise ConfigError("training needs --outcome", hint="Name the column of --subjects to predict.")
    covariates = _covariates(columns)
    harmonize, batch = _harmonize(covariates, overrides, columns["batch"])
    settings, execution = _stage_settings(overrides, "train")
    train = _validated(Train, settings)
    batches = {"*": batch} if batch else {}
    clinical = (*train.baselines.clinical, *train.clinical_modality, *train.taught)
    wanted = (*covariates, *harmonize.harmonizer.facts, *train.splits.facts, *clinical)
    roles = Columns(outcome=columns["outcome"], batches=batches, covariates=tuple(dict.fromkeys(wanted)))
    table = _own_table(features, facts, roles)
    store = Store(output)
    output.mkdir(parents=True, exist_ok=True)
    with alone(output), LocalExecutor(execution.jobs) as executor:
        began = time.perf_counter()
        log = RunLog(output / "log.jsonl")
        of = Judging(store, table, train, harmonize)
        require(of, asked)
        judged = judge(store, table, train, harmonize, executor, listener, log, fusion=fusion)
        _describe(store, columns["outcome"], batches, harmonize, train)  # what judging refuses leaves an earlier run
        listener.ended("train", time.perf_counter() - began)
        judged = with_shared(of, run_controls(of, judged, asked, executor, listener, tell=tell))
        settings = {"train": train.model_dump(mode="json"), "harmonize": harmonize.model_dump(mode="json")}
        _write_page(store, table, settings, judged)
        places = {"report": str(output / "report" / "index.html"), "table": str(output / "report" / "auc.csv")}
        hashes = {"features": file_digest(features), "config": digest(settings)}
        name = output.resolve().name
        listener.began("MLflow", len(judged.auc), 0)
        began = time.perf_counter()
        recorded = tracked(Trained(store, output, name, Tracking(), table, settings, judged, hashes), places)
        listener.ended("MLflow", time.perf_counter() - began)
        return recorded


def _describe(store: Store, outcome: str, batches: Mapping[str, str], harmonize: Harmonize, train: Train) -> None:
    """Write what `radfuse predict` and `radfuse export` need to know of the run beside its models."""
    cohort = {"outcome": outcome, "batches": batches}
    config = _validated(Config, {"name": store.root.resolve().name, "cohort": cohort, "harmonize": harmonize,
                                 "train": train})  # fmt: skip
    settings = config.model_dump(mode="json", include=OF_A_TABLE)
    write_text(store.root / RUN, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=110))
    write_text(store.root / ENVIRONMENT, describe_environment())


def _write_page(store: Store, table: FeatureTable, settings: Mapping[str, Any], judged: Judged) -> None:
    study = Study(
        name=store.root.resolve().name,
        config=settings,
        roster=table.subjects.assign(status="complete"),
        failures=failure_table(judged.failed),
        table=table,
        predictions=judged.predictions,
        auc=judged.auc,
        tables=judged.tables,
        contrast=judged.contrast,
        environment=environment(),
    )
    page, folder = Report()(study), store.folder("report")
    for file, content in page.files.items():
        write_bytes(folder / file, content)
    write_text(folder / "index.html", page.html)


def _own_table(features: Path, facts: Path | None, columns: Columns) -> FeatureTable:
    values = read_table(features)
    refuse_associated(list(values.columns), features)
    kept = [c for c in values.columns if "." in c and not c.partition(".")[2].startswith("diagnostics_")]
    if not kept:
        raise CohortError(
            f"{features} has no column named MODALITY.FEATURE; found {', '.join(map(str, values.columns[:6]))}",
            hint="A feature's modality is its prefix up to the first dot, such as PET.original_firstorder_Mean.",
        )
    text = [c for c in kept if not pd.api.types.is_numeric_dtype(values[c])]
    if text:
        raise CohortError(f"{features}: not numbers in {', '.join(text[:6])}", hint="Check for decimal commas.")
    table = read_table(facts if facts is not None else features)
    modalities = list(dict.fromkeys(modality_of(column) for column in kept))
    batches = dict.fromkeys(modalities, (columns.batches or {}).get("*"))
    columns = replace(columns, batches={m: c for m, c in batches.items() if c is not None})
    subjects_table, problems = subject_facts(list(values.index), {str(facts or features): table}, columns, modalities)
    refuse(problems)
    return FeatureTable(values[kept].astype("float64").set_axis(subjects_table.index), subjects_table)


def _covariates(columns: Mapping[str, str | None]) -> tuple[str, ...]:
    covariates = _names(columns["protect"] or "")
    if columns["outcome"] in covariates:
        raise ConfigError(
            f"--protect names {columns['outcome']!r}, which is the outcome: ComBat must never see it",
            hint="For a study of associations, and never for an AUC: radfuse harmonize --association.",
        )
    return covariates


def _harmonize(covariates: Sequence[str], overrides: Sequence[str], batch: str | None) -> tuple[Harmonize, str]:
    """The stage, and the first of the batch columns; further ones go to nested ComBat."""
    settings, _ = _stage_settings(overrides, "harmonize")
    first = by_batches(batch or "", settings)
    if covariates:
        set_value(settings, ["harmonizer", "protect"], list(covariates))
        settings["harmonizer"].setdefault("method", "combat")
    return _validated(Harmonize, settings), first


def _stage_settings(overrides: Sequence[str], stage: str) -> tuple[dict[str, Any], Execution]:
    """The overrides that concern one stage, and those of the execution."""
    found: dict[str, Any] = {stage: {}, "execution": {}}
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.split(".")
        if not equals or parts[0] not in ("extract", "harmonize", "train", "execution"):
            raise ConfigError(f"--set {override!r}: expected extract., harmonize., train. or execution.KEY=VALUE")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override!r}: the value is not valid YAML") from error
        if parts[0] in found:
            set_value(found, parts, value)
    return found[stage], _validated(Execution, found["execution"])


def _validated(model: type[Settings], settings: Mapping[str, Any]) -> Settings:
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise ConfigError("; ".join(describe(error, model))) from error


def _require_parameters(stage: Extract, modalities: Sequence[str]) -> None:
    """Refuse modalities without parameters: a study's own are for its units, and nobody knows those of raw files."""
    lacking = []
    for modality in modalities:
        try:
            parameters_for(modality, stage.parameters)
        except ConfigError:
            lacking.append(modality)
    if lacking:
        raise ConfigError(
            f"no PyRadiomics parameters for {', '.join(lacking)}: files are measured as they are, and nothing says how",
            hint=f"Give -p FILE for every modality, or -p {lacking[0]}=FILE for one. {shipped('pyradiomics')} has some "
            "to begin with: CT in HU, PET in SUV, MR in standard deviations of the tissue.",
        )


def _parameters(given: Sequence[str]) -> dict[str, Any]:
    found = {}
    for each in given:
        modality, equals, file = each.rpartition("=")
        found[modality if equals else "default"] = read_parameters(Path(file))
    return found


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _task(stage: Stage, cohort: Cohort, subject: str, store: Store, device: str) -> SubjectTask:
    scans = tuple(cohort.scans_of(subject))
    inputs = scans_digest(cohort, subject)
    key = digest(stage.name, stage.version, stage.deciding, inputs, libraries(*DECIDING["extract"]))
    return SubjectTask(stage, subject, scans, store.root, key, device)
