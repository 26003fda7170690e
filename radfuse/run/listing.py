"""A folder of images that need no conversion becomes a manifest inside a study; the images stay where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from radfuse.data.reading.bids import find_images, read_participants
from radfuse.data.reading.dicom.series import names_of
from radfuse.data.reading.left_out import LeftOut
from radfuse.data.reading.listing import Listing, by_pattern, listing_of
from radfuse.errors import ConfigError
from radfuse.run.import_tables import in_order, write_csv

SUFFIXES = {"nifti": (".nii.gz", ".nii"), "nrrd": (".nrrd",)}
DEFAULTS = {
    "nifti": ("{subject}/{modality}.nii.gz", "{subject}/{modality}_mask.nii.gz"),
    "nrrd": ("{subject}/{modality}.nrrd", "{subject}/{modality}_mask.nrrd"),
}


def list_images(
    kind: str, root: Path, modalities: Sequence[str], rois: Sequence[str], pattern: str = "", mask_pattern: str = ""
) -> Listing:
    """List the images of a folder and their masks.

    Parameters
    ----------
    kind : bids, nifti or nrrd.
    root : the folder.
    modalities : PATTERN=NAME by file name.
    rois : patterns of the mask's file name.
    pattern, mask_pattern : for nifti and nrrd; see `by_pattern`.
    """
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder", hint=f"Give the folder of {kind} images.")
    if kind == "bids":
        images, left = find_images(root)
    else:
        form, mask_form = pattern or DEFAULTS[kind][0], mask_pattern or DEFAULTS[kind][1]
        images, others = by_pattern(root, SUFFIXES[kind], form, mask_form)
        left = [LeftOut("", f"{others} files", "fit neither pattern", fault=False)] if others else []
        if not images:
            raise ConfigError(
                f"no file under {root} fits {form!r} ({others} other images are there)",
                hint="Say where they lie: --pattern '{subject}/{modality}_image.nii.gz' --mask-pattern ...",
            )
    listing = listing_of(images, names_of(modalities), rois)
    extra = read_participants(root) if kind == "bids" else None
    return replace(listing, left_out=(*left, *listing.left_out), facts=extra)


def write_listing(listing: Listing, study: Path) -> list[Path]:
    """Write manifest.csv and, where there is anything to say of subjects, subjects.csv; give the latter."""
    if not listing.rows:
        raise ConfigError("no image can be used", hint="The lines above say why.")
    table = pd.DataFrame(listing.rows)
    manifest = table[["subject", "modality", "image", "mask"]].assign(
        image=[_place(path, study) for path in table["image"]],
        mask=[_place(path, study) if path else "" for path in table["mask"]],
        label=1,
    )
    manifest, _ = in_order(manifest)
    write_csv(study / "manifest.csv", manifest)
    facts = table[["subject", "group"]].drop_duplicates("subject").sort_values("subject")
    if (facts["subject"] == facts["group"]).all() and listing.facts is None:
        return []
    if listing.facts is not None:
        facts = facts.merge(listing.facts, how="left", left_on="group", right_on="participant_id")
        facts = facts.drop(columns="participant_id")
    if (facts["subject"] == facts["group"]).all():
        facts = facts.drop(columns="group")
    write_csv(study / "subjects.csv", facts)
    return [study / "subjects.csv"]


def _place(path: str, study: Path) -> str:
    resolved = Path(path)
    return str(resolved.relative_to(study.resolve())) if resolved.is_relative_to(study.resolve()) else path
