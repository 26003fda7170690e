"""`radfuse extract`."""

from pathlib import Path
from typing import Annotated

import typer

from radfuse.cli.finish import finish, print_plan, tell_failures
from radfuse.cli.options import StudyOptions, listener_for, study_command


@study_command
def extract(
    options: StudyOptions,
    manifest: Annotated[Path | None, typer.Option(help="A manifest of your own, instead of a study.")] = None,
    modality: Annotated[list[str] | None, typer.Option(help="With --manifest: only this modality.")] = None,
    params: Annotated[
        list[str] | None, typer.Option("--params", "-p", help="PyRadiomics YAML, for all or as MODALITY=FILE.")
    ] = None,
) -> None:
    """Measure every volume with PyRadiomics: one row per subject, the same columns for all.

    With --manifest the files are measured as they are, and the numbers equal `pyradiomics -p`; -o names the CSV.
    """
    if manifest is not None:
        from radfuse.run.tables import extract_table

        target = options.study or Path("features.csv")
        choice = (options.subject or [], modality or [])
        problems = extract_table(manifest, choice, params or [], options.overrides, target, listener_for(options))
        typer.echo(f"features in {target}")
        return tell_failures(problems)
    from radfuse.run.study import plan_study

    with options.open() as session:
        if options.dry_run:
            return print_plan(plan_study(session, "extract"), options)
        session.extract()
        finish(session, options)
