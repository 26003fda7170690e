"""Who is called what in a study: codes that the source's ids cannot be read from.

By default a patient is S001, S002, ... in an order that has nothing to do with names or ids. A patient met before keeps
the code: the study remembers hashes of series UIDs (random numbers of forty digits, which cannot be guessed back),
never of a patient's id (which can). Only a key file, written when it is asked for, leads back.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from radfuse.data.cohort import LEGAL_ID
from radfuse.errors import ConfigError
from radfuse.run.store import Store, write

PREFIX = "S"


def fingerprint(uid: str) -> str:
    """A hash of a UID, to recognise it by."""
    return hashlib.sha256(uid.encode()).hexdigest()[:24]


def remembered(store: Store, stage: str) -> dict[str, str]:
    """The code of each series that the study has met, by fingerprint."""
    known: dict[str, str] = {}
    if store.folder(stage).is_dir():
        for folder in sorted(path for path in store.folder(stage).iterdir() if path.is_dir()):
            record = store.read(stage, folder.name)
            if record is not None:
                code = record.findings.get("code", folder.name)
                known |= dict.fromkeys(record.findings.get("met", ()), code)
    return known


def assign(
    patients: Mapping[str, Iterable[str]], known: Mapping[str, str], given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Give every patient a code.

    Parameters
    ----------
    patients : by the source's id, the fingerprints of the patient's series.
    known : codes of series met before, by fingerprint.
    given : codes from a key file, by the source's id; they win.
    """
    codes: dict[str, str] = {}
    for who, series in patients.items():
        met = {known[mark] for mark in series if mark in known}
        if given and who in given:
            codes[who] = given[who]
        elif len(met) == 1:
            codes[who] = met.pop()
        elif met:
            raise ConfigError(
                f"series of {' and '.join(sorted(met))} now belong to one patient",
                hint="The source's PatientID was changed: import into a new study.",
            )
    _check_distinct(codes)
    taken = {*codes.values(), *known.values(), *(given or {}).values()}
    fresh = (code for n in range(1, 10**6) if (code := f"{PREFIX}{n:03d}") not in taken)
    for who in sorted(set(patients) - set(codes), key=lambda each: min(patients[each])):
        codes[who] = next(fresh)
    return codes


def read_keys(path: Path, study: Path) -> dict[str, str]:
    """Read a key file (columns subject, patient_id); empty when there is none yet."""
    if path.resolve().is_relative_to(study.resolve()):
        raise ConfigError(
            f"the key file {path.name} would lie inside the study",
            hint="Keep it apart from what is shared: --keys /somewhere/safe/keys.csv.",
        )
    if not path.is_file():
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not {"subject", "patient_id"} <= set(table.columns):
        raise ConfigError("the key file lacks the columns subject and patient_id", hint="Correct it, or name another.")
    if table["subject"].duplicated().any() or table["patient_id"].duplicated().any():
        raise ConfigError("the key file names a subject or a patient twice", hint="Correct it.")
    wrong = [row for row, code in enumerate(table["subject"], 2) if not LEGAL_ID.match(code)]
    if wrong:
        raise ConfigError(
            f"the key file has a subject in row {wrong[0]} that is not letters, digits, dot, dash and underscore",
            hint="Correct it.",
        )
    return dict(zip(table["patient_id"], table["subject"], strict=True))


def write_keys(path: Path, codes: Mapping[str, str]) -> None:
    """Write the key file, readable by its owner alone."""

    def put(temporary: Path) -> None:
        temporary.touch(mode=0o600)
        os.chmod(temporary, 0o600)
        rows = sorted((code, who) for who, code in codes.items())
        pd.DataFrame(rows, columns=["subject", "patient_id"]).to_csv(temporary, index=False, lineterminator="\n")

    write(path, put)


def _check_distinct(codes: Mapping[str, str]) -> None:
    seen: set[str] = set()
    for code in codes.values():
        if code in seen:
            raise ConfigError(
                f"two patients of the source would both be {code}",
                hint="The source's PatientID or the key file was changed: correct it, or import into a new study.",
            )
        seen.add(code)
