"""What a run tells the outside while it works: the command line draws bars, the log file writes lines."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from radfuse.errors import RadfuseError
from radfuse.run.store import Record


class Listener(Protocol):
    """Someone who follows a run."""

    def began(self, stage: str, total: int, reused: int) -> None:
        """A stage starts; ``reused`` of its ``total`` results still stand."""

    def advanced(self, stage: str, record: Record) -> None:
        """One more result or failure."""

    def ended(self, stage: str, seconds: float) -> None:
        """A stage is over."""


class Silent:
    """Follow nothing."""

    def began(self, stage: str, total: int, reused: int) -> None:
        """Ignore."""

    def advanced(self, stage: str, record: Record) -> None:
        """Ignore."""

    def ended(self, stage: str, seconds: float) -> None:
        """Ignore."""


@contextmanager
def followed(listener: Listener, stage: str, total: int) -> Iterator[Callable[[str, RadfuseError | None], None]]:
    """Let someone follow work that leaves no records; gives a call to make after each item, with what went wrong."""
    began = time.perf_counter()

    def advance(item: str, error: RadfuseError | None) -> None:
        if error is None:
            listener.advanced(stage, Record(stage, item, "", "done", 0.0))
        else:
            listener.advanced(stage, Record(stage, item, "", "failed", 0.0, what=error.message, hint=error.hint))

    listener.began(stage, total, 0)
    try:
        yield advance
    finally:
        listener.ended(stage, time.perf_counter() - began)
