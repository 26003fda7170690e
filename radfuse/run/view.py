"""Write what is for the eye: coloured planes of a study's subjects as PNG, with their scale beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from radfuse.data.geometry import Geometry
from radfuse.data.names import is_fused
from radfuse.data.subject import Subject
from radfuse.errors import ConfigError, DataError, RadfuseError, StageError
from radfuse.report.drawing import png
from radfuse.report.flicker import animated_png
from radfuse.report.follow import Followed, follow
from radfuse.report.planes import PLANES, Place
from radfuse.report.registered import SHOWN, frames
from radfuse.report.registered import sheet as pair_sheet
from radfuse.report.registration import pairs
from radfuse.report.sheet import sheet
from radfuse.report.slices import region_of
from radfuse.run import subjects
from radfuse.run.progress import followed
from radfuse.run.session import Session
from radfuse.run.store import write_bytes

STAGE = "view"
Content = Callable[[], bytes]


def view_study(
    session: Session,
    folder: Path | None = None,
    *,
    fused: str | None = None,
    planes: Sequence[str] = (),
    at: Mapping[str, int] | None = None,
    **settings: Any,
) -> tuple[list[Path], dict[str, RadfuseError]]:
    """Write the sheets of the session's subjects; give their paths, and by subject what went wrong.

    A session that only looks writes nothing: the paths are those that would be written.

    Parameters
    ----------
    session : an aligned study; the fused volumes are taken where they stand.
    folder : where to write; None: the run's own ``view``.
    fused : the volume shown in lightness; None: see `radfuse.report.follow.follow`.
    planes : axial, coronal or sagittal; empty: all three.
    at : by plane, the index of the slice, as in ``planes`` of the record beside a picture; else through the region.
    settings : of the colour scale, where they are not the default.
    """
    require_planes(planes)
    _require_shown(at or {}, tuple(planes) or PLANES)

    def sheets(subject: str) -> Iterator[tuple[str, Content]]:
        loaded = _load(session, subject, fused)
        shown = follow(loaded, fused, **settings)
        if not shown:
            raise DataError(
                f"{subject} has no functional scan, or nothing to show it on; found {', '.join(loaded.volumes)}"
            )
        for found in shown:
            yield from _sheet(loaded, found, tuple(planes) or PLANES, at or {})

    return _written(session, folder, sheets)


def view_alignment(
    session: Session, folder: Path | None = None, *, at: Mapping[str, int] | None = None
) -> tuple[list[Path], dict[str, RadfuseError]]:
    """Write how each scan lies on the reference; give the paths, and by subject what went wrong.

    For each registered scan: the reference's edges on it and tiles of both, before and after where it was moved; a
    picture in which the two take turns (an animated PNG); and what was measured of the registration. A session that
    only looks writes nothing.

    Parameters
    ----------
    at : as in `view_study`.
    """
    _require_shown(at or {}, SHOWN)

    def sheets(subject: str) -> Iterator[tuple[str, Content]]:
        record = session.ledger.done(session.config.align, subject)
        if record is None:
            raise _not_aligned(subject)
        loaded = subjects.load_aligned(session.store, subject).with_findings(session.config.align.name, record.findings)
        found = pairs(loaded)
        if not found:
            raise DataError(f"{subject} has no second scan beside {', '.join(loaded.volumes)}")
        for given in found:
            pair = replace(given, place=_moved(given.place, given.fixed.geometry, at or {}, subject))
            name = f"{subject}-{pair.moving.modality}-alignment"
            measured = record.findings.get("registration", {}).get(pair.moving.modality, {})
            yield f"{name}.png", partial(pair_sheet, pair)
            yield f"{name}-flicker.png", lambda pair=pair: animated_png(frames(pair))  # type: ignore[misc]
            yield f"{name}.json", partial(_json, measured)

    return _written(session, folder, sheets)


def require_planes(names: Sequence[str]) -> None:
    """Refuse what is no plane."""
    strange = [plane for plane in names if plane not in PLANES]
    if strange:
        raise ConfigError(f"unknown plane {strange[0]!r}", hint=f"Known: {', '.join(PLANES)}.")


def parse_slices(texts: Sequence[str]) -> dict[str, int]:
    """Read ``axial=40``, once for each plane.

    Examples
    --------
    >>> parse_slices(["axial=40", "coronal=12"])
    {'axial': 40, 'coronal': 12}
    """
    found: dict[str, int] = {}
    for text in texts:
        plane, _, index = text.partition("=")
        if not index.isdecimal() or plane in found:
            raise ConfigError(
                f"--at {text!r}: expected PLANE=INDEX, once for each plane", hint="For example --at axial=40."
            )
        found[plane] = int(index)
    require_planes(list(found))
    return found


def _require_shown(at: Mapping[str, int], shown: Sequence[str]) -> None:
    for plane in at:
        if plane not in shown:
            raise ConfigError(f"--at {plane}={at[plane]}: what is shown is {', '.join(shown)}", hint="Leave it out.")


def _written(
    session: Session, folder: Path | None, files: Callable[[str], Iterator[tuple[str, Content]]]
) -> tuple[list[Path], dict[str, RadfuseError]]:
    """Write the files of each subject, or only name them; give the pictures, and by subject what went wrong."""
    place = folder if folder is not None else session.store.folder("view")
    written: list[Path] = []
    failed: dict[str, RadfuseError] = {}
    with followed(session.listener, STAGE, len(session.ids)) as advance:
        for subject in session.ids:
            try:
                for name, content in files(subject):
                    if not session.looking:
                        write_bytes(place / name, content())
                    written += [place / name] if name.endswith(".png") else []
            except (DataError, StageError) as error:
                failed[subject] = error
            advance(subject, failed.get(subject))
    return written, failed


def _load(session: Session, subject: str, fused: str | None) -> Subject:
    """Read a subject, with its fused volumes unless the lightness is to be another's."""
    if session.ledger.done(session.config.align, subject) is None:
        raise _not_aligned(subject)
    loaded = subjects.load_aligned(session.store, subject)
    if not session.ledger.fuses or (fused is not None and not is_fused(fused)):
        return loaded
    if session.ledger.done(session.config.fuse, subject) is None:
        raise StageError(
            f"{subject} is not fused with the present scans and settings",
            hint=f"Run `radfuse fuse`, or show the colours on a scan: --fused {next(iter(loaded.volumes))}.",
        )
    return subjects.load_fused(session.store, loaded)


def _not_aligned(subject: str) -> StageError:
    return StageError(f"{subject} is not aligned with the present scans and settings", hint="Run `radfuse align`.")


def _sheet(
    subject: Subject, found: Followed, planes: Sequence[str], at: Mapping[str, int]
) -> Iterator[tuple[str, Content]]:
    region, geometry = region_of(subject), found.uptake[0].geometry
    if region is not None and not region.geometry.matches(geometry):
        region = None
    place = _moved(Place.of(geometry, region), geometry, at, subject.id)
    name = f"{subject.id}-{found.names[0].partition('_')[0]}"
    index = {plane: place.stored_index(plane, geometry.shape) for plane in planes}
    yield f"{name}.png", lambda: png(*sheet(found, place, None if region is None else region.inside, planes))
    yield f"{name}.json", lambda: _json(found.record() | {"planes": index, "picture": f"{name}.png"})


def _moved(place: Place, geometry: Geometry, at: Mapping[str, int], subject: str) -> Place:
    for plane, index in at.items():
        count = geometry.shape[place.turned.order[PLANES.index(plane)]]
        if index >= count:
            raise DataError(f"{subject} has {plane} slices 0 to {count - 1}, found --at {plane}={index}")
        place = place.at(plane, index, geometry.shape)
    return place


def _json(found: Mapping[str, Any]) -> bytes:
    return (json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
