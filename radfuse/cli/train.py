"""`radfuse train`."""

from pathlib import Path
from typing import Annotated

import typer

from radfuse.cli.finish import finish, print_auc, print_plan, tell_failures
from radfuse.cli.options import StudyOptions, study_command


@study_command
def train(
    options: StudyOptions,
    fusion: Annotated[
        str,
        typer.Option(
            help="early, intermediate, late, chosen or all. Single modalities, fused images and baselines always run "
            "beside it."
        ),
    ] = "all",
    features: Annotated[Path | None, typer.Option(help="A feature table of your own, instead of a study.")] = None,
    subjects: Annotated[Path | None, typer.Option(help="Its subjects: outcome, batch and covariates.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Column of --subjects to predict.")] = None,
    batch: Annotated[str | None, typer.Option(help="Column of --subjects with the scanner or site.")] = None,
    protect: Annotated[str, typer.Option(help="Covariates that ComBat keeps, separated by commas.")] = "",
) -> None:
    """Train and compare the arms: each modality, each fused image, the fusion levels and the baselines."""
    if features is not None:
        options.on_a_table("--features")
        from radfuse.cli.options import listener_for
        from radfuse.run.tables import train_table

        columns = {"outcome": outcome, "batch": batch, "protect": protect}
        target = options.study or Path("radfuse-run")
        judged = train_table(features, subjects, columns, fusion, options.overrides, target, listener_for(options))
        print_auc(judged, options)
        return tell_failures(judged.failed)
    from radfuse.run.study import plan_study, train_study

    with options.open() as session:
        if options.dry_run:
            return print_plan(plan_study(session, "train", fusion=fusion), options)
        finish(session, options, judged=train_study(session, fusion))
