"""Uptake in colour on the fused slices of a few subjects."""

from __future__ import annotations

from radfuse.data.study import Study
from radfuse.data.subject import Subject
from radfuse.errors import GeometryError
from radfuse.report.drawing import png
from radfuse.report.follow import Followed, follow
from radfuse.report.planes import PLANES, Place
from radfuse.report.section import Block, Fold, Picture, Section, Words, absent, number
from radfuse.report.sheet import sheet
from radfuse.report.slices import region_of

MARGIN_MM = 40.0
# Coloured planes are the heaviest pictures of the page.
SUBJECTS, SHOWN = 4, 2
TITLE = "Uptake in colour"
GOOD = "Uptake lies in the structures that take it up, and a lesion keeps its place from one time point to the next."
BAD = "Colour beside the lesion, along the skin or across the border of an organ: then doubt the alignment."


def overlays(study: Study, examples: int) -> Section:
    """Show the uptake of a few subjects in colour, to be looked at; nothing is measured on it."""
    pictures = [picture for subject in study.examples[: min(examples, SUBJECTS)] for picture in _pictures(subject)]
    if not pictures:
        none = absent("No functional scan is at hand to be shown in colour on another volume.", "Run `radfuse fuse`.")
        return Section("overlays", TITLE, [none], GOOD, BAD)
    blocks: list[Block] = [
        Words("For the eye only: nothing is measured on these colours. `radfuse view` writes them for every subject."),
        *pictures[:SHOWN],
    ]
    if pictures[SHOWN:]:
        blocks.append(Fold(f"{len(pictures) - SHOWN} more", blocks=pictures[SHOWN:]))
    return Section("overlays", TITLE, blocks, GOOD, BAD)


def _pictures(subject: Subject) -> list[Picture]:
    try:
        return [_picture(subject, found) for found in follow(subject)]
    except GeometryError:
        return []  # scans that share no grid are told of under alignment


def _picture(subject: Subject, found: Followed) -> Picture:
    region = region_of(subject)
    geometry = found.uptake[0].geometry
    if region is not None and not region.geometry.matches(geometry):
        region = None
    place = Place.of(geometry, region, MARGIN_MM)
    scale, names = found.scale, ", ".join(found.names)
    top = number(scale.uptake[1], 1)
    changes = " Below, the change since the first; white is none." if found.changes else ""
    return Picture(
        f"overlay-{subject.id}-{found.names[0]}.png",
        png(*sheet(found, place, None if region is None else region.inside)),
        f"{', '.join(PLANES)} planes of {subject.id} with {names} in colour; region outlined.",
        f"{subject.id}, planes through the region, {names} from 0 to {top} {scale.unit} on the lightness of "
        f"{', '.join(dict.fromkeys(volume.modality for volume in found.luminance.values()))}.{changes}",
        kept=False,
    )
