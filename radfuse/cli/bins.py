"""`radfuse bins`."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from radfuse.cli.options import StudyOptions, study_command

if TYPE_CHECKING:
    from radfuse.run.bins import BinAdvice


@study_command
def bins(options: StudyOptions) -> None:
    """Advise bin widths that give 30 to 130 grey levels, from the subjects' own images.

    Needs `radfuse align`, and `radfuse fuse` where the study fuses. Where some subjects of the manifest are held out as
    a test set, name the others with --subject, once for each: a width chosen on test images has seen them. Patients of
    external.manifest are never looked at.
    """
    from radfuse.cli.finish import tell_failures
    from radfuse.run.bins import bins_study

    if options.dry_run:
        return typer.echo("bins: only looks; nothing to plan")
    with options.open() as session:
        found = bins_study(session)
        everyone = len(found.subjects) == len(session.cohort.ids)
        apart = session.config.external.manifest is not None
    _tell(found, everyone, options, apart)
    tell_failures(found.failed)


def _tell(found: "BinAdvice", everyone: bool, options: StudyOptions, apart: bool = False) -> None:
    if options.as_json:
        advice = [{**asdict(each), "yaml": each.yaml, "keep": each.keep} for each in found.advice]
        return typer.echo(json.dumps({"subjects": list(found.subjects), "advice": advice}, indent=1))
    who = "all of the manifest" if everyone else ", ".join(found.subjects)
    number = len(found.subjects)
    typer.echo(f"looked at {number} subject{'' if number == 1 else 's'}: {who}")
    if apart:
        typer.echo("none of external.manifest, which stays the test set")
    elif everyone:
        typer.echo("no test set is held out of it; if you keep one elsewhere in this manifest, leave it out: --subject")
    typer.echo(f"{'parameters':<12}{'image type':<12}{'regions':>8}   width: grey levels fewest, median, most (30-130)")
    for each in found.advice:
        for word, made in (("now", each.present), ("advised", each.advised)):
            start = f"{each.place:<12}{each.image_type:<12}{each.regions:>8}" if word == "now" else " " * 32
            counts = f"{made.fewest}, {made.median:g}, {made.most} ({100 * made.share:.0f} %)"
            typer.echo(f"{start}   {word} {made.width:g}: {counts}")
    for each in found.advice:
        if each.keep:
            typer.echo(f"{each.place} {each.image_type}: the present width does as well; keep it")
        else:
            typer.echo(f"{each.place}, into its PyRadiomics parameters:  {each.yaml}")
