"""What a page is made of: sections, and in them words, tables, pictures and folds."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Words:
    """A paragraph. ``absent`` says that something did not run, ``caution`` what the reader should weigh."""

    kind: ClassVar[str] = "words"
    text: str
    tone: Literal["", "verdict", "caution", "absent"] = ""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Parameters
    ----------
    caption : what the rows are.
    columns : headings; the first column names the row.
    rows : cells, as many as columns.
    numeric : headings of columns that are set right.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A chart or image.

    Parameters
    ----------
    name : the file name under which it is also kept; its suffix says what it is.
    content : SVG or PNG.
    alt : what it shows, for those who do not see it.
    caption : how to read it.
    kept : whether it is written beside the page too.
    """

    kind: ClassVar[str] = "picture"
    name: str
    content: bytes
    alt: str
    caption: str = ""
    kept: bool = True

    @property
    def source(self) -> str:
        """The picture as a data URI: it needs no file, and an SVG in it can load or run nothing."""
        mime = "image/svg+xml" if self.name.endswith(".svg") else "image/png"
        return f"data:{mime};base64,{base64.b64encode(self.content).decode('ascii')}"


@dataclass(frozen=True)
class Flicker:
    """Two pictures of one size in one place: the second shows, on and off, while the reader points at them.

    Parameters
    ----------
    frames : what rests, and what takes turns with it: PNG.
    alts : what each shows, for those who do not see it.
    caption : how to read them.
    """

    kind: ClassVar[str] = "flicker"
    frames: tuple[bytes, bytes]
    alts: tuple[str, str]
    caption: str

    @property
    def pictures(self) -> tuple[Picture, Picture]:
        """Both, each as a picture of its own."""
        first, second = (Picture("frame.png", *each) for each in zip(self.frames, self.alts, strict=True))
        return first, second


@dataclass(frozen=True)
class Fold:
    """Something long, folded away behind its title: preformatted text, or further blocks."""

    kind: ClassVar[str] = "fold"
    title: str
    text: str = ""
    blocks: Sequence[Words | Table | Picture | Flicker] = ()


Block = Words | Table | Picture | Flicker | Fold


@dataclass(frozen=True)
class Section:
    """One question about the study.

    Parameters
    ----------
    anchor, title : where it is, what it is called.
    good, bad : what a reader should hope to see and fear to see; empty where there is nothing to judge.
    blocks : what is shown, in order.
    """

    anchor: str
    title: str
    blocks: Sequence[Block]
    good: str = ""
    bad: str = ""


def absent(what: str, hint: str) -> Words:
    """Say that a part of the study is not there, and how to get it."""
    return Words(f"{what} {hint}", "absent")


def number(value: object, digits: int = 2, unit: str = "") -> str:
    """Set a number; anything that is none, not finite or absent becomes a dash.

    Examples
    --------
    >>> number(0.123), number(None) == DASH, number(float("nan")) == DASH, number(-0.001)
    ('0.12', True, True, '0.00')
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return DASH
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", MINUS) + unit


def percent(value: object, digits: int = 0) -> str:
    """Set a share as a percentage.

    Examples
    --------
    >>> percent(0.256), percent(-0.02) == MINUS + "2 %", percent(None) == DASH
    ('26 %', True, True)
    """
    return number(100 * value, digits, " %") if isinstance(value, int | float) else DASH


def interval(low: object, high: object, digits: int = 2) -> str:
    """Set an interval; a dash where both ends are absent.

    Examples
    --------
    >>> interval(0.5, 0.75), interval(None, float("nan")) == DASH
    ('0.50 to 0.75', True)
    """
    ends = number(low, digits), number(high, digits)
    return DASH if ends == (DASH, DASH) else " to ".join(ends)


def split_long(table: Table, shown: int) -> list[Block]:
    """Show the first rows of a long table and fold the rest away."""
    if len(table.rows) <= shown + 3:
        return [table]
    rest = Table(f"{table.caption}, continued", table.columns, table.rows[shown:], table.numeric)
    first = Table(table.caption, table.columns, table.rows[:shown], table.numeric)
    return [first, Fold(f"The other {len(rest.rows)} rows", blocks=[rest])]
