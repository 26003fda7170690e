"""`radfuse stability`."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from radfuse.cli.options import StudyOptions, study_command

if TYPE_CHECKING:
    from radfuse.data.cohort import Problem
    from radfuse.run.stability import Stable


@study_command
def stability(
    options: StudyOptions,
    repeats: Annotated[int | None, typer.Option(min=2, help="Perturbed measurements of each subject.")] = None,
) -> None:
    """Examine every patient again, a little differently each time; say which features stay the same.

    Needs `radfuse align`, and `radfuse fuse` where the study fuses. Rotation, translation, noise, another contour and
    the error of alignment are made up, nothing is scanned again. Writes stability/icc.csv; with train.stability set,
    `radfuse train` drops what is unstable among the training rows of each fold. With
    `--set stability.chain=[alignment]` it writes misregistration/, beside those: how far each feature moves when a scan
    is misregistered.
    """
    from dataclasses import replace

    from radfuse.cli.finish import tell_failures
    from radfuse.run.stability import plan_stability, stability_study

    if repeats is not None:
        options = replace(options, set_=[*(options.set_ or []), f"stability.repeats={repeats}"])
    with options.open() as session:
        if options.dry_run:
            return _tell_plan(plan_stability(session), options)
        found = stability_study(session)
        failures = session.failures()
    _tell(found, failures, options)
    tell_failures(failures)


def _tell_plan(plan: dict[str, dict[str, int]], options: StudyOptions) -> None:
    from radfuse.cli.finish import print_plan

    print_plan(plan, options)


def _tell(found: "Stable", failures: "Sequence[Problem]", options: StudyOptions) -> None:
    """Say in words how many features of each modality and class hold up."""
    from radfuse.cli.finish import as_json
    from radfuse.extract.repeatability import verdict_counts

    counts = verdict_counts(found.table)
    if options.as_json:
        rows = json.loads(counts.reset_index().to_json(orient="records"))
        told = {"table": str(found.folder / "icc.csv"), "counts": rows, "failures": as_json(failures)}
        return typer.echo(json.dumps(told, indent=1))
    words = [word for word in counts.columns if word != "features"]
    for modality in dict.fromkeys(counts.index.get_level_values("modality")):
        part = counts.loc[modality]
        total = part.sum()
        solid = int(total["excellent"] + total["good"])
        typer.echo(f"{modality}: {solid} of {total['features']} features are good or excellent")
        for feature_class in part.index:
            row = part.loc[feature_class]
            said = ", ".join(f"{row[word]} {word}" for word in words if row[word])
            typer.echo(f"  {feature_class}: {said}")
    typer.echo("by the lower end of the interval: excellent from 0.90, good from 0.75, moderate from 0.50")
    typer.echo(f"agreement of every feature in {found.folder / 'icc.csv'}")
    moved = found.folder / "misregistration.csv"
    if moved.is_file():
        typer.echo(f"how far each feature moves per mm of misregistration in {moved}")
