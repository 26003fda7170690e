"""Keep patients out of what leaves a study."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from radfuse.errors import StageError
from radfuse.run.fitted import FittedRun

NUMBER = re.compile(rb'"content":\s*"-?[0-9][0-9.eE+-]*"')
"""How a model's JSON holds a number: as text."""
LEAST = 4
"""Shorter names (P1, 17) occur by chance among numbers and columns; they are not searched for."""


def without_patients(model: Any) -> Any:
    """Take out of a fitted pipeline what only the study's own report reads: a harmoniser names whom it left raw."""
    from radfuse.harmonize.nesting import NestedTransformer
    from radfuse.harmonize.transformer import CombatTransformer

    harmonizer = model.named_steps.get("harmonize")
    if harmonizer is not None:
        harmonizer.report_ = {}
    if isinstance(harmonizer, NestedTransformer):
        for steps in harmonizer.steps_.values():
            for _, step in steps:
                if isinstance(step, CombatTransformer):
                    step.report_ = {}
    return model


def refuse_patients(folder: Path, run: FittedRun) -> None:
    """Refuse to hand out a folder in which a subject's name, a group's or a path of this machine is found."""
    allowed = {str(label) for m in run.table.modalities for label in (run.table.batch_of(m),) if label is not None
               for label in label}  # fmt: skip
    people = {str(name) for name in (*run.table.values.index, *run.table.group)} - allowed
    paths = {str(path) for path in (run.place.resolve(), run.config.cohort.root.resolve(), Path.home())}
    names = sorted(name for name in people if len(name) >= LEAST) + sorted(path for path in paths if len(path) > LEAST)
    words, digits = [name for name in names if not name.isdigit()], [name for name in names if name.isdigit()]
    patterns = [re.compile(rb"(?<![0-9A-Za-z])" + _one_of(words) + rb"(?![0-9A-Za-z])")] if words else []
    if digits:  # only where they are text: a patient 2000 is not the 2000 resamples of the settings
        quoted, cell = rb"(?<=[\"'])" + _one_of(digits) + rb"(?=[\\\"'])", rb"^" + _one_of(digits) + rb"(?=,)"
        patterns.append(re.compile(quoted + rb"|" + cell, re.MULTILINE))
    for name, content in _contents(folder) if patterns else ():
        hit = next((hit for pattern in patterns if (hit := pattern.search(content))), None)
        if hit is not None:
            raise StageError(
                f"{name} would hold {hit.group().decode()!r}, which must not leave the study",
                hint="This is a fault of radfuse unless a column or a setting is named so; please report it.",
            )


def _one_of(names: list[str]) -> bytes:
    return b"(?:" + b"|".join(re.escape(name.encode()) for name in names) + b")"


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, and every file inside a model: of arrays the texts, of the rest no node that is a number."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix != ".skops":
            yield name, path.read_bytes()
            continue
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                content = archive.read(member)
                content = _texts(content) if member.endswith(".npy") else NUMBER.sub(b"", content)
                yield f"{name}/{member}", content


def _texts(array: bytes) -> bytes:
    """The texts of an array in quotes, one a line; NumPy itself pads them to one width, or puts none between them."""
    held = np.load(io.BytesIO(array), allow_pickle=False)
    return "\n".join(f'"{text}"' for text in held.ravel().astype(str)).encode() if held.dtype.kind in "SU" else b""
