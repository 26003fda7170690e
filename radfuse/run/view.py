"""Write what is for the eye: coloured planes of a study's subjects as PNG, with their scale beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radfuse.data.names import is_fused
from radfuse.data.subject import Subject
from radfuse.errors import ConfigError, DataError, RadfuseError, StageError
from radfuse.report.drawing import png
from radfuse.report.flicker import animated_png
from radfuse.report.follow import Followed, follow
from radfuse.report.planes import PLANES, Place
from radfuse.report.registered import frames
from radfuse.report.registered import sheet as pair_sheet
from radfuse.report.registration import pairs
from radfuse.report.sheet import sheet
from radfuse.report.slices import region_of
from radfuse.run import subjects
from radfuse.run.session import Session
from radfuse.run.store import write_bytes, write_text


def view_study(
    session: Session,
    folder: Path | None = None,
    *,
    fused: str | None = None,
    planes: Sequence[str] = (),
    **settings: Any,
) -> tuple[list[Path], dict[str, RadfuseError]]:
    """Write the sheets of the session's subjects; give their paths, and by subject what went wrong.

    Parameters
    ----------
    session : an aligned study; the fused volumes are taken where they stand.
    folder : where to write; None: the run's own ``view``.
    fused : the volume shown in lightness; None: see `radfuse.report.follow.follow`.
    planes : axial, coronal or sagittal; empty: all three.
    settings : of the colour scale, where they are not the default.
    """
    strange = [plane for plane in planes if plane not in PLANES]
    if strange:
        raise ConfigError(f"unknown plane {strange[0]!r}", hint=f"Known: {', '.join(PLANES)}.")
    place = folder if folder is not None else session.store.folder("view")
    written: list[Path] = []
    failed: dict[str, RadfuseError] = {}
    for subject in session.ids:
        try:
            loaded = _load(session, subject, fused)
            shown = follow(loaded, fused, **settings)
            if not shown:
                raise DataError(
                    f"{subject} has no functional scan, or nothing to show it on; found {', '.join(loaded.volumes)}"
                )
            written += [_write(place, loaded, found, tuple(planes) or PLANES) for found in shown]
        except (DataError, StageError) as error:
            failed[subject] = error
    return written, failed


def view_alignment(session: Session, folder: Path | None = None) -> tuple[list[Path], dict[str, RadfuseError]]:
    """Write how each scan lies on the reference; give the paths, and by subject what went wrong.

    For each registered scan: the reference's edges on it and tiles of both, before and after where it was moved; a
    picture in which the two take turns (an animated PNG); and what was measured of the registration.
    """
    place = folder if folder is not None else session.store.folder("view")
    written: list[Path] = []
    failed: dict[str, RadfuseError] = {}
    for subject in session.ids:
        try:
            record = session.ledger.done(session.config.align, subject)
            if record is None:
                raise _not_aligned(subject)
            loaded = subjects.load_aligned(session.store, subject).with_findings(
                session.config.align.name, record.findings
            )
            found = pairs(loaded)
            if not found:
                raise DataError(f"{subject} has no second scan beside {', '.join(loaded.volumes)}")
            for pair in found:
                name = f"{subject}-{pair.moving.modality}-alignment"
                write_bytes(place / f"{name}.png", pair_sheet(pair))
                write_bytes(place / f"{name}-flicker.png", animated_png(frames(pair)))
                measured = record.findings.get("registration", {}).get(pair.moving.modality, {})
                text = json.dumps(measured, indent=1, sort_keys=True, allow_nan=False)
                write_text(place / f"{name}.json", text + "\n")
                written += [place / f"{name}.png", place / f"{name}-flicker.png"]
        except (DataError, StageError) as error:
            failed[subject] = error
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


def _write(folder: Path, subject: Subject, found: Followed, planes: Sequence[str]) -> Path:
    region, geometry = region_of(subject), found.uptake[0].geometry
    if region is not None and not region.geometry.matches(geometry):
        region = None
    place = Place.of(geometry, region)
    name = f"{subject.id}-{found.names[0].partition('_')[0]}"
    write_bytes(folder / f"{name}.png", png(*sheet(found, place, None if region is None else region.inside, planes)))
    index = {plane: place.stored_index(plane, geometry.shape) for plane in planes}
    record = found.record() | {"planes": index, "picture": f"{name}.png"}
    write_text(folder / f"{name}.json", json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n")
    return folder / f"{name}.png"
