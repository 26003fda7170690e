"""What `radfuse init --from` prints: one line for each volume, one for each thing left out."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from radfuse.errors import ConfigError

if TYPE_CHECKING:
    from radfuse.data.reading.left_out import LeftOut


@dataclass(frozen=True)
class Request:
    """The options of `radfuse init --from`."""

    kind: str
    source: Path
    modalities: Sequence[str]
    rois: Sequence[str]
    join: bool
    suv: str
    threshold: float
    keep_ids: bool
    keys: Path | None
    per_study: bool
    pattern: str
    mask_pattern: str


def bring_in(request: Request, study: Path, tables: Sequence[Path], outcome: str | None, *, dry_run: bool) -> None:
    """Make a study of a source, say what became of it, and leave with 1 when something was wrong."""
    makers = {"dicom": _dicom, "bids": _images, "nifti": _images, "nrrd": _images}
    if request.kind not in makers:
        raise ConfigError(f"--from {request.kind!r} is not known", hint="Say --from dicom, bids, nifti or nrrd.")
    made, left = makers[request.kind](request, study, dry_run)
    for line in left:
        typer.echo(f"left out: {line}", err=True)
        if line.hint:
            typer.echo(f"  {line.hint}", err=True)
    if dry_run:
        typer.echo("nothing was written (--dry-run)")
    else:
        _configure(study, [*made, *tables], outcome)
    if any(line.fault for line in left):
        raise typer.Exit(1)


def _dicom(request: Request, study: Path, dry_run: bool) -> tuple[list[Path], "Sequence[LeftOut]"]:
    from radfuse.data.reading.dicom.body import KINDS
    from radfuse.data.reading.dicom.plan import Choices
    from radfuse.data.reading.dicom.series import names_of
    from radfuse.run.importing import carry_out, plan_import

    kinds = {kind: kind for kind in KINDS}
    if request.suv not in kinds:
        raise ConfigError(f"--suv {request.suv!r} is not known", hint=f"Say one of {', '.join(KINDS)}.")
    named = names_of(request.modalities)
    choices = Choices(named, request.rois, request.join, kinds[request.suv], request.threshold)
    plan = plan_import(
        request.source,
        study,
        choices,
        keep_ids=request.keep_ids,
        keys=request.keys,
        per_study=request.per_study,
        seen=_counter(),
    )
    if dry_run:
        for patient in plan.patients:
            for planned in patient.planned:
                region = (
                    f", region {planned.recipe.series.person.blot(planned.region.name)!r}" if planned.region else ""
                )
                grid = planned.recipe.grid
                typer.echo(
                    f"{patient.subject} {planned.modality}: {grid.size[2]} slices, {planned.recipe.unit}{region}"
                )
        return [], plan.all_left_out
    done = carry_out(plan, study, keys=request.keys)
    for row in done.rows:
        region = f", region {row['region']!r} of {row['region_ml']} ml" if row["mask"] else ", no region"
        kept = " (kept)" if row["subject"] in done.reused else ""
        voxels = f"{row['slices']} slices, {row['voxel_mm']} mm"
        typer.echo(f"{row['subject']} {row['modality']}: {voxels}, {row['unit']}{region}{kept}")
    if request.keys is None and not request.keep_ids:
        typer.echo("patients are called by codes; --keys FILE, outside the study, writes which is who")
    return [done.subjects], done.left_out


def _counter() -> Callable[[int], None]:
    """Count on the screen, where there is one, how many files have been looked at."""
    if not sys.stderr.isatty():
        return lambda count: None
    return lambda count: None if count % 100 else typer.echo(f"\rlooked at {count} files", nl=False, err=True)


def _images(request: Request, study: Path, dry_run: bool) -> tuple[list[Path], "Sequence[LeftOut]"]:
    from radfuse.run.listing import list_images, write_listing

    listing = list_images(
        request.kind, request.source, request.modalities, request.rois, request.pattern, request.mask_pattern
    )
    for row in listing.rows:
        typer.echo(f"{row['subject']} {row['modality']}: {row['image']}{'' if row['mask'] else ', no region'}")
    return ([] if dry_run else write_listing(listing, study)), listing.left_out


def _configure(study: Path, tables: Sequence[Path], outcome: str | None) -> None:
    from radfuse.run.init import write_study

    config = study / "radfuse.yaml"
    if config.exists():
        typer.echo(f"wrote {study / 'manifest.csv'}; kept {config} as it is")
        return
    write_study(study / "manifest.csv", tables, outcome, study)
    typer.echo(f"wrote {config}; look it over, then: cd {study} && radfuse validate && radfuse run")
