"""Whether the scans of a subject lie on each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radfuse.data.names import is_fused
from radfuse.data.study import Study
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.report.section import (
    DASH,
    Block,
    Fold,
    Picture,
    Section,
    Table,
    Words,
    absent,
    number,
    percent,
    split_long,
)
from radfuse.report.slices import checkerboard, cut, panels, region_of, show

SHOWN = 10
GOOD = (
    "Edges of skin, bone and fascia run on from tile to tile, and the contour follows the lesion in every scan. "
    "Headers kept is a good result where the scans come from one examination."
)
BAD = (
    "Steps at the tile borders, a contour beside the lesion, a region that changed its volume by more than a few "
    "percent, or a scan moved by centimetres that should not have moved."
)
COLUMNS = (
    "subject", "scan", "decision", "similarity before", "similarity after", "moved by (mm)", "inverse (mm)",
    "region volume", "remarks",
)  # fmt: skip


def alignment(study: Study, examples: int) -> Section:
    """List every registration, the worst first, and show some."""
    blocks: list[Block] = []
    found = study.findings.get("align") or {}
    if found:
        blocks += _table(found)
    else:
        blocks.append(absent("No subject has been aligned.", "Run `radfuse align`."))
    pictures = [picture for subject in study.examples[:examples] if (picture := _overlay(subject)) is not None]
    if pictures:
        blocks += [*pictures[:2], *_folded(pictures[2:])]
    else:
        blocks.append(absent("No aligned scans of two modalities are at hand to be shown.", "Run `radfuse align`."))
    return Section("alignment", "Alignment", blocks, GOOD, BAD)


def _folded(pictures: list[Picture]) -> list[Block]:
    return [Fold(f"{len(pictures)} more examples", blocks=pictures)] if pictures else []


def _table(found: Mapping[str, Any]) -> list[Block]:
    keyed = [row for subject, each in found.items() for row in _rows(str(subject), each or {})]
    keyed.sort(key=lambda row: (row[0], row[1]))
    rows = [row for _, row in keyed]
    moved = sum(row[2] == "moved" for row in rows)
    judged = [row for row in rows if row[2] != "nothing to register"]
    words = Words(f"{moved} of {len(judged)} registrations were taken; elsewhere the headers' alignment was kept.")
    table = Table(
        "Registrations, the worst first: with remarks, then by the change of the region's volume, then by distance",
        COLUMNS,
        rows,
        COLUMNS[3:8],
    )
    return [words, *split_long(table, SHOWN)]


def _rows(subject: str, found: Mapping[str, Any]) -> list[tuple[tuple[float, ...], tuple[str, ...]]]:
    changes = (found.get("region") or {}).get("change") or {}
    change = max((abs(_float(each, "relative")) for each in changes.values()), default=0.0)
    signed = next((each.get("relative") for each in changes.values()), None)
    warnings = [str(text) for text in found.get("warnings") or ()]
    rows: list[tuple[tuple[float, ...], tuple[str, ...]]] = []
    for scan, each in (found.get("registration") or {"": {}}).items():
        each = each or {}
        reason = str(each.get("reason") or "")
        remarks = "; ".join([reason, *warnings]).strip("; ")
        rows.append(
            (
                (-len(warnings), -change, -_float(each, "displacement_mm")),
                (
                    subject,
                    str(scan) or DASH,
                    _decision(each, scan),
                    number(each.get("similarity_before"), 3),
                    number(each.get("similarity_after"), 3),
                    number(each.get("displacement_mm"), 1),
                    number(each.get("inverse_consistency_mm"), 1),
                    percent(signed, 1),
                    remarks,
                ),
            )
        )
    return rows


def _decision(found: Mapping[str, Any], scan: str) -> str:
    if not scan:
        return "nothing to register"
    if "accepted" not in found:
        return "headers kept (none asked)"
    return "moved" if found["accepted"] else "headers kept"


def _float(found: Mapping[str, Any], key: str) -> float:
    value = (found or {}).get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _overlay(subject: Subject) -> Picture | None:
    volumes = {name: volume for name, volume in subject.volumes.items() if not is_fused(name)}
    region = region_of(subject)
    if region is None or len(volumes) < 2:
        return None
    volumes = {name: volume for name, volume in volumes.items() if volume.array.shape == region.array.shape}
    led = subject.findings.get("align", {}).get("reference")
    lead = led if led in volumes else next(iter(volumes))
    others = [name for name in volumes if name != lead]
    where = cut(region)
    masks = {name: _own(subject, name, region) for name in volumes}

    def draw(axes: list[Any]) -> None:
        show(axes[0], volumes[lead], masks[lead], where, lead)
        for place, name in enumerate(others):
            show(axes[1 + 2 * place], volumes[name], masks[name], where, name)
            pair: tuple[Volume, Volume] = (volumes[lead], volumes[name])
            checkerboard(axes[2 + 2 * place], pair, region, where)

    count = 1 + 2 * len(others)
    return Picture(
        f"alignment-{subject.id}.png",
        panels(count, where, draw, 5 if count == 5 else 4),
        f"Slice {where.index} of {subject.id}: {lead} beside and interleaved with {', '.join(others)}; region outlined",
        f"{subject.id}, slice {where.index}, where the region is largest.",
        kept=False,
    )


def _own(subject: Subject, name: str, region: Mask) -> Mask:
    own = subject.masks.get(name)
    return own if own is not None and own.array.shape == region.array.shape else region
