"""What a run tells the outside while it works: the command line draws bars, the log file writes lines."""

from typing import Protocol

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
