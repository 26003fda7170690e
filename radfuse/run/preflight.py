"""What becomes of every region, told from the masks alone before hours are spent; no image is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from radfuse.align.foresight import foresee, shown_by
from radfuse.config import Config
from radfuse.data.box import box_of, size_of
from radfuse.data.cohort import Cohort, Problem, Scan
from radfuse.data.geometry import Geometry
from radfuse.data.names import fused_name
from radfuse.data.reading.images import read_geometry
from radfuse.data.region import label_text
from radfuse.data.volume import Mask
from radfuse.errors import RadfuseError
from radfuse.extract.minimum import refusal, region_measured
from radfuse.extract.parameters import parameters_for
from radfuse.run.store import write
from radfuse.run.subjects import read_outlines

FINE, FEW, NO_VALUE, FAILS = "", "few", "no value", "fails"


@dataclass(frozen=True)
class Foreseen:
    """One region of one subject, in the volumes where it comes out alike.

    Parameters
    ----------
    subject, region : whose, and which.
    measured_in : the volumes that are measured in it, fused ones included.
    drawn_on : the image whose mask it comes from; empty for a derived region.
    labels : the labels of the mask.
    voxels_drawn : voxels in the mask as it was drawn; None for a derived region.
    voxels_aligned : voxels on the study's common grid.
    voxels_measured : voxels after the resampling that the PyRadiomics parameters ask for.
    box : its bounding box there, x, y, z in voxels.
    verdict : ``fails`` (the subject will), ``no value`` (a further region will be empty), ``few``, or nothing.
    why : the reason of the verdict.
    outside : the share of the voxels on the common grid that a scan does not cover, by the headers; it is not measured.
    """

    subject: str
    region: str
    measured_in: str = ""
    drawn_on: str = ""
    labels: str = ""
    voxels_drawn: int | None = None
    voxels_aligned: int | None = None
    voxels_measured: int | None = None
    box: str = ""
    verdict: str = FINE
    why: str = ""
    outside: float | None = None

    @property
    def problem(self) -> Problem:
        """The line that it takes among the problems of a study."""
        hint = "Choose a finer align.spacing_mm or resampledPixelSpacing, draw the region again, or leave it out."
        if self.outside:
            hint = "Is it the right scan? One of another part of the body is to be left out of the manifest."
        return Problem(self.subject, f"region {self.region}: {self.why}", hint, fatal=False)


def foresee_regions(config: Config, cohort: Cohort, ids: Sequence[str]) -> list[Foreseen]:
    """Follow every region of some subjects to where it is measured.

    Where the reference has an outline this is what align will make, voxel for voxel; an outline drawn on another
    image is placed by its header, as is what a scan covers, and registration may still move both. In a template's
    space the patient's own millimetres are all that is known beforehand: a region grows or shrinks with the head, and
    a verdict says so.

    Parameters
    ----------
    config : resolved for the cohort, so that the grid's spacing and the reference are settled.
    """
    found: list[Foreseen] = []
    for subject in ids:
        found += _Subject(config, cohort, subject).regions()
    return found


def write_regions(path: Path, found: Sequence[Foreseen]) -> None:
    """Write what was foreseen as CSV; counts that are not known stay empty."""
    columns = [each.name for each in fields(Foreseen)]
    counts = {name: "Int64" for name in columns if name.startswith("voxels_")}
    table = pd.DataFrame([asdict(each) for each in found], columns=columns).astype(counts)
    write(path, lambda temporary: table.to_csv(temporary, index=False))


class _Subject:
    """One subject's regions on their way."""

    def __init__(self, config: Config, cohort: Cohort, subject: str) -> None:
        self.config, self.cohort, self.subject = config, cohort, subject
        self.scans = cohort.scans_of(subject)
        self.fields: dict[str, Geometry] = {}

    def regions(self) -> list[Foreseen]:
        main, *_ = self.cohort.regions
        try:
            drawn, why = self._drawn()
            reference = self._reference()
            self.fields = {scan.modality: read_geometry(scan.image) for scan in self.scans}
        except (RadfuseError, OSError) as error:
            message = error.message if isinstance(error, RadfuseError) else str(error)
            return [Foreseen(self.subject, main, verdict=FAILS, why=message)]
        grid = self.config.align.grid_of(reference)
        found: list[Foreseen] = []
        carried: dict[str, Mask] = {}
        for region in [each for each in self.cohort.regions if each not in self.config.align.tissues]:
            if not drawn[region]:
                verdict = FAILS if region == main else NO_VALUE
                found.append(Foreseen(self.subject, region, verdict=verdict, why=why.get(region, "it is not drawn")))
                continue
            leads = self._leads(drawn[region])
            for name, volumes in leads.items():
                mask = drawn[region][name]
                aligned = foresee(mask, grid, self._margin_mm, self.config.align.supersampling)
                start = Foreseen(
                    self.subject, region, drawn_on=name, labels=self._labels(region, name), voxels_drawn=mask.voxels
                )
                found += self._measured(start, aligned, volumes, region == main, self.config.align.min_voxels)
                carried.setdefault(region, aligned)
        return [*found, *self._derived(carried)]

    def _drawn(self) -> tuple[dict[str, dict[str, Mask]], dict[str, str]]:
        """Give the masks by region and image, and why a further region is not there."""
        found: dict[str, dict[str, Mask]] = {region: {} for region in self.cohort.regions}
        why: dict[str, str] = {}
        for scan in self.scans:
            main, further = read_outlines(scan)
            for region, outline in {self.cohort.regions[0]: main, **further}.items():
                if isinstance(outline, Mask):
                    found[region][scan.modality] = outline
                elif outline is not None:
                    why[region] = outline
        return found, why

    def _reference(self) -> Geometry:
        reference = self.config.align.reference
        scan = next((scan for scan in self.scans if scan.modality == reference), None)
        if scan is None and reference is not None:
            raise RadfuseError(f"there is no {reference}, which leads the alignment")
        return read_geometry((scan or self.scans[0]).image)

    def _leads(self, masks: Mapping[str, Mask]) -> dict[str, list[str]]:
        """By the image whose outline counts, the volumes that are measured in it."""
        reference = self.config.align.reference
        lead = reference if reference in masks else next(iter(masks))
        found: dict[str, list[str]] = {}
        for name in (scan.modality for scan in self.scans):
            own = self.config.align.mask == "own" and name in masks
            found.setdefault(name if own else str(lead), []).append(name)
        for name, parts in self._fused().items():
            first = next(lead for lead, volumes in found.items() if parts[0] in volumes)
            found[first].append(name)
        return found

    def _fused(self) -> dict[str, tuple[str, ...]]:
        """The fused volumes that this subject will have, and what of."""
        present = {scan.modality for scan in self.scans}
        sets = [group for group in self.config.fuse.inputs or () if present.issuperset(group)]
        return {fused_name(m.title, group): tuple(group) for m in self.config.fuse.methods for group in sets}

    def _labels(self, region: str, modality: str) -> str:
        scan: Scan = next(scan for scan in self.scans if scan.modality == modality)
        own = [each.labels for each in scan.further if each.region == region]
        return label_text(own[0] if own else scan.labels)

    @property
    def _margin_mm(self) -> float:
        return max((region.reach_mm for region in self.config.extract.regions.values()), default=0.0)

    def _measured(
        self, start: Foreseen, aligned: Mask, volumes: Sequence[str], main: bool, least: int
    ) -> Iterator[Foreseen]:
        """Cut to each volume's scan and resample as its parameters ask; volumes where it comes out alike share a row.

        Parameters
        ----------
        main : whether it is the main region, without which the subject fails.
        least : the fewest voxels on the common grid.
        """
        rows: dict[tuple[float | None, int, str, str, str], list[str]] = {}
        for name in volumes:
            settings = parameters_for(name, self.config.extract.parameters).get("setting") or {}
            scans = self._fused().get(name, (name,))
            shown = shown_by(aligned, [self.fields[scan] for scan in scans])
            # An empty region cannot be resampled; there is nothing left to count.
            measured = region_measured(shown, settings) if shown.voxels else shown
            box = " x ".join(map(str, size_of(box_of(measured.inside))))
            needed = 1 if start.drawn_on and len(scans) > 1 else least
            why = _why(scans, aligned, shown, refusal(measured, settings), least, needed)
            if shown is not aligned and why and self._moves(scans):
                why = f"{why}; registration may still move it"
            # Of scans that have nothing of the region in common no fused volume is made.
            left_out = len(scans) > 1 and aligned.voxels >= least and not shown.voxels
            verdict = (FAILS if main and not left_out else NO_VALUE) if why else FINE
            if not why and measured.voxels < self.config.cohort.few_voxels:
                verdict = FEW
                why = f"{measured.voxels} voxels are measured, fewer than {self.config.cohort.few_voxels}"
            outside = round(1 - shown.voxels / aligned.voxels, 6) if aligned.voxels else None
            rows.setdefault((outside, measured.voxels, box, verdict, why), []).append(name)
        for (outside, voxels, box, verdict, why), names in rows.items():
            template = self.config.align.template
            if why and template is not None and template.stretches:
                why = f"{why} (in the patient's space; on the template it will be larger or smaller)"
            yield Foreseen(
                start.subject, start.region, ", ".join(names), start.drawn_on, start.labels, start.voxels_drawn,
                aligned.voxels, voxels, box, verdict, why, outside,
            )  # fmt: skip

    def _moves(self, scans: Sequence[str]) -> bool:
        """Whether registration may move any of some scans from where their headers put them."""
        return self.config.align.registration.method != "none" and {*scans} != {self.config.align.reference}

    def _derived(self, carried: dict[str, Mask]) -> Iterator[Foreseen]:
        """Follow the derived regions as far as masks tell; what takes the images is left to extract."""
        everything = [scan.modality for scan in self.scans] + list(self._fused())
        for name, region in self.config.extract.regions.items():
            base = carried.get(region.of or self.cohort.regions[0])
            outline = None if base is None or not base.voxels else region.outline(base)
            if outline is not None:
                start = Foreseen(self.subject, name)
                yield from self._measured(start, outline, everything, False, region.min_voxels)
                carried[name] = outline


def _why(scans: Sequence[str], aligned: Mask, shown: Mask, refused: str, least: int, needed: int) -> str:
    """Say why a volume cannot be measured in a region; empty when it can.

    Parameters
    ----------
    scans : what the volume is of.
    aligned, shown : the region on the common grid, and what the scans show of it.
    refused : what PyRadiomics has against the latter.
    least, needed : the fewest voxels of the one and of the other.
    """
    if aligned.voxels < least:
        return f"{aligned.voxels} voxels on the common grid, expected at least {least}"
    if shown is aligned or (shown.voxels >= needed and not refused):
        return refused
    where = f"{shown.voxels} of its {aligned.voxels} voxels are in the field of view of {' and '.join(scans)}"
    return f"by the headers {where}, {refused if shown.voxels >= needed else f'expected at least {needed}'}"


def _parameter_problems(config: Config, cohort: Cohort) -> list[Problem]:
    names = [*cohort.modalities]
    if len(names) > 1:
        sets = config.fuse.inputs or (cohort.modalities,)
        names += [fused_name(method.title, group) for method in config.fuse.methods for group in sets]
    found = []
    for name in names:
        try:
            parameters_for(name, config.extract.parameters)
        except RadfuseError as error:
            found.append(Problem("", f"extract: {error.message}", error.hint))
    return found


def region_problems(config: Config, cohort: Cohort) -> list[Problem]:
    """What makes the regions unmeasurable, or other than meant, in this study."""
    found = _parameter_problems(config, cohort)
    if cohort.regions[0] in config.align.tissues:
        what = f"the main region {cohort.regions[0]!r} is among align.tissues, which are measured nowhere"
        found.append(Problem("", what, "Name the region that is to be measured: cohort.region."))
    known = {*cohort.regions[1:]} - {*config.align.tissues}
    for name, region in config.extract.regions.items():
        place = f"extract.regions.{name}"
        taken = sorted({*region.names(name)} & {*cohort.regions})
        if taken:
            found.append(Problem("", f"{place} would be a second region {taken[0]!r}", "Give it another name."))
        said = f"; beside the main region there is {', '.join(sorted(known)) or 'no other'}"
        for other in region.needs:
            if other not in known:
                hint = "Leave `of` out for the main region."
                found.append(Problem("", f"{place} names the region {other!r}{said}", hint))
        for modality in region.images:
            if modality not in cohort.modalities:
                have = ", ".join(cohort.modalities)
                found.append(Problem("", f"{place} needs {modality}, which is no modality of the study ({have})"))
        margin = config.align.margin_mm
        if margin is not None and region.reach_mm > margin:
            what = f"{place} reaches {region.reach_mm:g} mm, but align.margin_mm cuts the grid at {margin:g} mm"
            found.append(Problem("", what, f"Set align.margin_mm to {region.reach_mm:g} or more.", fatal=False))
        known |= {*region.names(name)}
    return found
