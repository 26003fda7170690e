"""Instances gathered into series, and series given the names that a study knows them by."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from radfuse.data.reading.dicom.files import File, forget_archives
from radfuse.data.reading.dicom.header import NotDicomError, quietly
from radfuse.data.reading.dicom.instance import ENHANCED_PET, IMAGES, Instance, Person, look
from radfuse.errors import ConfigError, DataError

SKIP = "skip"
NAMES = {"CT": "CT", "PT": "PET", "NM": "SPECT"}

# What a description has to say for an MR series to be more than "MR"; the first that fits decides.
SEQUENCES: tuple[tuple[str, str], ...] = (
    ("MR_FLAIR", r"flair"),
    ("MR_ADC", r"\badc\b|apparent diffusion"),
    ("MR_DWI", r"\bdwi\b|diffusion|\bb ?\d{3,4}\b"),
    ("MR_T1C", r"\bt1.*(\bgd\b|\bgad|\bpost\b|\+ ?c\b|\bce\b|contrast)|\bt1(c|ce|gd)\b|\b(post|gd|ce)\b.*\bt1"),
    ("MR_T1", r"\bt1w?\b"),
    ("MR_T2", r"\bt2w?\b"),
)


@dataclass(frozen=True)
class Series:
    """All objects of one SeriesInstanceUID.

    Parameters
    ----------
    kind : CT, MR, PT, NM, RTSTRUCT, SEG, or the name of what is not read.
    instances : in the order found.
    person : who was scanned, with the words of everybody in the source: one patient's text may name another.
    """

    kind: str
    instances: tuple[Instance, ...] = field(repr=False)
    person: Person = field(repr=False)

    @property
    def first(self) -> Instance:
        """Any of the objects, for what they share."""
        return self.instances[0]

    @property
    def uid(self) -> str:
        """SeriesInstanceUID; never written."""
        return self.first.series

    @property
    def description(self) -> str:
        """SeriesDescription without the person."""
        return self.person.blot(self.first.description)[:80]

    @property
    def slices(self) -> int:
        """How many frames there are in all."""
        return sum(len(instance.planes) for instance in self.instances)

    def __str__(self) -> str:
        named = f" {self.description!r}" if self.description else ""
        return f"{self.kind} series {self.person.blot(self.first.number) or '?'}{named}"


@dataclass(frozen=True)
class Found:
    """What is in a source.

    Parameters
    ----------
    series : every series, images and structures and the rest.
    foreign : how many files are not DICOM.
    damaged : how many files are DICOM and cannot be read, by reason.
    """

    series: tuple[Series, ...]
    foreign: int
    damaged: dict[str, int]


def find_series(files: Iterable[File], seen: Callable[[int], None] = lambda count: None) -> Found:
    """Look at every file and gather series. A SeriesInstanceUID of two kinds or two patients counts as two."""
    groups: dict[tuple[str, str, str], list[Instance]] = {}
    foreign = 0
    damaged: dict[str, int] = {}
    for count, file in enumerate(files, 1):
        seen(count)
        try:
            with quietly():
                instance = look(file)
        except NotDicomError:
            foreign += 1
            continue
        except DataError as error:
            damaged[error.message] = damaged.get(error.message, 0) + 1
            continue
        own = groups.setdefault((instance.person.patient_id, instance.series, instance.kind), [])
        own.append(_lean(instance, own))
    forget_archives()
    words = frozenset[str]().union(*(instance.person.words for own in groups.values() for instance in own))
    series = [
        Series(kind, tuple(own), replace(own[0].person, words=words)) for (_, _, kind), own in sorted(groups.items())
    ]
    return Found(tuple(series), foreign, damaged)


def _lean(instance: Instance, others: Sequence[Instance]) -> Instance:
    """Share with the first of its series what is equal: a cohort has a million slices."""
    if not others:
        return instance
    first = others[0]
    shared = {
        name: getattr(first, name)
        for name in ("person", "facts", "image_type", "tracer", "scales", "description")
        if getattr(first, name) == getattr(instance, name)
    }
    return replace(instance, **shared)


def names_of(patterns: Sequence[str]) -> list[tuple[str, str]]:
    """Read `PATTERN=NAME` choices; raise ConfigError when one is not of that form."""
    chosen = []
    for pattern in patterns:
        left, equals, name = pattern.rpartition("=")
        if not equals or not left or not re.fullmatch(r"[A-Za-z0-9_]{1,32}", name):
            raise ConfigError(
                f"{pattern!r} is not PATTERN=NAME with a name of letters, digits and underscores",
                hint="For example --modality '*t2*fs*=MR_T2FS', or --modality '*scout*=skip' to leave a series out.",
            )
        chosen.append((left, name))
    return chosen


def name_of(series: Series, chosen: Sequence[tuple[str, str]]) -> str:
    """Name an image series: by the first pattern that fits its description, else by its modality.

    An MR series gets a suffix only when its description says the sequence.

    Examples
    --------
    >>> [sequence for sequence, says in SEQUENCES if re.search(says, "ax t2 flair fs")][0]
    'MR_FLAIR'
    """
    description = series.first.description.casefold()
    for pattern, name in chosen:
        if fnmatch.fnmatchcase(description, pattern.casefold()):
            return name
    if series.kind == "MR":
        words = description.replace("_", " ").replace("-", " ")
        return next((name for name, says in SEQUENCES if re.search(says, words)), "MR")
    return NAMES[series.kind]


def unusable(series: Series) -> str:
    """Why a series is not a volume at all, such as a localiser; empty when it may be one."""
    if series.kind == "NM" and "RECON TOMO" not in series.first.image_type:
        return "it is a planar, raw or gated nuclear image, not a reconstructed volume (ImageType lacks RECON TOMO)"
    if series.kind not in (*IMAGES, "RTSTRUCT", "SEG", *ENHANCED_PET.values()):
        return f"{series.kind} is not an image volume, a structure set or a segmentation"
    if any(word.startswith("LOCALIZER") for word in series.first.image_type):
        return "it is a localiser (ImageType)"
    if series.kind in ("CT", "MR") and {"PROJECTION IMAGE", "MIP"} & set(series.first.image_type):
        return "it is a projection (ImageType)"
    if "REPROJECTION" in series.first.image_type:
        return "it is a reprojection (ImageType)"
    return ""
