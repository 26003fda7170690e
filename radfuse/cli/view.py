"""`radfuse view`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from radfuse.cli.options import StudyOptions, looking_command
from radfuse.errors import ConfigError

COLOURS, GAIN = "inferno", 0.6


@looking_command
def view(
    options: StudyOptions,
    to: Annotated[Path | None, typer.Option("--to", help="Folder for the pictures; default: view/ in the run.")] = None,
    fused: Annotated[
        str | None, typer.Option(help="Volume shown in lightness, such as fused-mdafuse-CT_PET or CT.", metavar="NAME")
    ] = None,
    plane: Annotated[list[str] | None, typer.Option(help="axial, coronal or sagittal; default: all three.")] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at",
            metavar="PLANE=INDEX",
            help="Slice of a plane, from 0 in the aligned volume; may be repeated. Default: through the region.",
        ),
    ] = None,
    colours: Annotated[str, typer.Option(help="inferno or plasma.")] = COLOURS,
    gain: Annotated[
        float, typer.Option(min=0, help="How much strong uptake lightens and colours; 0: not at all.")
    ] = GAIN,
    alignment: Annotated[
        bool,
        typer.Option("--alignment", help="How the scans lie on each other instead: edges, tiles, and taking turns."),
    ] = False,
) -> None:
    """Write PET or SPECT in colour on the fused volumes as PNG: to be looked at, never measured."""
    from radfuse.cli.finish import as_json, tell_failures
    from radfuse.data.cohort import Problem
    from radfuse.run.view import parse_slices, view_alignment, view_study

    slices = parse_slices(at or ())
    own = {"--fused": fused, "--plane": plane, "--colours": colours != COLOURS, "--gain": gain != GAIN}
    foreign = [name for name, given in own.items() if given]
    if alignment and foreign:
        raise ConfigError(f"{', '.join(foreign)} cannot be given with --alignment, which shows the scans themselves")
    with options.open() as session:
        if alignment:
            shown, errors = view_alignment(session, to, at=slices)
        else:
            settings = {"colours": colours, "gain": gain}
            shown, errors = view_study(session, to, fused=fused, planes=plane or (), at=slices, **settings)
    failed = [Problem(subject, error.message, error.hint, fatal=False) for subject, error in errors.items()]
    if options.as_json:
        told = {"written": not options.dry_run, "pictures": [str(path) for path in shown], "failures": as_json(failed)}
        typer.echo(json.dumps(told, indent=1))
    else:
        for path in shown:
            typer.echo(f"{'would write' if options.dry_run else 'picture'}: {path}")
    tell_failures(failed)
