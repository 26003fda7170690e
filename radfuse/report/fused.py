"""What fusion made of the scans."""

from __future__ import annotations

from typing import Any

from radfuse.data.names import FUSED, is_fused
from radfuse.data.study import Study
from radfuse.data.subject import Subject
from radfuse.report.section import Block, Fold, Picture, Section, Words, absent
from radfuse.report.slices import cut, panels, region_of, show

MARGIN_MM = 40.0
SHOWN = 2
GOOD = "Structures of every source are recognisable in the fused slice, at their place, without new edges."
BAD = "A fused slice that equals one source, ringing or blocks, a background that is no longer uniform."


def fused(study: Study, examples: int) -> Section:
    """Show sources and fused volumes of the examples in one slice."""
    pictures = [picture for subject in study.examples[:examples] if (picture := _row(subject)) is not None]
    if not pictures:
        blocks: list[Block] = [absent("No fused volume is at hand to be shown.", "Run `radfuse fuse`.")]
        return Section("fused", "Fused slices", blocks, GOOD, BAD)
    blocks = [*pictures[:SHOWN]]
    if len(pictures) > SHOWN:
        blocks.append(Fold(f"{len(pictures) - SHOWN} more examples", blocks=pictures[SHOWN:]))
    skipped = _skipped(study)
    if skipped:
        blocks.append(Words(skipped, "caution"))
    return Section("fused", "Fused slices", blocks, GOOD, BAD)


def _row(subject: Subject) -> Picture | None:
    region = region_of(subject)
    if region is None or not any(is_fused(name) for name in subject.volumes):
        return None
    volumes = {name: v for name, v in subject.volumes.items() if v.array.shape == region.array.shape}
    names = sorted(volumes, key=lambda name: (is_fused(name), list(volumes).index(name)))
    where = cut(region, MARGIN_MM)

    def draw(axes: list[Any]) -> None:
        for axis, name in zip(axes, names, strict=True):
            mask = subject.masks.get(name, region)
            show(axis, volumes[name], mask, where, name.removeprefix(FUSED))

    return Picture(
        f"fused-{subject.id}.png",
        panels(len(names), where, draw, 4),
        f"Slice {where.index} of {subject.id} around the region: {', '.join(names)}.",
        f"{subject.id}, slice {where.index}, within {MARGIN_MM:.0f} mm of the region. The sources are shown at their "
        "own resolution; fusion may have used them matched to a common one.",
        kept=False,
    )


def _skipped(study: Study) -> str:
    lines = []
    for subject, found in (study.findings.get("fuse") or {}).items():
        for group, why in ((found or {}).get("skipped") or {}).items():
            lines.append(f"{subject}: {group} ({why})")
    return "Not fused: " + "; ".join(lines) + "." if lines else ""
