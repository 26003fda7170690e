"""A BIDS data set: subjects, sessions, images by suffix, and masks from its derivatives (BIDS 1.10)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd

from radfuse.data.reading.left_out import LeftOut
from radfuse.data.reading.listing import Listed
from radfuse.errors import ConfigError, DataError

FOLDERS = ("anat", "pet", "ct")
ENDINGS = (".nii.gz", ".nii")
SUFFIXES = {"T1w": "MR_T1", "T2w": "MR_T2", "FLAIR": "MR_FLAIR", "PDw": "MR_PD", "T2starw": "MR_T2STAR"}
SUFFIXES |= {"ct": "CT", "pet": "PET"}
SUV_UNITS = ("suv", "suvbw", "g/ml")


def find_images(root: Path) -> tuple[list[Listed], list[LeftOut]]:
    """Every image of a BIDS folder that is CT, PET in SUV or anatomical MR, with the masks of its subject and session.

    A subject with one session is that subject; with several, each session is a subject of its own, and their group is
    the person. A PET whose sidecar does not say SUV is left out, for Bq/ml of two patients do not compare.
    """
    people = sorted(path for path in root.glob("sub-*") if path.is_dir())
    if not people:
        raise ConfigError(f"{root} has no folder sub-*", hint="BIDS has one such folder for each subject.")
    images: list[Listed] = []
    left: list[LeftOut] = []
    for person in people:
        label = person.name.removeprefix("sub-")
        sessions = sorted(path for path in person.glob("ses-*") if path.is_dir()) or [person]
        for session in sessions:
            subject = f"{label}_{session.name}" if len(sessions) > 1 else label
            masks = tuple(_masks(root, session.relative_to(root)))
            for path in _files(session):
                try:
                    modality = _modality(path)
                except DataError as error:
                    left.append(LeftOut(subject, path.name, error.message, error.hint))
                    continue
                if modality:
                    images.append(Listed(subject, label, modality, path, masks))
                else:
                    left.append(
                        LeftOut(subject, path.name, "its suffix is not of CT, PET or anatomical MR", fault=False)
                    )
    return images, left


def read_participants(root: Path) -> pd.DataFrame | None:
    """The table participants.tsv with the column subject; None when there is none."""
    path = root / "participants.tsv"
    if not path.is_file():
        return None
    table = pd.read_csv(path, sep="\t", dtype={"participant_id": str}, na_values=["n/a"], encoding="utf-8-sig")
    if "participant_id" not in table:
        raise ConfigError(f"{path} has no column participant_id", hint="BIDS asks for it.")
    return table.assign(participant_id=table["participant_id"].str.removeprefix("sub-"))


def _files(session: Path) -> list[Path]:
    found = [path for folder in FOLDERS for path in (session / folder).glob("*") if path.name.endswith(ENDINGS)]
    return sorted(found)


def _modality(path: Path) -> str:
    """Name an image by its BIDS suffix; empty for what is not measured."""
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name)
    entities = stem.split("_")
    name = SUFFIXES.get(entities[-1], "")
    if name == "MR_T1" and any(entity.startswith("ce-") for entity in entities):
        return "MR_T1C"
    if name == "PET":
        _check_suv(path.with_name(f"{stem}.json"))
    return name


def _check_suv(sidecar: Path) -> None:
    try:
        units = str(json.loads(sidecar.read_text(encoding="utf-8")).get("Units", "")) if sidecar.is_file() else ""
    except (ValueError, AttributeError):
        raise DataError(f"{sidecar.name} is not a JSON sidecar", hint="Correct it.") from None
    if units.replace(" ", "").casefold() not in SUV_UNITS:
        raise DataError(
            f"{sidecar.name} says Units {units!r}, expected SUV or g/mL",
            hint="Convert the PET to SUV (or import its DICOM: --from dicom), and say so in the sidecar.",
        )


def _masks(root: Path, session: Path) -> list[Path]:
    derivatives = root / "derivatives"
    if not derivatives.is_dir():
        return []
    found = [
        path
        for pipeline in sorted(path for path in derivatives.iterdir() if path.is_dir())
        for path in (pipeline / session).rglob("*")
        if path.name.endswith(tuple(f"_mask{ending}" for ending in ENDINGS))
    ]
    return sorted(found)
