"""Align: bring every scan of a subject onto one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from radfuse.align.further import carry_further, covered, spread
from radfuse.align.grid import (
    Interpolation,
    auto_spacing_mm,
    carry,
    crop,
    crop_to,
    field_of_view,
    inside_share,
    lattice_mm,
    resample,
)
from radfuse.align.intensity.physical import Physical
from radfuse.align.intensity.zscore import ZScore
from radfuse.align.outlines import change, fitted
from radfuse.align.partial_volume import PartialVolume, corrected
from radfuse.align.point_spread import STILL, Spread, is_each_scans_own, point_spread, takes_header, triple, widest
from radfuse.align.registration import Registered, Registration
from radfuse.align.registration.rigid import Rigid
from radfuse.align.resolution import Triple, match
from radfuse.align.scales import Drawn, Scale, named, rescaled
from radfuse.align.template import Template
from radfuse.align.tissues import Tissues, check, measured
from radfuse.component import Stage
from radfuse.data.box import touches_border
from radfuse.data.deformation import Motion, straight
from radfuse.data.geometry import Geometry
from radfuse.data.modality import EMISSION, unit_of
from radfuse.data.region import MAIN
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError, RadfuseError


class Align(Stage):
    """Register, resample once, carry the region over, match the resolution of fusion's inputs."""

    name: ClassVar[str] = "align"
    version: ClassVar[int] = 4

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
    template: Template | None = Field(
        None,
        description="An image of your own that every subject is brought to, such as the MNI brain; none given: "
        "subjects stay in their own space.",
    )
    tissues: Tissues = Field(
        {},
        description="Regions that only intensity scales look at (`over`) and that are measured nowhere, by where they "
        "are from: `{brain: template}`, `{muscle: manifest}`, `{brain: {of: tool, command: ...}}`.",
    )
    interpolation: Interpolation | dict[str, Interpolation] = Field(
        "linear",
        description="How volumes are sampled on the grid, for all or by modality; those not named: linear. "
        "`lanczos` takes a minute for a million voxels.",
    )
    supersampling: PositiveInt = Field(
        1,
        le=8,
        description="A voxel is in the region when half of its points are, so many along each axis; 1: its centre.",
    )
    fwhm_mm: dict[str, Spread] = Field(
        {},
        description="Point spread (full width at half maximum) by modality, one number or x, y, z of the grid; "
        "`estimate` measures it on each scan at the border of body and air; `header` takes what the manifest's column "
        "header_fwhm_mm states (the slice thickness of CT and MR, the filter of PET).",
    )
    scanner_fwhm_mm: dict[str, PositiveFloat | tuple[PositiveFloat, PositiveFloat, PositiveFloat]] = Field(
        {},
        description="By modality, what the scanner blurs beside the filter that the header states (its NEMA resolution "
        "at the organ), one number or x, y, z of the grid; added in squares where fwhm_mm is `header`.",
    )
    partial_volume: dict[str, PartialVolume] = Field(
        {}, description="By modality, how its partial-volume effect is corrected; none given: it is not."
    )
    target_fwhm_mm: PositiveFloat | tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(
        None, description="Resolution of fusion's inputs; none given: the largest of fwhm_mm along each axis."
    )
    intensity: dict[str, Scale] = Field(
        {},
        description="Intensity scale by modality, one method or a list of steps such as [n4, zscore]; by default CT, "
        "PET and SPECT stay physical, the rest is z-scored.",
    )
    mask: Literal["reference", "own"] = Field(
        "reference",
        description="`reference`: one region, carried to the grid once, is measured in every modality. "
        "`own`: each modality's own region.",
    )
    min_voxels: PositiveInt = Field(27, description="Refuse a region with fewer voxels on the common grid.")

    @model_validator(mode="after")
    def _resolution_is_sound(self) -> Align:
        matched = {name: given for name, given in self.fwhm_mm.items() if name not in self.partial_volume}
        guessed = sorted(name for name, given in matched.items() if is_each_scans_own(given))
        if guessed and self.target_fwhm_mm is None:
            raise ValueError(
                f"fwhm_mm of {', '.join(guessed)} is told from each scan, so target_fwhm_mm must be given: "
                "all subjects have to end at one resolution"
            )
        if matched and self.target_fwhm_mm is None and self.template is not None and self.template.stretches:
            raise ValueError(
                f"fwhm_mm of {', '.join(sorted(matched))} grows and shrinks with each subject on the template, so "
                "target_fwhm_mm must be given: all subjects have to end at one resolution"
            )
        for name in sorted(self.scanner_fwhm_mm):
            if not (name in self.fwhm_mm and takes_header(self.fwhm_mm[name])):
                raise ValueError(f"scanner_fwhm_mm.{name} is only added where fwhm_mm.{name} is `header`")
        for name in sorted(name for name, given in self.fwhm_mm.items() if takes_header(given)):
            if unit_of(name) in EMISSION and name not in self.scanner_fwhm_mm:
                raise ValueError(
                    f"fwhm_mm.{name} is `header`, which states the filter after reconstruction and not what the "
                    f"scanner blurs: give scanner_fwhm_mm.{name} too, 4 to 6 mm for most PET"
                )
        for name, method in self.partial_volume.items():
            if name not in self.fwhm_mm:
                raise ValueError(f"partial_volume.{name} is {method.method}, which needs fwhm_mm.{name}")
            reach_mm = 2 * max(widest(self.fwhm_mm[name]), *triple(self.scanner_fwhm_mm.get(name, 0.0)))
            if self.margin_mm is not None and self.margin_mm < reach_mm:
                raise ValueError(
                    f"partial_volume.{name} looks {reach_mm:g} mm around the region, twice the point spread, and "
                    f"margin_mm cuts the grid at {self.margin_mm:g} mm; set it to {reach_mm:g} or more"
                )
            bent = [step.method for step in self.intensity.get(name, ()) if not step.linear]
            if bent:
                raise ValueError(
                    f"partial_volume.{name} works on activity itself, and intensity.{name} has {', '.join(bent)}, "
                    "after which blur is no longer a sum of neighbours"
                )
        return self

    @model_validator(mode="after")
    def _tissues_are_sound(self) -> Align:
        check(self.tissues, masked=self.template is not None and bool(self.template.mask))
        return self

    def require(self) -> None:
        """Raise one ConfigError when a file that a template or a scale needs is missing or another one."""
        if self.template is not None:
            self.template.require(self.reference, self.registration)
        for steps in self.intensity.values():
            for place, step in enumerate(steps):
                step.build()
                step.require_after([each.method for each in steps[:place]])

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
        masks = fitted(subject, warnings)
        lead = reference if reference in masks else next(iter(masks))
        if lead != reference:
            warnings.append(f"{reference} has no mask: the region is that of {lead}")
        fixed = subject.volumes[reference]
        found = {name: self._register(fixed, volume, masks.get(reference)) for name, volume in subject.volumes.items()}
        within = {name: each.transform for name, each in found.items()}
        brought = None if self.template is None else self.template.place(subject, reference, within)
        transforms = within if brought is None else brought.transforms
        whole = self.grid_of(fixed.geometry, None if brought is None else brought.space)
        further, absent, told = carry_further(
            measured(subject, self.tissues), reference, whole, transforms, self.mask == "own", self.min_voxels,
            self.supersampling,
        )  # fmt: skip
        warnings += told
        beside_it = [mask for carried in further.values() for mask in carried.values()]
        grid, regions, changes = self._regions(whole, masks, transforms, lead, beside_it)
        outlined = subject if brought is None else brought.outlined(subject, self.tissues)
        aligned, scales = self._volumes(outlined, masks, grid, transforms, within)
        placed = {name: regions.get(name, regions[lead]) for name in aligned}
        for name, volume in aligned.items():
            if volume.unit != unit_of(name) != "a.u.":
                warnings.append(
                    f"{name} is in {volume.unit} and no longer in {unit_of(name)}: bin widths and "
                    f"fuse.normalisation that are meant for {unit_of(name)} do not fit it"
                )
        others = spread(further, grid, aligned)
        for name, region in placed.items():
            if touches_border(region.inside):
                warnings.append(f"the region measured in {name} touches the border of the grid")
        views = {name: field_of_view(subject.volumes[name].geometry, grid, transforms[name]) for name in aligned}
        for name, region in placed.items():
            warnings += self._outside(name, region, views[name])
        others, uncovered, told = covered(others, views, self.min_voxels)
        absent, warnings = {**absent, **uncovered}, [*warnings, *told]
        spreads, blur = self._spreads(subject, grid, None if brought is None else transforms)
        for name, method in self.partial_volume.items():
            if name in aligned:
                drawn = {MAIN: placed[name], **{region: own[name] for region, own in others.items() if name in own}}
                aligned[name] = corrected(method.build(), aligned[name], drawn, spreads[name], views[name])
        target = None if self.target_fwhm_mm is None else triple(self.target_fwhm_mm)
        # What was corrected has no one point spread any more.
        blurred = {name: width for name, width in spreads.items() if name not in self.partial_volume}
        matched, resolution = match({name: aligned[name].gone_on(views[name]) for name in aligned}, blurred, target)
        matched = {name: _padded(volume, views[name], aligned[name]) for name, volume in matched.items()}
        resolution |= {
            name: f"corrected by {each.method}" for name, each in self.partial_volume.items() if name in aligned
        }
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
        if blur:
            findings["point_spread"] = blur
        if brought is not None:
            findings["template"] = brought.findings
        return replace(
            subject,
            volumes=aligned,
            masks=placed,
            matched=matched,
            transforms=transforms,
            regions=others,
            absent=absent,
            seen={name: view for name, view in views.items() if not view.inside.all()},
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

    def _register(self, fixed: Volume, moving: Volume, region: Mask | None) -> Registered:
        if moving is fixed:
            return Registered(Transform.identity(), {})
        share = inside_share(lattice_mm(fixed.geometry), moving.geometry)
        back = inside_share(lattice_mm(moving.geometry), fixed.geometry)
        apart = share == 0.0 and back == 0.0
        found = None
        if not (apart and self.registration.needs_shared_space):
            found = self.registration.build()(fixed, moving, region)
        if found is None or (apart and not found.findings["accepted"]):
            raise DataError(
                f"{moving.modality} and {fixed.modality} share no part of space: {moving.modality} is centred at "
                f"{_centre(moving)} mm, {fixed.modality} at {_centre(fixed)} mm",
                hint="Is one of them another patient's? If they are of two sessions, register from their middles: "
                "align.registration: {method: rigid, starts: [headers, centres, moments]}.",
            )
        return found

    def grid_of(self, fixed: Geometry, template: Geometry | None = None) -> Geometry:
        """Give the common grid over the whole field of the reference's grid, or of the template's."""
        spacing = auto_spacing_mm([fixed]) if self.spacing_mm == "auto" else self.spacing_mm
        return (fixed if template is None else template).with_spacing_mm(*triple(spacing))

    def _regions(
        self,
        grid: Geometry,
        masks: Mapping[str, Mask],
        transforms: Mapping[str, Motion],
        lead: str,
        further: Sequence[Mask],
    ) -> tuple[Geometry, dict[str, Mask], dict[str, Any]]:
        wanted = [lead] if self.mask == "reference" else list(masks)
        regions = {name: carry(masks[name], grid, transforms[name], self.supersampling) for name in wanted}
        for name, region in regions.items():
            self._check_size(name, masks[name], region)
        if self.margin_mm is not None:
            grid = crop_to([*regions.values(), *further], self.margin_mm)
            regions = {name: crop(region, grid) for name, region in regions.items()}
        changes = {name: change(masks[name], region) for name, region in regions.items()}
        return grid, regions, changes

    def _check_size(self, name: str, before: Mask, after: Mask) -> None:
        if after.voxels < self.min_voxels:
            raise DataError(
                f"the region of {name} has {after.voxels} voxels on the common grid ({before.voxels} before), "
                f"expected at least {self.min_voxels}",
                hint="Choose a smaller align.spacing_mm, or leave the subject out: so few voxels carry no texture.",
            )

    def _outside(self, name: str, region: Mask, view: Mask) -> list[str]:
        """Say how much of a region a scan does not cover; refuse one of which it shows too little."""
        left = region.within(view).voxels
        if left < self.min_voxels:
            raise DataError(
                f"the field of view of {name} holds {left} of the region's {region.voxels} voxels, expected at least "
                f"{self.min_voxels}",
                hint="Is it the right scan, and is its registration right? If it shows another part of the body, leave "
                "it out of the manifest; with cohort.missing: keep the patient stays.",
            )
        if left == region.voxels:
            return []
        share = 1.0 - left / region.voxels
        return [f"{share:.1%} of the region is outside the field of view of {name}, and not measured there"]

    def _spreads(
        self, subject: Subject, grid: Geometry, brought: Mapping[str, Motion] | None
    ) -> tuple[dict[str, Triple], dict[str, Any]]:
        """Point spread of the scans that are there, along the grid's axes; what was measured of each."""
        spreads: dict[str, Triple] = {}
        measured: dict[str, Any] = {}
        for name, given in self.fwhm_mm.items():
            if name in subject.volumes:
                motion = STILL if brought is None else straight(brought[name])
                scan, scanner = subject.volumes[name], self.scanner_fwhm_mm.get(name, 0.0)
                spreads[name], found = point_spread(scan, given, grid, triple(scanner), motion)
                measured |= {name: found} if found else {}
        return spreads, measured

    def _volumes(
        self,
        subject: Subject,
        masks: Mapping[str, Mask],
        grid: Geometry,
        transforms: Mapping[str, Motion],
        within: Mapping[str, Motion],
    ) -> tuple[dict[str, Volume], dict[str, Any]]:
        aligned: dict[str, Volume] = {}
        scales: dict[str, Any] = {}
        for name, volume in subject.volumes.items():
            steps = self.intensity.get(name, (Physical() if unit_of(name) != "a.u." else ZScore(),))
            sampled = (
                self.interpolation if isinstance(self.interpolation, str) else self.interpolation.get(name, "linear")
            )
            try:
                # Before resampling, so that the statistics are those of the scan, whatever the grid. For a linear scale
                # and a linear interpolation the order does not matter.
                scaled = rescaled(_finite(volume), steps, Drawn(subject, name, masks, within))
                aligned[name] = resample(scaled, grid, transforms[name], sampled)
            except RadfuseError as error:
                error.add_note(f"while aligning {name} of {subject.id}")
                raise
            scales[name] = {"method": named(steps), "unit": aligned[name].unit}
        return aligned, scales


def _finite(volume: Volume) -> Volume:
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        count = int((~np.isfinite(volume.array)).sum())
        raise DataError(
            f"{volume.modality} has {count} voxels that are not finite, expected none",
            hint="Fill them first: interpolation would spread them.",
        )
    return volume


def _padded(volume: Volume, view: Mask, like: Volume) -> Volume:
    return volume.with_array(np.where(view.inside, volume.array, like.array.min()))


def _centre(volume: Volume) -> str:
    return "(" + ", ".join(f"{value:.0f}" for value in volume.geometry.corners_mm.mean(axis=0)) + ")"
