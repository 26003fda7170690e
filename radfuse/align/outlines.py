"""What is drawn on a subject's scans: put on the images' grids, and how it fared on its way to the common one."""

from __future__ import annotations

from radfuse.align.grid import fit_to_image
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask
from radfuse.errors import DataError


def fitted(subject: Subject, warnings: list[str]) -> dict[str, Mask]:
    """Put every mask on its image's grid, and refuse a region that is not there."""
    masks = {}
    for name, volume in subject.volumes.items():
        if name not in subject.masks:
            continue
        masks[name], warning = fit_to_image(subject.masks[name], volume.geometry, name)
        if warning:
            warnings.append(warning)
        if not masks[name].voxels:
            present = ", ".join(map(str, masks[name].labels)) or "none, the mask is empty"
            raise DataError(
                f"the {name} mask has no voxel of label {masks[name].label}; labels present: {present}",
                hint="Name the label in the manifest's column `label`.",
            )
    if not masks:
        raise DataError(
            f"{subject.id} has no mask in any of {', '.join(subject.volumes)}", hint="Give the manifest a mask."
        )
    return masks


def change(before: Mask, after: Mask) -> dict[str, float]:
    """Say how a region's volume changed, in ml and as a share."""
    return {
        "before_ml": before.volume_ml,
        "after_ml": after.volume_ml,
        "relative": after.volume_ml / before.volume_ml - 1.0,
    }
