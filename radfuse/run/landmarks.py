"""Learn the standard intensity scale of a modality from images of patients who are not under test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from radfuse.align.grid import fit_to_image
from radfuse.align.intensity import Intensity
from radfuse.align.intensity.landmarks import DECILES, Landmarks, landmarks_of, learn
from radfuse.align.intensity.tissue import BODY
from radfuse.align.scales import rescaled
from radfuse.component import describe
from radfuse.data.cohort import Cohort, Columns, Problem, Scan
from radfuse.data.modality import unit_of
from radfuse.data.reading.images import read_volume
from radfuse.data.reading.tables import read_manifest
from radfuse.data.region import MAIN
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError, RadfuseError
from radfuse.run.seen import declared
from radfuse.run.store import file_digest, write_text
from radfuse.run.subjects import read_outlines

LEAST = 2


@dataclass(frozen=True)
class Learned:
    """What the command made.

    Parameters
    ----------
    path : the file of landmarks.
    sha256 : of that file.
    landmarks : what it holds.
    subjects : from whose images it was learned.
    failed : whose images could not be used, and why.
    """

    path: Path
    sha256: str
    landmarks: Landmarks
    subjects: tuple[str, ...]
    failed: tuple[Problem, ...]


def learn_landmarks(
    manifest: Path,
    modality: str,
    output: Path,
    *,
    over: str = BODY,
    threshold: float = 0.1,
    before: Sequence[str] = (),
    only: Sequence[str] = (),
    done: Callable[[str], None] = lambda subject: None,
) -> Learned:
    """Learn landmarks from a manifest's images of one modality, and write them with the images' SHA-256.

    Parameters
    ----------
    manifest : of patients who are not under test; image paths are relative to its folder.
    output : the JSON to write.
    over, threshold : where on each image to look; a name is that of a region which the manifest draws.
    before : methods that every image passes first, such as n4, as it will in the study.
    only : subjects to learn from; none given: all.
    done : told each subject.
    """
    if output.suffix != ".json":
        raise ConfigError(f"landmarks are written as JSON, found the name {output}", hint="For example MR_T1.json.")
    steps = _steps(before)
    _checked(modality=modality, over=over, threshold=threshold)
    scans = _scans(manifest, modality, only)
    found, failed = {}, []
    for scan in scans:
        try:
            volume = read_volume(scan.image, modality, unit_of(modality))
            regions = _drawn(scan, volume, over)
            scaled = rescaled(volume, steps, regions)
            found[scan.subject] = landmarks_of(scaled, regions, DECILES, over, threshold)[1]
        except RadfuseError as error:
            failed.append(Problem(scan.subject, f"landmarks: {error.message}", error.hint, fatal=False))
        done(scan.subject)
    if len(found) < LEAST:
        raise DataError(
            f"{len(found)} of {len(scans)} images of {modality} could be learned from, expected at least {LEAST}"
            + (f"; {failed[0].subject}: {failed[0].what}" if failed else ""),
            hint="One image is a template: use histogram_match.",
        )
    learned = _checked(
        modality=modality,
        values=tuple(learn(list(found.values())).tolist()),
        over=over,
        threshold=threshold,
        before=tuple(step.method for step in steps),
        images=tuple(sorted(declared({s.image: file_digest(s.image) for s in scans if s.subject in found}))),
    )
    text = learned.model_dump_json(indent=1) + "\n"
    write_text(output, text)
    sha256 = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return Learned(output, sha256, learned, tuple(found), tuple(failed))


def _steps(before: Sequence[str]) -> tuple[Intensity, ...]:
    try:
        return tuple(Intensity.choose(name) for name in before)
    except ValueError as error:
        raise ConfigError(f"--before: {error}") from error


def _checked(values: tuple[float, ...] = DECILES, **settings: object) -> Landmarks:
    try:
        return Landmarks.model_validate({"values": values, **settings})
    except ValidationError as error:
        raise ConfigError("; ".join(describe(error, Landmarks))) from error


def _scans(manifest: Path, modality: str, only: Sequence[str]) -> list[Scan]:
    rows = read_manifest(manifest)
    if modality not in set(rows["modality"]):
        there = ", ".join(dict.fromkeys(rows["modality"]))
        raise ConfigError(f"{manifest} has no modality {modality!r}; it has {there}")
    unknown = sorted(set(only) - set(rows["subject"]))
    if unknown:
        raise ConfigError(f"not in the manifest: {', '.join(unknown)}", hint="See the manifest's subject column.")
    scans = Cohort.assemble(rows, {}, Columns(), manifest.resolve().parent, [modality]).scans
    return [scan for scan in scans if not only or scan.subject in only]


def _drawn(scan: Scan, volume: Volume, over: str) -> dict[str, Mask]:
    """The regions that are drawn, put on the image's grid; none where none are looked at."""
    if over == BODY:
        return {}
    main, further = read_outlines(scan)
    drawn = {MAIN: main, **further}
    found = {name: mask for name, mask in drawn.items() if isinstance(mask, Mask)}
    return {name: fit_to_image(mask, volume.geometry, scan.modality)[0] for name, mask in found.items()}
