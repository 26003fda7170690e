"""Progress bars on standard error; plain lines when it is not a terminal."""

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from radfuse.run.store import Record

PLAIN_EVERY = 10


class Bars:
    """Draw one bar per stage, and name each failure as it happens."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._done = self._total = 0

    def began(self, stage: str, total: int, reused: int) -> None:
        """Start a stage's bar."""
        self._close()
        self._done, self._total = reused, total
        if not sys.stderr.isatty():
            self.console.print(f"{stage}: {total - reused} to do, {reused} reused")
            return
        columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self.console)
        self._bar.start()
        self._task = self._bar.add_task(stage, total=total, completed=reused)

    def advanced(self, stage: str, record: Record) -> None:
        """Move the bar, and print a failure above it."""
        if not record.done:
            self.console.print(f"{stage} failed for {record.item}: {record.what}", style="red", markup=False)
            if record.hint:
                self.console.print(f"  {record.hint}", markup=False)
        self._done += 1
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)
        elif self._done % PLAIN_EVERY == 0:
            self.console.print(f"{stage}: {self._done} of {self._total}")

    def ended(self, stage: str, seconds: float) -> None:
        """Close the bar."""
        if self._bar is None:
            self.console.print(f"{stage}: done in {seconds:.1f} s")
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
