"""Where an unfinished training stands, on disk: only the same training goes on from it, and none is lost unasked."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radfuse.errors import ConfigError
from radfuse.run.store import write

SHOWN = 5
HINT = (
    "Give this training a folder of its own (-o), finish that one with its own settings, or begin again with --redo, "
    "which replaces what is there."
)


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one training.

    Parameters
    ----------
    path : the file.
    decides : what decides the training's course, plain JSON values; an image stands in it by its SHA-256.
    """

    path: Path
    decides: Mapping[str, Any]

    def save(self, state: Mapping[str, Any]) -> None:
        """Write where training stands, beside what decides its course."""
        import torch

        content = {"decides": dict(_flat(self.decides)), "state": dict(state)}
        write(self.path, lambda temporary: torch.save(content, temporary))

    def load(self) -> dict[str, Any] | None:
        """Read where training stands, on whichever device it was; None where nothing began.

        Raises a ConfigError for a checkpoint of another training: it is somebody's work, and stays.
        """
        import torch

        if not self.path.is_file():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ConfigError(f"the checkpoint {self.path} is damaged", hint=HINT) from error
        if "decides" not in content:
            raise ConfigError(f"the checkpoint {self.path} was made by another version of radfuse", hint=HINT)
        there, here = content["decides"], dict(_flat(self.decides))
        names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
        names.sort(key=lambda name: not (name in there and name in here))  # a changed value says most
        if names:
            told = [f"{name}: {_said(there, name)} there, {_said(here, name)} here" for name in names[:SHOWN]]
            more = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
            raise ConfigError(
                f"the checkpoint {self.path} is of another training: {'; '.join([*told, *more])}", hint=HINT
            )
        state: dict[str, Any] = content["state"]
        return state

    def drop(self) -> None:
        """Remove it, once the weights are written."""
        self.path.unlink(missing_ok=True)


def _flat(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Give nested settings as (dotted place, value)."""
    if isinstance(value, Mapping):
        inner = [(str(name), each) for name, each in value.items()]
    elif isinstance(value, list | tuple):
        inner = [(str(number), each) for number, each in enumerate(value, 1)]
    else:
        yield place, value
        return
    for name, each in inner:
        yield from _flat(each, f"{place}.{name}" if place else name)


def _said(settings: Mapping[str, object], name: str) -> str:
    return str(settings[name]) if name in settings else "nothing"
