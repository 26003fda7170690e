"""`radfuse view`."""

from pathlib import Path
from typing import Annotated

import typer

from radfuse.cli.options import StudyOptions, study_command


@study_command
def view(
    options: StudyOptions,
    to: Annotated[Path | None, typer.Option("--to", help="Folder for the pictures; default: view/ in the run.")] = None,
    fused: Annotated[
        str | None, typer.Option(help="Volume shown in lightness, such as fused-mdafuse-CT_PET or CT.", metavar="NAME")
    ] = None,
    plane: Annotated[list[str] | None, typer.Option(help="axial, coronal or sagittal; default: all three.")] = None,
    colours: Annotated[str, typer.Option(help="inferno or plasma.")] = "inferno",
    gain: Annotated[
        float, typer.Option(min=0, help="How much strong uptake lightens and colours; 0: not at all.")
    ] = 0.6,
    alignment: Annotated[
        bool,
        typer.Option("--alignment", help="How the scans lie on each other instead: edges, tiles, and taking turns."),
    ] = False,
) -> None:
    """Write PET or SPECT in colour on the fused volumes as PNG: to be looked at, never measured."""
    from radfuse.cli.finish import tell_failures
    from radfuse.data.cohort import Problem
    from radfuse.run.view import view_alignment, view_study

    with options.open() as session:
        if alignment:
            written, failed = view_alignment(session, to)
        else:
            written, failed = view_study(session, to, fused=fused, planes=plane or (), colours=colours, gain=gain)
    for path in written:
        typer.echo(f"picture: {path}")
    tell_failures([Problem(subject, error.message, error.hint, fatal=False) for subject, error in failed.items()])
