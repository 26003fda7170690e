"""A source of DICOM becomes images, masks, a manifest and tables inside a study.

STUDY/images/<subject>/<modality>.nii.gz and <modality>_mask.nii.gz, each folder closed by its record; manifest.csv,
subjects.csv (scanners), series.csv (what was read, how), left_out.csv (what was not, and why). No name, id, date or UID
of the source is in any of them, nor in any message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radfuse.data.cohort import LEGAL_ID
from radfuse.data.reading.dicom.files import files_of
from radfuse.data.reading.dicom.plan import Choices, Planned, plan_patient
from radfuse.data.reading.dicom.series import Found, Series, find_series
from radfuse.data.reading.dicom.structures import slices_skipped
from radfuse.data.reading.dicom.volumes import read_volume
from radfuse.data.reading.images import write_mask, write_volume
from radfuse.data.reading.left_out import LeftOut
from radfuse.errors import ConfigError, DataError
from radfuse.run.import_tables import write_tables
from radfuse.run.pseudonyms import assign, fingerprint, read_keys, remembered, write_keys
from radfuse.run.store import Record, Store, digest, digests, libraries

STAGE = "images"
VERSION = 1
PLAUSIBLE_SUV = (0.5, 1000.0)  # of the hottest voxel: air alone is below, no organ or bladder above


@dataclass(frozen=True)
class Patient:
    """One patient of the source, or one study of a patient, under the code; `group` is the patient's code."""

    subject: str
    group: str
    series: tuple[Series, ...]
    planned: tuple[Planned, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class Plan:
    """What an import would do.

    Parameters
    ----------
    patients : in the order of their codes.
    left_out : what concerns no one patient.
    keys : the source's id behind each code; never written but to a key file.
    """

    patients: tuple[Patient, ...]
    left_out: tuple[LeftOut, ...]
    keys: Mapping[str, str]

    @property
    def all_left_out(self) -> list[LeftOut]:
        """Every line about what the headers rule out."""
        return [*self.left_out, *(line for patient in self.patients for line in patient.left_out)]


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Parameters
    ----------
    manifest, subjects : the tables' paths.
    rows : of series.csv, one for each volume.
    left_out : every line, those that only the pixels told included.
    reused : subjects whose files still stood.
    """

    manifest: Path
    subjects: Path
    rows: tuple[dict[str, Any], ...]
    left_out: tuple[LeftOut, ...]
    reused: tuple[str, ...]


def plan_import(
    source: Path,
    study: Path,
    choices: Choices,
    *,
    keep_ids: bool = False,
    keys: Path | None = None,
    per_study: bool = False,
    seen: Callable[[int], None] = lambda count: None,
) -> Plan:
    """Look at every header of a folder or archive and decide what becomes of each series; write nothing.

    Parameters
    ----------
    source : folder, zip or tar.
    study : where codes given before are remembered.
    choices : names, regions, kind of SUV.
    keep_ids : whether the source's PatientID is the subject, for data that carry pseudonyms already.
    keys : a key file to take codes from; see `pseudonyms`.
    per_study : whether each DICOM study of a patient is a subject of its own, S001_1, S001_2, in the order of dates.
    seen : told how many files have been looked at.
    """
    found = find_series(files_of(source, without=study / STAGE), seen)
    groups: dict[str, list[Series]] = {}
    for series in found.series:
        groups.setdefault(series.person.patient_id or f"study {series.first.study}", []).append(series)
    if not groups:
        raise ConfigError(
            f"no DICOM series among {found.foreign + sum(found.damaged.values())} files of the source",
            hint="NIfTI and NRRD: --from nifti, --from nrrd; BIDS: --from bids.",
        )
    codes = _codes(groups, study, keep_ids=keep_ids, keys=keys)
    subjects = [
        (subject, codes[who], part)
        for who, own in groups.items()
        if who in codes
        for subject, part in (_studies(codes[who], own) if per_study else [(codes[who], own)])
    ]
    patients = [_patient(*each, choices) for each in subjects]
    if len({planned.recipe.unit for p in patients for planned in p.planned if planned.recipe.series.kind == "NM"}) > 1:
        patients = [_patient(*each, choices, calibrated=False) for each in subjects]
    illegal = tuple(
        LeftOut(
            "", f"a patient of {len(own)} series", "the PatientID is not a legal subject id", "Leave out --keep-ids."
        )
        for who, own in groups.items()
        if who not in codes
    )
    ordered = tuple(sorted(patients, key=lambda patient: patient.subject))
    return Plan(ordered, (*_source_lines(found), *illegal), {who: codes[who] for who in sorted(codes)})


def carry_out(
    plan: Plan, study: Path, *, keys: Path | None = None, done: Callable[[str], None] = lambda s: None
) -> Imported:
    """Write images, masks and tables; what stands from an earlier import of the same files is kept.

    A series whose pixels cannot be read, or a region that cannot be drawn, is a line, and the others go on.
    """
    store = Store(study)
    if keys is not None:
        write_keys(keys, plan.keys)
    rows: list[dict[str, Any]] = []
    left = plan.all_left_out
    reused = []
    for patient in plan.patients:
        key = _key(patient)
        record = store.current(STAGE, patient.subject, key)
        if record is not None:
            reused.append(patient.subject)
        else:
            record = _convert(patient, key, store)
        rows += [dict(row) for row in record.findings["rows"]]
        left += [LeftOut(**line) for line in record.findings["left_out"]]
        done(patient.subject)
    if not rows:
        raise DataError(
            "nothing could be imported:\n" + "\n".join(f"  - {line}" for line in left), hint="See the lines above."
        )
    manifest, subjects = write_tables(study, rows, left)
    return Imported(manifest, subjects, tuple(rows), tuple(left), tuple(reused))


def _codes(groups: Mapping[str, Sequence[Series]], study: Path, *, keep_ids: bool, keys: Path | None) -> dict[str, str]:
    if keep_ids:
        return {who: who for who in groups if LEGAL_ID.match(who)}
    given = read_keys(keys, study) if keys is not None else {}
    marks = {who: [fingerprint(series.uid) for series in own] for who, own in groups.items()}
    return assign(marks, remembered(Store(study), STAGE), given)


def _studies(code: str, series: Sequence[Series]) -> list[tuple[str, list[Series]]]:
    """Each study of a patient by itself, numbered by date; the dates stay here."""
    studies: dict[tuple[str, str], list[Series]] = {}
    for each in series:
        studies.setdefault((each.first.study_date, each.first.study), []).append(each)
    return [(f"{code}_{number}", studies[which]) for number, which in enumerate(sorted(studies), 1)]


def _patient(
    subject: str, group: str, series: Sequence[Series], choices: Choices, *, calibrated: bool = True
) -> Patient:
    planned, left = plan_patient(subject, series, choices, calibrated=calibrated)
    return Patient(subject, group, tuple(series), tuple(planned), tuple(left))


def _key(patient: Patient) -> str:
    """Everything that decides a patient's files: the source files as they are, and every decision about them."""
    planned = [
        (p.modality, fingerprint(p.recipe.series.uid), p.recipe.unit, p.recipe.slopes, p.recipe.intercepts,
         p.recipe.notes, repr(p.recipe.grid), (p.region.name, p.region.threshold) if p.region else None)
        for p in patient.planned
    ]  # fmt: skip
    stamps = sorted(fingerprint(i.uid + i.file.stamp) for series in patient.series for i in series.instances)
    return digest(STAGE, VERSION, planned, stamps, libraries("pydicom", "SimpleITK", "numpy"))


def _convert(patient: Patient, key: str, store: Store) -> Record:
    started = time.monotonic()
    folder = store.open(STAGE, patient.subject)
    rows: list[dict[str, Any]] = []
    left: list[LeftOut] = []
    for planned in patient.planned:
        row = _convert_one(patient, planned, folder, left)
        if row is not None:
            rows.append(row)
    names = {Path(row[name]).name for row in rows for name in ("image", "mask") if row[name]}
    for stale in folder.glob("*.nii.gz"):
        if stale.name not in names:
            stale.unlink()
    findings = {
        "rows": rows,
        "left_out": [vars(line) for line in left],
        "code": patient.group,
        "met": sorted(fingerprint(series.uid) for series in patient.series),
    }
    seconds = round(time.monotonic() - started, 2)
    status = "done" if rows else "failed"
    return store.close(Record(STAGE, patient.subject, key, status, seconds, digests(folder, names), findings))


def _convert_one(patient: Patient, planned: Planned, folder: Path, left: list[LeftOut]) -> dict[str, Any] | None:
    recipe, person = planned.recipe, planned.recipe.series.person
    image, mask_path = folder / f"{planned.modality}.nii.gz", folder / f"{planned.modality}_mask.nii.gz"

    def leave(what: str, error: DataError) -> None:
        what, why, hint = person.blot(what), person.blot(error.message), person.blot(error.hint)
        left.append(LeftOut(patient.subject, what, why, hint))

    try:
        volume = read_volume(recipe, planned.modality)
        write_volume(image, volume)
    except DataError as error:
        leave(str(recipe.series), error)
        return None
    highest = float(volume.array.max())
    if recipe.unit == "SUV" and not PLAUSIBLE_SUV[0] <= highest <= PLAUSIBLE_SUV[1]:
        why, hint = f"its highest SUV is {highest:.3g}, which is hardly possible", "Check dose, weight and times."
        left.append(LeftOut(patient.subject, planned.modality, f"kept, but {why}", hint, False))
    row: dict[str, Any] = {
        "subject": patient.subject,
        "group": patient.group,
        "modality": planned.modality,
        "image": f"{STAGE}/{patient.subject}/{image.name}",
        "mask": "",
        "unit": recipe.unit,
        "slices": recipe.grid.size[2],
        "voxel_mm": " x ".join(f"{value:.4g}" for value in recipe.grid.spacing_mm),
        "region": "",
        "region_ml": "",
        **{name: person.blot(str(value)) for name, value in recipe.notes.items()},
        **recipe.series.first.facts,
    }
    if planned.region is not None:
        try:
            mask = planned.region.draw(recipe)
            write_mask(mask_path, mask)
        except DataError as error:
            leave(f"the mask of {planned.modality}", error)
        else:
            row |= {"mask": f"{STAGE}/{patient.subject}/{mask_path.name}", "region": person.blot(planned.region.name)}
            row |= {"region_ml": round(mask.volume_ml, 3)}
            if skipped := slices_skipped(mask):
                what, why = f"the mask of {planned.modality}", f"{skipped} slices inside its extent have no contour"
                left.append(LeftOut(patient.subject, what, why, "They stay empty: nothing is interpolated.", False))
    return row


def _source_lines(found: Found) -> list[LeftOut]:
    lines = [LeftOut("", f"{count} files", why) for why, count in sorted(found.damaged.items())]
    if found.foreign:
        lines.append(LeftOut("", f"{found.foreign} files", "not DICOM", fault=False))
    return lines
