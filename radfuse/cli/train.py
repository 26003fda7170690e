"""`radfuse train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radfuse.cli.finish import finish, print_auc, print_plan, tell_failures
from radfuse.cli.options import StudyOptions, study_command

if TYPE_CHECKING:
    from radfuse.run.controls import Asked


@study_command
def train(
    options: StudyOptions,
    fusion: Annotated[
        str,
        typer.Option(
            help="A fusion level of the study, such as early, intermediate, late, late_stacking, pls, chosen; or all. "
            "Single modalities, fused images and baselines always run beside it."
        ),
    ] = "all",
    features: Annotated[Path | None, typer.Option(help="A feature table of your own, instead of a study.")] = None,
    subjects: Annotated[Path | None, typer.Option(help="Its subjects: outcome, batch and covariates.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Column of --subjects to predict.")] = None,
    batch: Annotated[str | None, typer.Option(help="Column of --subjects with the scanner or site.")] = None,
    protect: Annotated[str, typer.Option(help="Covariates that ComBat keeps, separated by commas.")] = "",
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="A negative control, after training: shuffle:MODALITY, noise:MODALITY (`clinical` among them, where "
            "clinical facts are a modality) or permute-outcome; may be repeated. Its time is told first, and what "
            "stands is not done again."
        ),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this arm in the controls; may be repeated. Default: single modalities and fusion levels, and "
            "for permute-outcome the two arms of train.primary."
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of each shuffle and noise.")] = 5,
    permutations: Annotated[
        int | None, typer.Option(min=1, help="Permutations of the outcome, default 99; implies permute-outcome.")
    ] = None,
) -> None:
    """Train and compare the arms: each modality, each fused image, the fusion levels and the baselines."""
    asked = _asked(control or [], arm or [], draws, permutations)
    if features is not None:
        options.on_a_table("--features")
        from radfuse.cli.options import listener_for
        from radfuse.run.tables import train_table

        columns = {"outcome": outcome, "batch": batch, "protect": protect}
        target = options.study or Path("radfuse-run")
        listener = listener_for(options)
        judged = train_table(features, subjects, columns, fusion, options.overrides, target, listener, asked, _tell)
        print_auc(judged, options)
        return tell_failures(judged.failed)
    from radfuse.run.study import plan_study, train_study

    with options.open() as session:
        if options.dry_run:
            return print_plan(plan_study(session, "train", fusion=fusion, asked=asked), options)
        finish(session, options, judged=train_study(session, fusion, asked, _tell))


def _asked(controls: list[str], arms: list[str], draws: int, permutations: int | None) -> "Asked":
    from radfuse.run.controls import PERMUTATIONS, Asked
    from radfuse.train.controls import PERMUTE

    if permutations is not None and PERMUTE not in controls:
        controls = [*controls, PERMUTE]
    return Asked(tuple(controls), tuple(arms), draws, permutations or PERMUTATIONS)


def _tell(line: str) -> None:
    typer.echo(line, err=True)
