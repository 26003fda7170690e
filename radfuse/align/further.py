"""Further regions than the main one, on their way to the common grid. One that gets lost costs no subject."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from radfuse.align.grid import carry, crop, fit_to_image
from radfuse.data.deformation import Motion
from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask

Carried = dict[str, dict[str, Mask]]


def carry_further(
    subject: Subject,
    reference: str,
    grid: Geometry,
    transforms: Mapping[str, Motion],
    each_its_own: bool,
    min_voxels: int,
    supersampling: int = 1,
) -> tuple[Carried, dict[str, str], list[str]]:
    """Carry every further region to the grid: by region and by the image it is drawn on; why some are not; warnings.

    Parameters
    ----------
    subject : with its regions on its scanners' grids.
    reference : its outline leads; where it has none, that of the first image that has.
    each_its_own : whether each image keeps its own outline.
    min_voxels : fewer voxels on the grid are as good as none.
    supersampling : see `carry`.
    """
    found: Carried = {}
    absent, warnings = dict(subject.absent), []
    for region, masks in subject.regions.items():
        if not masks:
            continue
        lead = reference if reference in masks else next(iter(masks))
        carried: dict[str, Mask] = {}
        for name in [lead, *(other for other in masks if each_its_own and other != lead)]:
            fitted, warning = fit_to_image(masks[name], subject.volumes[name].geometry, f"{name} {region}")
            carried[name] = carry(fitted, grid, transforms[name], supersampling)
            warnings += [warning] if warning else []
        small = [name for name, mask in carried.items() if mask.voxels < min_voxels]
        if small:
            name = small[0]
            absent[region] = (
                f"{region} has {carried[name].voxels} voxels on the common grid ({masks[name].voxels} of {name} "
                f"before), fewer than align.min_voxels ({min_voxels})"
            )
            warnings.append(f"no value for the region {absent[region]}")
        else:
            found[region] = carried
    return found, absent, warnings


def covered(
    spread_out: Carried, views: Mapping[str, Mask], min_voxels: int
) -> tuple[Carried, dict[str, str], list[str]]:
    """Leave out where a scan covers too little of a region: what is left, which have nothing left and why, warnings.

    Parameters
    ----------
    spread_out : by region and volume.
    views : by volume, what its scan covers.
    """
    found: Carried = {}
    absent: dict[str, str] = {}
    warnings = []
    for region, masks in spread_out.items():
        shown = {name: mask.within(views[name]).voxels for name, mask in masks.items()}
        found[region] = {name: mask for name, mask in masks.items() if shown[name] >= min_voxels}
        told = [
            f"the field of view of {name} holds {shown[name]} of the {mask.voxels} voxels of {region}, fewer than "
            f"align.min_voxels ({min_voxels})"
            for name, mask in masks.items()
            if shown[name] < min_voxels
        ]
        warnings += [f"no value for {region}: {line}" for line in told]
        if not found[region]:
            absent[region] = told[0]
            del found[region]
    return found, absent, warnings


def spread(carried: Carried, grid: Geometry, volumes: Iterable[str]) -> Carried:
    """Cut regions to a part of their grid, and give every volume the outline that it is measured in.

    A volume without an outline of its own takes that of the image that leads.
    """
    cut = {
        region: {name: mask if mask.geometry == grid else crop(mask, grid) for name, mask in masks.items()}
        for region, masks in carried.items()
    }
    names = list(volumes)
    return {region: {name: own.get(name, next(iter(own.values()))) for name in names} for region, own in cut.items()}
