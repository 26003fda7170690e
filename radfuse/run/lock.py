"""One command at a time in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from radfuse.errors import StageError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder against a second command."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise StageError(f"another radfuse works in {folder}", hint="Wait for it, or choose another -o.") from error
