"""Write the models of a finished run into one sealed folder that holds no patient."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import radfuse
from radfuse.align.intensity.histogram_match import HistogramMatch
from radfuse.data.names import fused_modalities
from radfuse.data.reading.images import suffix_of
from radfuse.data.region import MAIN
from radfuse.errors import ConfigError, RadfuseError, StageError
from radfuse.run.card import card
from radfuse.run.exported import (
    EXPORT,
    FINGERPRINTS,
    KNOWN,
    RUN,
    ExportedArm,
    Known,
    Manifest,
    deciding,
    salted,
    stage_versions,
)
from radfuse.run.fitted import OF_A_TABLE, FittedRun
from radfuse.run.judging import TABLES
from radfuse.run.models import load_model, save_model
from radfuse.run.privacy import refuse_patients, without_patients
from radfuse.run.sealing import seal
from radfuse.run.store import digest, digests, file_digest, write_text
from radfuse.train.operating import OPERATING
from radfuse.train.stage import Arm

KEEPS_ROWS = ("svm",)
"""Classifiers whose fitted models are made of training rows (support vectors)."""
DECIDING = {"name", "cohort", "align", "fuse", "extract", "harmonize", "train"}
"""The parts of a study's settings that predicting needs; the others stay at home, and with them the paths in them."""
MODELS, WEIGHTS, SCALES, TEMPLATES = "models", "weights", "scales", "templates"
CARD, REQUIREMENTS, POINTS = "README.md", "requirements.txt", f"{OPERATING}.csv"
JUDGED = ("auc", "ci_low", "ci_high", "n", "events")


@dataclass(frozen=True)
class Export:
    """What was written.

    Parameters
    ----------
    folder : where.
    manifest : its list.
    notes : sentences that the user should read.
    """

    folder: Path
    manifest: Manifest
    notes: tuple[str, ...] = ()


def export_run(
    run: FittedRun,
    names: Sequence[str],
    output: Path,
    key: Path | None = None,
    *,
    fingerprints: bool = True,
    rows: bool = False,
) -> Export:
    """Write settings, models, card and list into a new folder; nothing of the run is changed.

    Parameters
    ----------
    names : of arms; empty is the primary one, ``all`` is every one.
    output : a folder that does not exist yet, or is empty.
    key : an Ed25519 private key (PEM) to sign with.
    fingerprints : whether to hold salted hashes of the study's images, so that predicting recognises its patients.
    rows : whether to export models that keep feature rows of patients.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} exists and is not empty", hint="Name a new folder: an export is never changed.")
    output, arms = output.resolve(), run.arms(names)
    keeping = [arm.name for arm in arms if _keeps_rows(arm)]
    if keeping and not rows:
        raise StageError(
            f"{', '.join(keeping)} cannot be exported without patients: a support vector machine keeps their feature "
            "rows, scaled",
            hint="Leave it out, or give --with-rows where those rows may leave the study.",
        )
    staged = output.with_name(f".{output.name}.partial")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        notes = _fill(run, arms, staged, fingerprints)
        manifest = _manifest(run, arms, staged)
        write_text(staged / CARD, card(run, manifest, signed=key is not None))
        listed = digests(staged, [str(path.relative_to(staged).as_posix()) for path in _files(staged)])
        seal(staged / EXPORT, manifest.model_dump(mode="json", exclude={"signed_by"}) | {"files": listed}, key)
        refuse_patients(staged, run)
        if output.exists():
            output.rmdir()
        staged.rename(output)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    if keeping:
        notes.append(f"feature rows of patients are part of {', '.join(keeping)}")
    if key is None:
        notes.append("not signed: the hashes tell damage, not who made it (--key PRIVATE.pem signs)")
    return Export(output, Manifest.model_validate_json((output / EXPORT).read_bytes()), tuple(notes))


def needs(run: FittedRun, arms: Sequence[Arm]) -> dict[str, Any]:
    """What a new patient must bring for some arms: scans, regions, and columns of facts."""
    from radfuse.run.newcomers import is_needed

    table = run.table
    known = table.single if run.images else table.modalities  # a feature table brings fused images ready made
    looked = {part for arm in arms for m in arm.modalities for part in _parts(m, known)}
    labels = {m: run.table.batch_of(m) for m in known if m in looked or not looked & set(known)}
    columns = run.config.cohort.batches
    return {
        "modalities": [m for m in known if m in looked] or list(known),
        "main_region": run.main_region,
        "regions": {name: list(values) for name, values in run.config.cohort.regions.items()},
        "batches": {
            m: {"column": columns.get(m, columns.get("*", "")), "known": sorted(set(own.dropna()))}
            for m, own in labels.items()
            if own is not None
        },
        "covariates": {n: k for n, k in Known.of(table).covariates.items() if is_needed(run, n, arms)},
    }


def _fill(run: FittedRun, arms: Sequence[Arm], folder: Path, fingerprints: bool) -> list[str]:
    """Write everything but card and list."""
    for arm in arms:
        (folder / MODELS).mkdir(exist_ok=True)
        save_model(without_patients(load_model(run.model_file(arm))), folder / MODELS / f"{arm.name}.skops")
    write_text(folder / RUN, yaml.safe_dump(_settings(run, folder), sort_keys=False, allow_unicode=True, width=110))
    write_text(folder / KNOWN, Known.of(run.table).model_dump_json(indent=1) + "\n")
    versions = {"radfuse": radfuse.__version__, **deciding(run.images, run.fuses)}
    write_text(folder / REQUIREMENTS, "".join(f"{name}=={version}\n" for name, version in versions.items()))
    points = _operating_points(run, arms)
    if points is not None:
        points.to_csv(folder / POINTS, index=False)
    if not run.images:
        return ["it knows no images: predicting cannot tell who was seen in training"]
    if not fingerprints:
        return ["without fingerprints: predicting cannot tell who was seen in training"]
    images = _images(run)
    if images is None:
        return ["images of the study are elsewhere: predicting cannot tell who was seen in training"]
    salt = digest("radfuse export", {arm.name: run.model_digest(arm) for arm in arms})
    found = {"salt": salt, "images": sorted({salted(salt, image) for image in images})}
    write_text(folder / FINGERPRINTS, json.dumps(found, indent=1) + "\n")
    return []


def _manifest(run: FittedRun, arms: Sequence[Arm], folder: Path) -> Manifest:
    outcome, judged = run.table.outcome, _judged(run)
    primary = run.primary
    return Manifest(
        name=run.config.name,
        radfuse=radfuse.__version__,
        stages=stage_versions(run.config, run.images),
        libraries=deciding(run.images, run.fuses),
        outcome=run.config.cohort.outcome,
        subjects=len(outcome),
        events=int(outcome.sum()),
        primary=primary if primary in [arm.name for arm in arms] else None,
        arms={
            arm.name: ExportedArm(
                file=f"{MODELS}/{arm.name}.skops",
                fusion=arm.fusion,
                modalities=arm.modalities,
                classifier=arm.classifier,
                keeps_rows=_keeps_rows(arm),
                judged=judged.get(arm.name, {}),
            )
            for arm in arms
        },
        needs=needs(run, arms),
        signed_by=None,
        files={},
    )


def _settings(run: FittedRun, folder: Path) -> dict[str, Any]:
    """The settings that decide results, without any path; weights of fusion methods and intensity scales come along."""
    settings = run.config.model_dump(mode="json", include=DECIDING if run.images else OF_A_TABLE)
    settings["cohort"] |= {"root": ".", "manifest": "manifest.csv", "tables": [], "modalities": list(run.modalities)}
    if run.main_region != MAIN:
        settings["cohort"]["region"] = run.main_region
    if not run.images:
        return settings
    for method, described in zip(run.config.fuse.methods, settings["fuse"]["methods"], strict=True):
        if method.trained_weights is not None:
            described["weights"] = _brought(method.trained_weights, folder / WEIGHTS, ".safetensors")
    for modality, steps in run.config.align.intensity.items():
        dumped = settings["align"]["intensity"][modality]
        for step, described in zip(steps, dumped if isinstance(dumped, list) else [dumped], strict=True):
            if isinstance(step, HistogramMatch):
                raise StageError(
                    f"align.intensity.{modality} is histogram_match, whose template is an image, and an export holds "
                    "none",
                    hint="A run with landmarks (`radfuse landmarks`, nyul) can be exported.",
                )
            if step.reads:
                described[step.reads] = _brought(Path(getattr(step, step.reads)), folder / SCALES, ".json")
    _bring_template(run, settings["align"], folder)
    return settings


def _bring_template(run: FittedRun, align: dict[str, Any], folder: Path) -> None:
    """Copy the template and its mask into the export; a patient's own image never is."""
    template = run.config.align.template
    if template is None:
        return
    if template.sha256 in (_images(run) or ()):
        raise StageError(
            "align.template is an image of one of the study's patients, and an export holds none",
            hint="A run with a template that is nobody of the study can be exported.",
        )
    for setting in ("image", "mask"):
        path = Path(getattr(template, setting))
        if getattr(template, setting):
            align["template"][setting] = _brought(path, folder / TEMPLATES, suffix_of(path))


def _brought(path: Path, folder: Path, suffix: str) -> str:
    """Copy a file that a setting names into the export, and give its place there."""
    if not path.is_file():
        raise StageError(f"{path}, which the settings of the run name, is not there", hint="Bring it back to export.")
    folder.mkdir(exist_ok=True)
    name = f"{file_digest(path)}{suffix}"
    shutil.copyfile(path, folder / name)
    return f"{folder.name}/{name}"


def _judged(run: FittedRun) -> Mapping[str, dict[str, float | None]]:
    """The AUC table of the last judgement, by arm; empty where there is none."""
    path = run.store.root / "report" / "auc.csv"
    if not path.is_file():
        return {}
    table = pd.read_csv(path).set_index("arm")
    rows = table[[name for name in JUDGED if name in table]].to_dict("index")
    return {str(arm): {str(n): None if pd.isna(v) else float(v) for n, v in row.items()} for arm, row in rows.items()}


def _operating_points(run: FittedRun, arms: Sequence[Arm]) -> pd.DataFrame | None:
    path = run.store.root / "report" / TABLES / POINTS
    if not path.is_file():
        return None
    table = pd.read_csv(path)
    own = table[table["arm"].isin([arm.name for arm in arms])]
    return own if len(own) else None


def _images(run: FittedRun) -> list[str] | None:
    """SHA-256 of the scans of every patient whom the models learned from; None where one of them is elsewhere."""
    if run.cohort is None:
        return None
    trained = set(run.table.values.index)
    try:
        return [file_digest(scan.image) for scan in run.cohort.scans if scan.subject in trained]
    except (RadfuseError, OSError):
        return None


def _keeps_rows(arm: Arm) -> bool:
    return arm.member is not None and arm.member.method in KEEPS_ROWS


def _parts(modality: str, singles: Sequence[str]) -> Sequence[str]:
    return [modality] if modality in singles else fused_modalities(modality, singles)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
