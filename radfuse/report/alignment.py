"""Whether the scans of a subject lie on each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from radfuse.data.study import Study
from radfuse.report.misregistration import movement, shifts
from radfuse.report.registered import seen
from radfuse.report.section import (
    Block,
    Fold,
    Section,
    Table,
    Words,
    absent,
    number,
    percent,
    split_long,
)

SHOWN = 8
OPEN = 2
GOOD = (
    "Edges of skin, bone and fascia run on from tile to tile, and the contour follows the lesion in every scan. "
    "Headers kept is a good result where the scans come from one examination."
)
BAD = (
    "Steps at the tile borders, a contour beside the lesion, a region that changed its volume by more than a few "
    "percent, or a scan moved by centimetres that should not have moved."
)
COLUMNS = (
    "subject", "scan", "decision", "similarity before", "similarity proposed", "proposed move (mm)", "inverse (mm)",
    "why",
)  # fmt: skip
REGION = ("subject", "region before (ml)", "on the grid (ml)", "change", "remarks")


def alignment(study: Study, examples: int) -> Section:
    """List every registration and region and what an error of it would do, and show the most doubtful."""
    blocks: list[Block] = []
    sensitivity = study.tables.get("sensitivity")
    found = {str(subject): each or {} for subject, each in (study.findings.get("align") or {}).items()}
    if found:
        blocks += [*_template(found), *_registrations(found), *shifts(found, sensitivity), *_regions(found)]
        blocks += movement(study.tables.get("misregistration"))
    else:
        blocks.append(absent("No subject has been aligned.", "Run `radfuse align`."))
    shown = [own for subject in study.examples[:examples] if (own := seen(subject, found, sensitivity))]
    if shown:
        blocks += [block for own in shown[:OPEN] for block in own]
        more = [block for own in shown[OPEN:] for block in own]
        blocks += [Fold(f"{len(shown) - OPEN} more patients", blocks=more)] if more else []
    else:
        blocks.append(absent("No aligned scans of two modalities are at hand to be shown.", "Run `radfuse align`."))
    return Section("alignment", "Alignment", blocks, GOOD, BAD)


def _registrations(found: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    keyed = []
    for subject, each in found.items():
        for scan, one in [*(each.get("registration") or {}).items(), *_to_template(each)]:
            one = one or {}
            moved = bool(one.get("accepted"))
            order = -_float(one, "displacement_mm") if moved else _float(one, "similarity_before")
            keyed.append(((not moved, order, subject, str(scan)), _registration(subject, str(scan), one)))
    if not keyed:
        return [absent("No subject has a second scan to be registered.", "")]
    rows = [row for _, row in sorted(keyed)]
    taken = sum(row[2] == "moved" for row in rows)
    caption = "Registrations: scans that were moved, the furthest first; then headers kept, the least similar first"
    return [
        Words(f"{taken} of {len(rows)} registrations were taken; elsewhere the headers' alignment was kept."),
        *split_long(Table(caption, COLUMNS, rows, COLUMNS[3:7]), SHOWN),
    ]


def _to_template(found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The way to the template, as one more registration."""
    one = found.get("template")
    return [(f"{one.get('scan')} to the template", one)] if one else []


def _template(found: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """Say by how much the template's space is another one than the patients'."""
    brought = [each["template"] for each in found.values() if (each.get("template") or {}).get("space") == "template"]
    factors = sorted(_float(one, "volume_factor") for one in brought)
    if not factors:
        return []
    same = max(abs(factor - 1.0) for factor in factors) < 1e-6
    text = (
        "Lengths and volumes are the patients' own."
        if same
        else f"Volumes are {factors[0]:.2f} to {factors[-1]:.2f} times the patients' own, before any bend: features of "
        "shape and volume describe lesions relative to the template, and are no millimetres of a patient."
    )
    words = f"{len(factors)} subjects are measured in the template's space. {text}"
    return [Words(words, "" if same else "caution")]


def _registration(subject: str, scan: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    decision = "moved" if found.get("accepted") else "headers kept" if "accepted" in found else "not registered"
    return (
        subject,
        scan,
        decision,
        number(found.get("similarity_before"), 3),
        number(found.get("similarity_after"), 3),
        number(found.get("displacement_mm"), 1),
        number(found.get("inverse_consistency_mm"), 1),
        str(found.get("reason") or "").removeprefix("headers kept: "),
    )


def _regions(found: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    keyed = []
    for subject, each in found.items():
        changes = list(((each.get("region") or {}).get("change") or {}).values()) or [{}]
        worst = max(changes, key=lambda change: abs(_float(change, "relative")))
        names = [*(each.get("registration") or {}), *([each["reference"]] if each.get("reference") else [])]
        remarks = gathered([str(text) for text in each.get("warnings") or ()], names)
        row = (
            subject,
            number(worst.get("before_ml"), 1),
            number(worst.get("after_ml"), 1),
            percent(worst.get("relative"), 1),
            "; ".join(remarks),
        )
        keyed.append(((not remarks, -abs(_float(worst, "relative")), subject), row))
    rows = [row for _, row in sorted(keyed)]
    remarked = sum(bool(row[4]) for row in rows)
    words = Words(f"{remarked} of {len(rows)} subjects have remarks on their region.", "caution" if remarked else "")
    caption = "The region on the common grid: with remarks first, then by the change of its volume"
    return [words, *split_long(Table(caption, REGION, rows, REGION[1:4]), SHOWN)]


def gathered(warnings: Sequence[str], names: Sequence[str]) -> list[str]:
    """Say once what is said of several scans.

    Examples
    --------
    >>> gathered(["CT touches the border", "PET touches the border", "no mask"], ["CT", "PET"])
    ['CT, PET touches the border', 'no mask']
    """
    if not names:
        return list(warnings)
    found: dict[str, list[str]] = {}
    any_name = re.compile(r"\b(" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + r")\b")
    for text in warnings:
        match = any_name.search(text)
        head, tail = (text[: match.start()], text[match.end() :]) if match else (text, "")
        found.setdefault(f"{head}\0{tail}" if match else text, []).append(match.group() if match else "")
    return [shape.replace("\0", ", ".join(scans)) for shape, scans in found.items()]


def _float(found: Mapping[str, Any], key: str) -> float:
    value = found.get(key)
    return float(value) if isinstance(value, int | float) else 0.0
