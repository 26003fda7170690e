"""The run's log: one JSON line per event."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path


class RunLog:
    """Append events to log.jsonl."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wrote(self, event: str, **values: object) -> None:
        """Write one event with the time and the process."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "pid": os.getpid(), "event": event}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **values}, default=str) + "\n")
