"""One DICOM header, read quietly: what pydicom says about a file quotes it, and a quotation may carry a person."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from radfuse.data.reading.dicom.files import File
from radfuse.errors import DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

GE_PET = (0x0009, "GEMS_PETD_01")
PHILIPS_PET = (0x7053, "Philips PET Private Group")
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
PREAMBLE = 132  # bytes up to and with the mark DICM (PS3.10 section 7.1)


class NotDicomError(DataError):
    """The file is something else."""


@contextmanager
def quietly() -> Iterator[None]:
    """Keep pydicom's warnings and log lines off every screen and file: they quote values."""
    if _quiet.get():  # asked for every tag, and filters are slow to set
        yield
        return
    log = logging.getLogger("pydicom")
    was = log.disabled
    token = _quiet.set(True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.disabled = True
        try:
            yield
        finally:
            log.disabled = was
            _quiet.reset(token)


def read_dataset(file: File, *, pixels: bool) -> Dataset:
    """Read one DICOM file; raise NotDicomError when it is none, DataError when it cannot be parsed."""
    import pydicom

    try:
        with file.open() as stream, quietly():
            if stream.read(PREAMBLE)[-4:] != b"DICM":
                raise NotDicomError("a file is not DICOM: it lacks the DICM mark", hint="Export the series again.")
            stream.seek(0)
            return pydicom.dcmread(stream, stop_before_pixels=not pixels)
    except DataError:
        raise
    except OSError as error:  # its text names the file, and files are named after people
        raise DataError(f"a file cannot be opened ({type(error).__name__})", hint="May you read it?") from None
    except Exception as error:  # pydicom raises a dozen kinds on damaged files; their text may quote a value
        raise DataError(
            f"a DICOM file cannot be parsed ({type(error).__name__})", hint="Export or copy the series again."
        ) from None


def text(dataset: Dataset, name: str) -> str:
    """A tag as text, stripped; empty when absent."""
    value = _value(dataset, name)
    if value is None:
        return ""
    return "\\".join(map(str, value)) if _is_many(value) else str(value).strip()


def texts(dataset: Dataset, name: str) -> tuple[str, ...]:
    """A tag of several values as texts."""
    value = _value(dataset, name)
    if value is None or value == "":
        return ()
    return tuple(str(part).strip() for part in (value if _is_many(value) else [value]))


def number(dataset: Dataset, name: str) -> float | None:
    """A tag as a finite number; None when absent or empty, DataError when it is not one."""
    found = numbers(dataset, name)
    if len(found) > 1:
        raise DataError(f"{name} has {len(found)} values, expected one")
    return found[0] if found else None


def numbers(dataset: Dataset, name: str) -> tuple[float, ...]:
    """A tag of several numbers; empty when absent."""
    value = _value(dataset, name)
    if value is None or value == "":
        return ()
    try:
        found = tuple(float(part) for part in (value if _is_many(value) else [value]))
    except (TypeError, ValueError):
        raise DataError(f"{name} is not a number", hint=f"Correct {name} at its source.") from None
    if not all(math.isfinite(part) for part in found):
        raise DataError(f"{name} is not finite", hint=f"Correct {name} at its source.")
    return found


def items(dataset: Dataset, name: str) -> Sequence[Dataset]:
    """The items of a sequence; none when it is absent."""
    value = _value(dataset, name)
    return () if value is None else value


def moment(dataset: Dataset, date: str, time: str) -> datetime | None:
    """A date and a time put together; None when either is absent."""
    day, hour = text(dataset, date), text(dataset, time)
    return parse_moment(day, hour, f"{date} and {time}") if day and hour else None


def parse_moment(day: str, hour: str, name: str) -> datetime:
    """Read DA (YYYYMMDD) and TM (HHMMSS.FFFFFF, right parts optional) values."""
    try:
        return datetime.strptime(day.replace(".", ""), "%Y%m%d") + time_of_day(hour)
    except ValueError:
        raise DataError(f"{name} is not a DICOM date and time", hint=f"Correct {name} at its source.") from None


def time_of_day(hour: str) -> timedelta:
    """Read a TM value as time since midnight; raises ValueError."""
    digits, _, fraction = hour.replace(":", "").strip().partition(".")
    if len(digits) not in (2, 4, 6) or not digits.isdigit() or (fraction and not fraction.isdigit()):
        raise ValueError("not a TM value")
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4] or 0), int(digits[4:6] or 0)
    if hours > 23 or minutes > 59 or seconds > 60:
        raise ValueError("not a TM value")
    return timedelta(hours=hours, minutes=minutes, seconds=seconds + (float(f"0.{fraction}") if fraction else 0.0))


def date_time(value: str, name: str) -> datetime | None:
    """Read a DT value (YYYYMMDDHHMMSS.FFFFFF); an offset from UTC is dropped; None when empty."""
    if not value.strip():
        return None
    plain = value.strip().split("+")[0].split("-")[0]
    if len(plain) < 10:
        raise DataError(f"{name} has no time of day", hint=f"Correct {name} at its source.")
    return parse_moment(plain[:8], plain[8:], name)


def private(dataset: Dataset, group: tuple[int, str], element: int) -> str:
    """A vendor's tag as text, found by its private creator; empty when absent."""
    number_, creator = group
    try:
        with quietly():
            value = dataset.private_block(number_, creator)[element].value
    except (KeyError, ValueError):
        return ""
    return value.decode("ascii", "replace").strip("\0 ") if isinstance(value, bytes) else str(value).strip()


def _value(dataset: Dataset, name: str) -> Any:
    try:
        with quietly():
            return dataset.get(name)
    except Exception as error:  # a damaged element; the text of the error quotes it
        raise DataError(f"{name} cannot be read ({type(error).__name__})") from None


def _is_many(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
