"""`radfuse extract`."""

from dataclasses import replace
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
    method: Annotated[
        str | None,
        typer.Option(help="What computes: `fast` or `pyradiomics`; the numbers agree.", metavar="METHOD"),
    ] = None,
) -> None:
    """Measure every volume with PyRadiomics' features: one row per subject, the same columns for all.

    With --manifest the files are measured as they are, and the numbers equal `pyradiomics -p`; -o names the CSV.
    """
    if method is not None:
        options = replace(options, set_=[*(options.set_ or []), f"extract.extractor.method={method}"])
    if manifest is not None:
        options.on_a_table("--manifest")
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
