"""Images that need no conversion, listed where they lie: by BIDS, or by a pattern of their paths."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from radfuse.data.reading.images import read_geometry
from radfuse.data.reading.left_out import LeftOut
from radfuse.errors import ConfigError, DataError

FIELDS = {"subject": r"[A-Za-z0-9._-]+?", "modality": r"[A-Za-z0-9_]+?"}
SKIP = "skip"


@dataclass(frozen=True)
class Listed:
    """One image of a source, and the files that may be its mask.

    Parameters
    ----------
    subject, group : the subject of the study; the person, when a person has several sessions.
    modality : the name.
    image : the file.
    masks : candidates; the one on the image's grid, and of the region asked for, is its mask.
    """

    subject: str
    group: str
    modality: str
    image: Path
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class Listing:
    """The manifest of a source.

    Parameters
    ----------
    rows : subject, group, modality, image, mask.
    left_out : a line for all that is not in it.
    facts : what the source says of its people, with the column participant_id; None when it says nothing.
    """

    rows: tuple[dict[str, str], ...]
    left_out: tuple[LeftOut, ...]
    facts: pd.DataFrame | None = None


def listing_of(images: Sequence[Listed], chosen: Sequence[tuple[str, str]], rois: Sequence[str]) -> Listing:
    """Name the images, join masks by grid and name, and leave out what is not one image of a name.

    Parameters
    ----------
    images : what was found.
    chosen : (pattern of the file name, modality), the first that fits decides; `skip` leaves out.
    rois : patterns of the mask's file name, in order of preference; empty when one mask lies on the image's grid.
    """
    left: list[LeftOut] = []
    named: dict[tuple[str, str], list[Listed]] = {}
    for image in images:
        modality = next((n for p, n in chosen if fnmatch.fnmatchcase(image.image.name.casefold(), p.casefold())), None)
        if (modality or "").casefold() == SKIP:
            left.append(LeftOut(image.subject, image.image.name, "left out by --modality", fault=False))
        else:
            named.setdefault((image.subject, modality or image.modality), []).append(image)
    rows = []
    for (subject, modality), own in sorted(named.items()):
        if len(own) > 1:
            hint = "Name or leave out by file name: --modality '*run-2*=skip', --modality '*acq-fs*=MR_T2FS'."
            why = f"{len(own)} images would be {modality}, and which is meant is not known"
            left += [LeftOut(subject, each.image.name, why, hint) for each in own]
            continue
        try:
            mask = _mask(own[0], rois)
        except DataError as error:
            left.append(LeftOut(subject, f"the mask of {modality}", error.message, error.hint))
            mask = None
        row = {"subject": subject, "group": own[0].group, "modality": modality, "image": str(own[0].image.resolve())}
        rows.append(row | {"mask": str(mask.resolve()) if mask else ""})
    return Listing(tuple(rows), tuple(left))


def by_pattern(root: Path, suffixes: Sequence[str], pattern: str, mask_pattern: str) -> tuple[list[Listed], int]:
    """Find images by the pattern of their path under a folder; give them and how many files fit neither pattern.

    Parameters
    ----------
    root : where to look.
    suffixes : of the files that count.
    pattern, mask_pattern : paths with the fields {subject} and {modality}, and * for anything within a name.
    """
    image_form, mask_form = _form(pattern), _form(mask_pattern)
    images: list[tuple[str, str, Path]] = []
    masks: list[tuple[str, str, Path]] = []
    others = 0
    for path in sorted(path for path in root.rglob("*") if path.name.lower().endswith(tuple(suffixes))):
        place = path.relative_to(root).as_posix()
        if match := mask_form.fullmatch(place):
            masks.append((match["subject"], match.groupdict().get("modality") or "", path))
        elif match := image_form.fullmatch(place):
            images.append((match["subject"], match.groupdict().get("modality") or "image", path))
        else:
            others += 1
    return [
        Listed(subject, subject, modality, path, tuple(p for s, m, p in masks if s == subject and m in ("", modality)))
        for subject, modality, path in images
    ], others


def _form(pattern: str) -> re.Pattern[str]:
    """A path pattern as a regular expression; a field that comes again has to be the same."""
    seen: set[str] = set()
    out = ""
    for part in re.split(r"(\{[^}]*\}|\*)", pattern):
        if part == "*":
            out += "[^/]*"
        elif part.startswith("{"):
            name = part[1:-1]
            if name not in FIELDS:
                raise ConfigError(f"{part} is not a field of a pattern", hint="Fields are {subject} and {modality}.")
            out += f"(?P={name})" if name in seen else f"(?P<{name}>{FIELDS[name]})"
            seen.add(name)
        else:
            out += re.escape(part)
    if "subject" not in seen:
        raise ConfigError(f"the pattern {pattern!r} has no {{subject}}", hint="Say where the subject is in the path.")
    return re.compile(out)


def _mask(image: Listed, rois: Sequence[str]) -> Path | None:
    """The one candidate on the image's grid whose name fits; None when the image has no candidate."""
    if not image.masks:
        return None
    grid = read_geometry(image.image)
    here = [mask for mask in image.masks if read_geometry(mask).matches(grid)]
    fits = here
    for roi in rois:
        fits = [mask for mask in here if fnmatch.fnmatchcase(mask.name.casefold(), f"*{roi.casefold()}*")]
        if fits:
            break
    if len(fits) == 1:
        return fits[0]
    names = ", ".join(mask.name for mask in fits or here or image.masks)
    if not here:
        raise DataError(f"none of {names} is on the grid of the image", hint="Resample the mask onto the image.")
    if not fits:
        raise DataError(f"no mask is named {' or '.join(rois)}; there are {names}", hint="Choose with --roi.")
    raise DataError(f"{len(fits)} masks are on its grid: {names}", hint="Choose with --roi 'tumor'.")
