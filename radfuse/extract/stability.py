"""Stability: which features survive another examination of the same patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat

from radfuse.component import Stage
from radfuse.data.box import Box, box_of, widened
from radfuse.data.geometry import Geometry
from radfuse.data.repeatability import UNPERTURBED, Kind
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.extract.perturbations import Perturb, Perturbation
from radfuse.extract.perturbations.alignment import Alignment
from radfuse.extract.perturbations.contour import Contour
from radfuse.extract.perturbations.growth import Growth
from radfuse.extract.perturbations.moving import Matrix, Motion, joined, moved_region, moved_view, moved_volume
from radfuse.extract.perturbations.noise import Noise
from radfuse.extract.perturbations.rotation import Rotation
from radfuse.extract.perturbations.translation import Translation

MISREGISTRATION = "misregistration"


class Stability(Stage):
    """Examine an aligned subject again, so many times, each time a little differently.

    Motions that follow one another are made one, so that no image is interpolated more than once for them.
    """

    name: ClassVar[str] = "stability"
    version: ClassVar[int] = 1

    chain: tuple[Perturbation, ...] = Field(
        (Noise(), Alignment(), Rotation(), Translation(), Growth(), Contour()),
        min_length=1,
        description="What happens to a patient in each repetition, one after another: noise, alignment, rotation, "
        "translation, growth, contour.",
    )
    repeats: int = Field(10, ge=2, le=1000, description="Perturbed measurements of each subject.")
    fused: Literal["perturbed", "again"] = Field(
        "perturbed",
        description="`perturbed`: fused volumes are perturbed as they are. `again`: the perturbed modalities are fused "
        "anew, which is what another examination would do and takes as long as fusing so many times.",
    )
    margin_mm: PositiveFloat = Field(
        40.0,
        description="How much around the regions is kept, derived ones too: as far as filters look. Fusing anew keeps "
        "everything.",
    )
    seed: NonNegativeInt = Field(0, description="Decides every perturbation, together with the subject's name.")
    icc: Kind = Field(
        "2,1", description="Intraclass correlation: `2,1` absolute agreement, `3,1` consistency, `1,1` one-way."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1.0, description="Coverage of its intervals.")

    def __call__(
        self,
        subject: Subject,
        number: int,
        aligned: Mapping[str, Any],
        *,
        whole: bool = False,
        reach_mm: float = 0.0,
    ) -> Subject:
        """Give the subject as a repetition would have seen it; number 0 is the subject as it is.

        What happens follows from the seed, the subject's name, the number and the step: from no order of work.

        Parameters
        ----------
        subject : aligned volumes with their regions; point-spread-matched ones go along.
        number : which repetition.
        aligned : what align found for the subject.
        whole : keep the whole grid, for what looks at all of an image: fusion, or PyRadiomics' ``normalize``.
        reach_mm : how far regions that will be derived go beyond the drawn ones; so much more is kept.
        """
        if number == UNPERTURBED:
            return subject
        subject = _unpadded(_sharing(subject))
        if not whole:
            subject = _cropped(subject, self.margin_mm + reach_mm)
        names = sorted(subject.volumes, key=lambda name: name != aligned.get("reference"))
        steps = [perturbation.informed(aligned).build() for perturbation in self.chain]
        seeds = [self._seeds(subject.id, number, step) for step in range(len(steps))]
        for moves, part in groupby(range(len(steps)), lambda step: isinstance(steps[step], Motion)):
            if moves:
                own = list(part)
                subject = _move(subject, [steps[i] for i in own], [seeds[i] for i in own])  # type: ignore[misc]
                continue
            for step in part:
                subject = _step(subject, names, steps[step], self.chain[step].region_only, seeds[step])
        return subject

    @property
    def misregistration_only(self) -> bool:
        """Whether nothing but the error of alignment happens, so that what changes is its doing."""
        return [step.method for step in self.chain] == ["alignment"]

    @property
    def folder(self) -> str:
        """Where a run keeps what is measured: misregistration alone never takes the place of the ordinary results."""
        return MISREGISTRATION if self.misregistration_only else self.name

    def shift_mm(self, subject: str, number: int, aligned: Mapping[str, Any], modality: str) -> tuple[float, ...]:
        """Say how far a repetition moves a scan under its region: x, y, z in LPS millimetres, all such steps added.

        Parameters
        ----------
        subject, number, aligned : as for a call.
        modality : the measured or fused volume.
        """
        moved = np.zeros(3)
        for step, perturbation in enumerate(self.chain):
            if isinstance(perturbation, Alignment):
                rng = np.random.default_rng(self._seeds(subject, number, step))
                moved += perturbation.informed(aligned).shift_mm(modality, rng)
        return tuple(float(each) for each in moved)

    def _seeds(self, subject: str, number: int, step: int) -> list[int]:
        return [self.seed, number, step, *subject.encode()]

    @property
    def deciding(self) -> dict[str, Any]:
        """The settings that decide the measurements; how their agreement is put into a number is not among them."""
        return self.model_dump(mode="json", exclude={"icc", "confidence"})


def _unpadded(subject: Subject) -> Subject:
    """Go on with every image: an edge of padding would be moved along, and blurred into what was seen."""
    return replace(
        subject,
        volumes={name: subject.gone_on(name) for name in subject.volumes},
        matched={name: volume.gone_on(subject.seen.get(name)) for name, volume in subject.matched.items()},
    )


def _sharing(subject: Subject) -> Subject:
    """Make equal regions one and the same object, so that what happens to a region happens to it once."""
    known: list[Mask] = []

    def one_of(mask: Mask) -> Mask:
        for other in known:
            if mask is other or (
                mask.label == other.label
                and mask.geometry == other.geometry
                and np.array_equal(mask.inside, other.inside)
            ):
                return other
        known.append(mask)
        return mask

    return _with_masks(subject, one_of)


def _with_masks(subject: Subject, change: Callable[[Mask], Mask]) -> Subject:
    masks = {name: change(mask) for name, mask in subject.masks.items()}
    regions = {region: {name: change(mask) for name, mask in own.items()} for region, own in subject.regions.items()}
    return replace(subject, masks=masks, regions=regions)


def _move(subject: Subject, motions: Sequence[Motion], seeds: Sequence[list[int]]) -> Subject:
    """Do motions that follow one another in one go: every image and every region is interpolated once."""

    def back(grid: Geometry, name: str) -> tuple[Matrix, Matrix]:
        return joined(motions, grid, name, [np.random.default_rng(seed) for seed in seeds])

    def along(volume: Volume) -> Volume:
        return moved_volume(volume, *back(volume.geometry, volume.modality))

    changed: dict[int, Mask] = {}

    def region(mask: Mask) -> Mask:
        if id(mask) not in changed:
            changed[id(mask)] = moved_region(mask, back(mask.geometry, "")[1])
        return changed[id(mask)]

    volumes = {name: along(volume) for name, volume in subject.volumes.items()}
    matched = {name: along(volume) for name, volume in subject.matched.items()}
    seen = {name: moved_view(view, *back(view.geometry, name)) for name, view in subject.seen.items()}
    return _with_masks(replace(subject, volumes=volumes, matched=matched, seen=seen), region)


def _step(subject: Subject, names: Sequence[str], perturb: Perturb, region_only: bool, seeds: list[int]) -> Subject:
    """Do one perturbation to every volume and region; a region is led by the first of the names that has it."""
    volumes, matched = dict(subject.volumes), dict(subject.matched)
    changed: dict[int, Mask] = {}
    for name in names:
        own = [subject.masks[name], *(each[name] for each in subject.regions.values() if name in each)]
        for place, mask in enumerate(own):
            if id(mask) in changed and (place or region_only):
                continue
            volume, region = perturb(subject.volumes[name], mask, np.random.default_rng(seeds))
            changed.setdefault(id(mask), region)
            if place == 0:
                volumes[name] = volume
        shown = subject.cut(name, own[0])
        if shown is not own[0] and not region_only:  # noise is measured where there is some
            volumes[name], _ = perturb(subject.volumes[name], shown, np.random.default_rng(seeds))
        if name in matched and not region_only:
            matched[name], _ = perturb(matched[name], shown, np.random.default_rng(seeds))
    return _with_masks(replace(subject, volumes=volumes, matched=matched), lambda mask: changed[id(mask)])


def _cropped(subject: Subject, margin_mm: float) -> Subject:
    """Cut volumes to the box of all regions and a margin; the point-spread-matched ones are not needed then."""
    masks = [*subject.masks.values(), *(mask for own in subject.regions.values() for mask in own.values())]
    boxes = {
        mask.geometry: _box([each for each in masks if each.geometry == mask.geometry], margin_mm) for mask in masks
    }
    volumes = {
        name: Volume(np.ascontiguousarray(volume.array[box]), volume.geometry.part(box), name, volume.unit)
        for name, volume in subject.volumes.items()
        for box in [boxes[subject.masks[name].geometry]]
    }
    cut: dict[int, Mask] = {}

    def part(mask: Mask) -> Mask:
        box = boxes[mask.geometry]
        if id(mask) not in cut:
            cut[id(mask)] = Mask(np.ascontiguousarray(mask.array[box]), mask.geometry.part(box), mask.label)
        return cut[id(mask)]

    seen = {name: part(view) for name, view in subject.seen.items()}
    return replace(_with_masks(subject, part), volumes=volumes, matched={}, seen=seen)


def _box(masks: Sequence[Mask], margin_mm: float) -> Box:
    grid = masks[0].geometry
    pad = np.ceil(margin_mm / np.asarray(grid.spacing_mm[::-1])).astype(int)
    return widened(box_of(np.logical_or.reduce([mask.inside for mask in masks])), pad.tolist(), grid.shape)
