"""The run folder: results, and the records that say which results exist.

A result without a record does not exist. The record is written last, by rename; its key is a hash of the stage, its
version, its settings, its inputs' contents and the versions of the libraries that decide the numbers.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from radfuse.errors import ConfigError, StageError

RECORD = "record.json"


@dataclass(frozen=True)
class Record:
    """What became of one task.

    Parameters
    ----------
    stage, item : which task; ``item`` is a subject, an arm, or empty for a whole-cohort stage.
    key : what the result depends on, hashed.
    status : ``done`` or ``failed``.
    seconds : wall time.
    files : by name inside the folder, SHA-256 of each file.
    findings : plain JSON values that the stage found.
    what, hint, trace : for a failure, what went wrong, what to do, and the traceback (empty for a data error).
    transient : whether a failure is the machine's and not the data's (a full disk, a killed worker, a fault of ours):
        the next run tries again, while bad data fails the same way until it changes.
    """

    stage: str
    item: str
    key: str
    status: str
    seconds: float
    files: Mapping[str, str] = field(default_factory=dict)
    findings: Mapping[str, Any] = field(default_factory=dict)
    what: str = ""
    hint: str = ""
    trace: str = ""
    transient: bool = False

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self.status == "done"


@dataclass(frozen=True)
class Redo:
    """What to compute again although its record still stands.

    Parameters
    ----------
    everything : every result of the stages asked for.
    failed : what failed with bad data.
    """

    everything: bool = False
    failed: bool = False

    def wants(self, record: Record | None) -> bool:
        """Whether there is work to do: no record, a transient failure, or one that this asks to repeat."""
        if record is None or self.everything:
            return True
        return not record.done and (self.failed or record.transient)


NOTHING = Redo()


class Store:
    """The files of one run."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, stage: str, item: str = "") -> Path:
        """Where a task's files lie."""
        return self.root / stage / item if item else self.root / stage

    def read(self, stage: str, item: str = "") -> Record | None:
        """Read a record; None when there is none or it cannot be read."""
        path = self.folder(stage, item) / RECORD
        try:
            return Record(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def current(self, stage: str, item: str, key: str) -> Record | None:
        """Give the record of a result that still stands: same key, every file as it was written."""
        record = self.read(stage, item)
        if record is None or record.key != key:
            return None
        folder = self.folder(stage, item)
        for name, digest in record.files.items():
            path = folder / name
            if not path.is_file() or file_digest(path) != digest:
                return None
        return record

    def open(self, stage: str, item: str = "", meanwhile: Record | None = None) -> Path:
        """Make a task's folder ready for writing: without a record, so without a result, or with the one given."""
        folder = self.folder(stage, item)
        folder.mkdir(parents=True, exist_ok=True)
        if meanwhile is not None:
            self.close(meanwhile)
        else:
            (folder / RECORD).unlink(missing_ok=True)
        for stale in folder.glob(".tmp-*"):
            if not process_lives(stale.name.split("-")[1]):
                stale.unlink(missing_ok=True)
        return folder

    def close(self, record: Record) -> Record:
        """Write the record, and with it make the result exist."""
        path = self.folder(record.stage, record.item) / RECORD
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(record), indent=1, sort_keys=True, allow_nan=False) + "\n")
        return record

    def require(self, stage: str) -> None:
        """Raise a StageError when an earlier stage has not run."""
        if not self.folder(stage).is_dir():
            raise StageError(f"{self.root} holds no results of {stage}", hint=f"Run `radfuse {stage}` first.")


def digest(*parts: object) -> str:
    """Hash plain JSON values."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of some files of a folder, by name."""
    return {name: file_digest(folder / name) for name in sorted(names)}


def libraries(*names: str) -> dict[str, str]:
    """Versions of the distributions that decide a stage's numbers."""
    return {name: _version(name) for name in names}


@cache
def _version(name: str) -> str:
    return version(name)


def process_lives(process: str) -> bool:
    """Whether a process of this machine runs, by its number."""
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def require_csv(output: Path) -> None:
    """Refuse a table to write whose name says another format."""
    if output.suffix != ".csv":
        raise ConfigError(f"-o {output}: expected a name that ends in .csv", hint="Other files go beside it.")


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is either old or whole."""
    write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is either old or whole."""
    write(path, lambda temporary: temporary.write_bytes(content))


def write(path: Path, put: Callable[[Path], object]) -> None:
    """Let ``put`` write a temporary neighbour (same suffix), then rename it onto the final name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        put(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
