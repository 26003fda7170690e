"""Align: bring every scan of a subject onto one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from radfuse.align.further import carry_further, spread
from radfuse.align.grid import (
    auto_spacing_mm,
    carry,
    crop,
    crop_to,
    fit_to_image,
    inside_share,
    lattice_mm,
    resample,
)
from radfuse.align.intensity import Intensity
from radfuse.align.intensity.physical import Physical
from radfuse.align.intensity.zscore import ZScore
from radfuse.align.registration import Registered, Registration
from radfuse.align.registration.rigid import Rigid
from radfuse.align.resolution import Triple, match
from radfuse.component import Stage
from radfuse.data.box import touches_border
from radfuse.data.geometry import Geometry
from radfuse.data.modality import unit_of
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError, RadfuseError

Spread = PositiveFloat | tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class Align(Stage):
    """Register, resample once, carry the region over, match the resolution of fusion's inputs."""

    name: ClassVar[str] = "align"
    version: ClassVar[int] = 1

    reference: str | None = Field(
        None, description="The modality whose frame and region lead; none given: the subject's first."
    )
    spacing_mm: PositiveFloat | tuple[PositiveFloat, PositiveFloat, PositiveFloat] | Literal["auto"] = Field(
        "auto",
        description="Voxel size of the common grid. `auto`: isotropic, the median over the cohort of the cube root of "
        "the reference's voxel volume, to 0.5 mm.",
    )
    margin_mm: NonNegativeFloat | None = Field(
        None, description="Cut the grid to the region's box and this margin; none given: the reference's whole field."
    )
    registration: Registration = Field(
        Rigid(), description="How scans are brought together beyond what their headers say."
    )
    fwhm_mm: dict[str, Spread] = Field(
        {}, description="Point spread (full width at half maximum) by modality, one number or x, y, z of the grid."
    )
    target_fwhm_mm: Spread | None = Field(
        None, description="Resolution of fusion's inputs; none given: the largest of fwhm_mm along each axis."
    )
    intensity: dict[str, Intensity] = Field(
        {}, description="Intensity scale by modality; by default CT, PET and SPECT stay physical, the rest is z-scored."
    )
    mask: Literal["reference", "own"] = Field(
        "reference",
        description="`reference`: one region, carried to the grid once, is measured in every modality. "
        "`own`: each modality's own region.",
    )
    min_voxels: PositiveInt = Field(27, description="Refuse a region with fewer voxels on the common grid.")

    def resolved(self, geometries: Sequence[Geometry]) -> Align:
        """Settle `auto` for a cohort: a spacing per subject would make features incomparable.

        Parameters
        ----------
        geometries : the reference modality's grid of every subject.
        """
        if self.spacing_mm != "auto":
            return self
        return self.model_copy(update={"spacing_mm": auto_spacing_mm(geometries)})

    def __call__(self, subject: Subject, device: str = "cpu") -> Subject:
        """Align one subject.

        Parameters
        ----------
        subject : volumes and masks, each on its scanner's grid.
        device : taken for the same call as the other stages'; the work is done on the CPU.
        """
        reference = self._reference(subject)
        warnings: list[str] = []
        masks = _fitted(subject, warnings)
        lead = reference if reference in masks else next(iter(masks))
        if lead != reference:
            warnings.append(f"{reference} has no mask: the region is that of {lead}")
        fixed = subject.volumes[reference]
        found = {name: self._register(fixed, volume) for name, volume in subject.volumes.items()}
        transforms = {name: each.transform for name, each in found.items()}
        whole = self.grid_of(fixed.geometry)
        further, absent, told = carry_further(
            subject, reference, whole, transforms, self.mask == "own", self.min_voxels
        )
        warnings += told
        beside_it = [mask for carried in further.values() for mask in carried.values()]
        grid, regions, changes = self._regions(whole, masks, transforms, lead, beside_it)
        aligned, scales = self._volumes(subject, grid, transforms)
        placed = {name: regions.get(name, regions[lead]) for name in aligned}
        others = spread(further, grid, aligned)
        for name, region in placed.items():
            if touches_border(region.inside):
                warnings.append(f"the region measured in {name} touches the border of the grid")
            share = inside_share(transforms[name].apply(_voxel_centres_mm(region)), subject.volumes[name].geometry)
            if share < 1.0:
                warnings.append(f"{100 * (1 - share):.1f} % of the region is outside the field of view of {name}")
        spreads = {name: _triple(value) for name, value in self.fwhm_mm.items()}
        target = None if self.target_fwhm_mm is None else _triple(self.target_fwhm_mm)
        matched, resolution = match(aligned, spreads, target)
        findings = {
            "reference": reference,
            "grid": {"size": list(grid.size), "spacing_mm": list(grid.spacing_mm)},
            "registration": {name: each.findings for name, each in found.items() if name != reference},
            "region": {"of": lead, "mask": self.mask, "change": changes},
            "intensity": scales,
            "resolution": resolution,
            "warnings": list(dict.fromkeys(warnings)),
        }
        if others or absent:
            voxels = {region: next(iter(own.values())).voxels for region, own in others.items()}
            findings["further_regions"] = {"voxels": voxels, "absent": absent}
        return replace(
            subject,
            volumes=aligned,
            masks=placed,
            matched=matched,
            transforms=transforms,
            regions=others,
            absent=absent,
        ).with_findings(self.name, findings)

    def _reference(self, subject: Subject) -> str:
        if not subject.volumes:
            raise DataError(f"{subject.id} has no image")
        reference = self.reference or next(iter(subject.volumes))
        if reference not in subject.volumes:
            raise DataError(
                f"{subject.id} has no {reference}, which leads the alignment; it has {', '.join(subject.volumes)}",
                hint="Choose another align.reference, or leave the subject out.",
            )
        return reference

    def _register(self, fixed: Volume, moving: Volume) -> Registered:
        if moving is fixed:
            return Registered(Transform.identity(), {})
        share = inside_share(lattice_mm(fixed.geometry), moving.geometry)
        back = inside_share(lattice_mm(moving.geometry), fixed.geometry)
        if share == 0.0 and back == 0.0:
            raise DataError(
                f"{moving.modality} and {fixed.modality} share no part of space: {moving.modality} is centred at "
                f"{_centre(moving)} mm, {fixed.modality} at {_centre(fixed)} mm",
                hint="Do both scans have one frame of reference? Is one of them another patient's?",
            )
        return self.registration.build()(fixed, moving)

    def grid_of(self, fixed: Geometry) -> Geometry:
        """Give the common grid over the whole field of the reference's grid."""
        spacing = auto_spacing_mm([fixed]) if self.spacing_mm == "auto" else self.spacing_mm
        return fixed.with_spacing_mm(*_triple(spacing))

    def _regions(
        self,
        grid: Geometry,
        masks: Mapping[str, Mask],
        transforms: Mapping[str, Transform],
        lead: str,
        further: Sequence[Mask],
    ) -> tuple[Geometry, dict[str, Mask], dict[str, Any]]:
        wanted = [lead] if self.mask == "reference" else list(masks)
        regions = {name: carry(masks[name], grid, transforms[name]) for name in wanted}
        for name, region in regions.items():
            self._check_size(name, masks[name], region)
        if self.margin_mm is not None:
            grid = crop_to([*regions.values(), *further], self.margin_mm)
            regions = {name: crop(region, grid) for name, region in regions.items()}
        changes = {name: _change(masks[name], region) for name, region in regions.items()}
        return grid, regions, changes

    def _check_size(self, name: str, before: Mask, after: Mask) -> None:
        if after.voxels < self.min_voxels:
            raise DataError(
                f"the region of {name} has {after.voxels} voxels on the common grid ({before.voxels} before), "
                f"expected at least {self.min_voxels}",
                hint="Choose a smaller align.spacing_mm, or leave the subject out: so few voxels carry no texture.",
            )

    def _volumes(
        self, subject: Subject, grid: Geometry, transforms: Mapping[str, Transform]
    ) -> tuple[dict[str, Volume], dict[str, Any]]:
        aligned: dict[str, Volume] = {}
        scales: dict[str, Any] = {}
        for name, volume in subject.volumes.items():
            scale = self.intensity.get(name, Physical() if unit_of(name) != "a.u." else ZScore())
            try:
                # Rescaling is linear, and so is the interpolation: the order does not matter, and the statistics
                # are then those of the scan, whatever the grid.
                aligned[name] = resample(scale.build()(_finite(volume)), grid, transforms[name])
            except RadfuseError as error:
                error.add_note(f"while aligning {name} of {subject.id}")
                raise
            scales[name] = {"method": scale.method, "unit": aligned[name].unit}
        return aligned, scales


def _fitted(subject: Subject, warnings: list[str]) -> dict[str, Mask]:
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


def _finite(volume: Volume) -> Volume:
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        count = int((~np.isfinite(volume.array)).sum())
        raise DataError(
            f"{volume.modality} has {count} voxels that are not finite, expected none",
            hint="Fill them first: interpolation would spread them.",
        )
    return volume


def _change(before: Mask, after: Mask) -> dict[str, float]:
    return {
        "before_ml": before.volume_ml,
        "after_ml": after.volume_ml,
        "relative": after.volume_ml / before.volume_ml - 1.0,
    }


def _voxel_centres_mm(mask: Mask) -> Any:
    matrix = mask.geometry.index_to_physical
    return np.argwhere(mask.inside)[:, ::-1] @ matrix[:3, :3].T + matrix[:3, 3]


def _centre(volume: Volume) -> str:
    return "(" + ", ".join(f"{value:.0f}" for value in volume.geometry.corners_mm.mean(axis=0)) + ")"


def _triple(value: float | Triple) -> Triple:
    return value if isinstance(value, tuple) else (value, value, value)
