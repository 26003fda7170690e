"""`radfuse validate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from radfuse.cli.options import StudyOptions, study_command
from radfuse.cli.regions import print_regions


@study_command
def validate(
    options: StudyOptions,
    regions: Annotated[Path | None, typer.Option(help="Write the table of regions into this CSV too.")] = None,
) -> None:
    """List everything wrong with the config, the manifest, the tables, the image headers and the regions.

    Masks are read and images are not: a table tells what becomes of every region before anything is computed.
    """
    from radfuse.run.preflight import FAILS, write_regions
    from radfuse.run.validate import problems_of, regions_of

    config = options.read_config()
    found = [each for each in regions_of(config) if not options.subject or each.subject in options.subject]
    problems = [*problems_of(config), *(each.problem for each in found if each.verdict == FAILS)]
    if regions is not None:
        write_regions(regions, found)
    if options.as_json:
        typer.echo(json.dumps([vars(problem) for problem in problems], indent=1))
    else:
        print_regions(found)
        for problem in problems:
            out = "leaves the subject out" if problem.subject else "nobody is left out for it"
            typer.echo(f"{problem.subject or 'cohort'}: {problem.what} [{'stops the study' if problem.fatal else out}]")
            if problem.hint:
                typer.echo(f"  {problem.hint}")
        typer.echo(f"{len(problems)} problem{'' if len(problems) == 1 else 's'} found" if problems else "all is well")
    if any(problem.fatal for problem in problems):
        raise typer.Exit(2)
    if any(problem.subject for problem in problems):
        raise typer.Exit(1)
