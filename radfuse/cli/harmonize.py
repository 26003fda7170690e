"""`radfuse harmonize`."""

from pathlib import Path
from typing import Annotated

import typer

from radfuse.cli.finish import finish
from radfuse.cli.options import StudyOptions, study_command


@study_command
def harmonize(
    options: StudyOptions,
    features: Annotated[Path | None, typer.Option(help="A feature table of your own, instead of a study.")] = None,
    subjects: Annotated[Path | None, typer.Option(help="Its subjects: batch and covariates, one row each.")] = None,
    batch: Annotated[
        str | None, typer.Option(help="Column of --subjects with the scanner or site; a,b,c for nested ComBat.")
    ] = None,
    protect: Annotated[str, typer.Option(help="Covariates to keep, separated by commas.")] = "",
    outcome: Annotated[
        str | None, typer.Option(help="Column of --subjects that is the outcome: refused as a covariate.")
    ] = None,
    association: Annotated[
        bool, typer.Option("--association", help="Protect the outcome too, for a table that no AUC is made from.")
    ] = False,
) -> None:
    """Take scanner effects out of the features (ComBat), keeping the covariates; look at it before and after.

    With --features, -o names the CSV to write. Training never reads this table: there ComBat is fitted again inside
    every fold, on training rows only.
    """
    if features is not None:
        options.on_a_table("--features")
        from radfuse.run.tables import harmonize_table

        target = options.study or Path("harmonized.csv")
        columns = {"batch": batch, "protect": protect, "outcome": outcome}
        said = harmonize_table(features, subjects, columns, options.overrides, target, association=association)
        return typer.echo(said)
    from radfuse.run.harmonizing import associate_study
    from radfuse.run.study import harmonize_study

    if options.dry_run:
        return typer.echo("harmonize: works on the whole table at once, in seconds; nothing to plan")
    with options.open() as session:
        typer.echo(associate_study(session) if association else harmonize_study(session))
        finish(session, options)
