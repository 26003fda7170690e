"""Regions of interest: how they are named, which labels of a mask they are made of, and where they are drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radfuse.errors import ConfigError

MAIN = "main"
"""What the first region is called where nobody names it."""

LEGAL_REGION = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")

Labels = tuple[int, ...]
"""The labels that are measured together as one region; none at all means every label but the background 0."""

EVERY: Labels = ()


@dataclass(frozen=True)
class Outline:
    """A region drawn in a mask.

    Parameters
    ----------
    region : its name.
    mask : the file; None where this subject has no such region.
    labels : the labels that it is made of.
    """

    region: str
    mask: Path | None
    labels: Labels


def labels_of(given: object) -> Labels:
    """Read one label, a union of several, or ``all``; the order they are listed in means nothing.

    Raises ConfigError for what is none of these.

    Examples
    --------
    >>> labels_of("2+1"), labels_of([3, 1, 3]), labels_of("1 2"), labels_of(4.0), labels_of("all")
    ((1, 2), (1, 3), (1, 2), (4,), ())
    """
    if isinstance(given, str):
        if given.strip().lower() == "all":
            return EVERY
        parts: Sequence[object] = [part for part in re.split(r"[+,;|\s]+", given.strip().strip("[]()")) if part]
    else:
        parts = list(given) if isinstance(given, Sequence) else [given]
    found = {_whole(part, given) for part in parts}
    if not found or min(found) < 1:
        raise ConfigError(
            f"labels must be whole numbers above 0, a union of them such as 1+2, or `all`; found {given!r}"
        )
    return tuple(sorted(found))


def label_text(labels: Labels) -> str:
    """Write labels as a manifest does.

    Examples
    --------
    >>> label_text((1, 2)), label_text((3,)), label_text(EVERY)
    ('1+2', '3', 'all')
    """
    return "+".join(map(str, labels)) or "all"


def _whole(part: object, given: object) -> int:
    try:
        number = float(part)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(part, bool) or not number.is_integer():
        number = -1.0
    return int(number)
