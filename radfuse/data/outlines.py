"""Which regions a manifest draws, on which images, in which labels of which masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from radfuse.data.region import LEGAL_REGION, MAIN, Labels, Outline, labels_of

Drawn = tuple[str, str, Path, list[Outline]]
"""Subject, modality, image, and an outline for each region of the study, the main one first."""

Fault = tuple[str, str, str]
"""Whom it concerns, what is wrong, what to do."""


def outlines_of(
    rows: pd.DataFrame, regions: Mapping[str, Labels], root: Path, main: str | None = None
) -> tuple[tuple[str, ...], list[Drawn], list[Fault]]:
    """Give the study's regions, the main one first; what is drawn of them on each image; and what is contradictory.

    Without names there is one region, and each row is an image. A manifest with the column ``region`` has a row for
    each region of an image; the first region that it names is the main one, and a row that names none is of the main
    one. Names given in the config say that every mask holds all of them, told apart by their labels.

    Parameters
    ----------
    rows : the manifest, see `read_manifest`.
    regions : labels by name, from the config; empty where the manifest says it.
    root : the folder that relative paths start from.
    main : the main region, where it is not the first.
    """
    manifest = "region" in rows and bool(rows["region"].any())
    listed = (
        [*regions] if regions else [*dict.fromkeys(name for name in rows["region"] if name)] if manifest else [MAIN]
    )
    faults: list[Fault] = []
    if main is not None and main not in listed:
        faults.append(("", f"cohort.region is {main!r}; the regions are {', '.join(listed)}", "Name one of them."))
    named = tuple(sorted(listed, key=lambda name: name != main))
    if regions:
        in_order = {name: regions[name] for name in named}
        return named, [_labelled(row, in_order, root) for row in _each(rows)], [*faults, *_not_both(rows)]
    if not manifest:
        return named, [_labelled(row, {MAIN: labels_of(row["label"])}, root) for row in _each(rows)], faults
    drawn, contradictory = _grouped(rows, named, root)
    return named, drawn, [*faults, *contradictory]


def _each(rows: pd.DataFrame) -> Iterator[Mapping[str, str]]:
    names = [name for name in ("subject", "modality", "image", "mask", "label", "region") if name in rows]
    for values in zip(*(rows[name].tolist() for name in names), strict=True):
        yield dict(zip(names, values, strict=True))


def _labelled(row: Mapping[str, str], regions: Mapping[str, Labels], root: Path) -> Drawn:
    mask = _resolve(root, row["mask"]) if row["mask"] else None
    outlines = [Outline(name, mask, labels) for name, labels in regions.items()]
    return row["subject"], row["modality"], _resolve(root, row["image"]), outlines


def _grouped(rows: pd.DataFrame, named: Sequence[str], root: Path) -> tuple[list[Drawn], list[Fault]]:
    """Gather the rows of one image; rows that cannot be gathered stay apart and are found to be listed twice."""
    faults: list[Fault] = []
    for name in named:
        if not LEGAL_REGION.match(name):
            what = f"region {name!r} must be a letter, then letters, digits, underscores or dashes, at most 32"
            faults.append(("", what, "Rename it in the manifest's column `region`."))
    found: dict[tuple[str, str, Path], dict[str, Outline]] = {}
    for row in _each(rows):
        place = (row["subject"], row["modality"], _resolve(root, row["image"]))
        region = row["region"] or named[0]
        own = found.setdefault(place, {})
        if region in own:
            hint = "Keep one row per subject, modality and region; a region of several labels is a union: 1+2."
            faults.append((row["subject"], f"{row['modality']} lists the region {region!r} twice", hint))
        elif row["mask"]:
            own[region] = Outline(region, _resolve(root, row["mask"]), labels_of(row["label"]))
    drawn = [(*place, [own.get(name, Outline(name, None, (1,))) for name in named]) for place, own in found.items()]
    return drawn, faults


def _not_both(rows: pd.DataFrame) -> list[Fault]:
    named = "region" in rows and bool(rows["region"].any())
    labelled = bool((rows["label"] != 1).any())
    if not named and not labelled:
        return []
    column = "region" if named else "label"
    hint = f"Say it in one place: leave out the manifest's column `{column}`, or cohort.regions."
    return [("", f"cohort.regions and the manifest's column `{column}` both say which labels are which region", hint)]


def _resolve(root: Path, path: str) -> Path:
    return Path(path) if Path(path).is_absolute() else root / path
