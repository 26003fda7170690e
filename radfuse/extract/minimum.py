"""Whether a region is large enough to be measured, told from its mask alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radfuse.data.box import box_of, size_of
from radfuse.data.volume import Mask, geometry_of, reference_image


def region_measured(mask: Mask, settings: Mapping[str, Any]) -> Mask:
    """Give the region on the grid that PyRadiomics resamples to: nearest neighbour, as it does with every mask.

    Resegmentation takes the image and is not foreseen.

    Parameters
    ----------
    mask : on the grid of its image, not empty.
    settings : the section ``setting`` of a parameter file.
    """
    spacing = settings.get("resampledPixelSpacing")
    if spacing is None or settings.get("interpolator", "sitkBSpline") is None:
        return mask
    import SimpleITK as sitk
    from radiomics import imageoperations

    from radfuse.extract.containment import contained

    region = sitk.Cast(mask.to_sitk(), sitk.sitkUInt32)
    image = reference_image(mask.geometry)  # stands for the image: its grid is all that matters here
    wanted = {**settings, "label": mask.label, "interpolator": sitk.sitkNearestNeighbor}
    with contained():
        _, found = imageoperations.resampleImage(image, region, **wanted)
    return Mask(sitk.GetArrayFromImage(found), geometry_of(found), mask.label)


def refusal(mask: Mask, settings: Mapping[str, Any]) -> str:
    """Say why PyRadiomics would refuse a region (`imageoperations.checkMask`); empty when it would not."""
    wide = sum(size > 1 for size in size_of(box_of(mask.inside)))
    least = int(settings.get("minimumROIDimensions", 2))
    size = settings.get("minimumROISize")
    if mask.voxels == 0:
        return "no voxel is left"
    if wide == 0:
        return "one voxel is left"
    if wide < least:
        return f"it extends along {wide} axes, expected minimumROIDimensions ({least})"
    if size is not None and mask.voxels <= size:
        return f"{mask.voxels} voxels are not more than minimumROISize ({size:g})"
    return ""
