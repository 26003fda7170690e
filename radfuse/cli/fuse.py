"""`radfuse fuse`: the study's stage, or with --image a few images without a study."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from radfuse.cli.finish import finish, print_plan
from radfuse.cli.options import StudyOptions, study_command
from radfuse.errors import ConfigError

PANEL = "Images without a study"
# What of a study's options has a meaning for single images; -o is the file to write, --set is the method's.
SHARED = {"study", "set_", "device", "as_json", "quiet"}

Images = Annotated[
    list[Path] | None,
    typer.Option(
        "--image",
        help="Fuse this picture or volume with others; repeat it. -o says what to write (its record goes beside it, as "
        "NAME.fusion.json), --set sets the method.",
        rich_help_panel=PANEL,
    ),
]
Modalities = Annotated[
    list[str] | None,
    typer.Option("--modality", help="What the images are, in order: CT, PET, MR_T1, ...", rich_help_panel=PANEL),
]
Method = Annotated[str | None, typer.Option("--method", help="Default: mdafuse.", rich_help_panel=PANEL)]
Windows = Annotated[
    list[str] | None,
    typer.Option(
        "--window", metavar="NAME=LOW:HIGH", help="Values of a volume that become [0, 1].", rich_help_panel=PANEL
    ),
]
ColourMethod = Annotated[
    str | None,
    typer.Option(
        "--colour-method",
        metavar="NAME",
        help="ihs, ycbcr or atsif: give a coloured picture the intensity of a grey one.",
        rich_help_panel=PANEL,
    ),
]
Bits = Annotated[
    int | None,
    typer.Option("--bits", metavar="8|16", help="Of the channels of the picture written.", rich_help_panel=PANEL),
]


@study_command
def fuse(
    options: StudyOptions,
    image: Images = None,
    modality: Modalities = None,
    method: Method = None,
    window: Windows = None,
    colour_method: ColourMethod = None,
    bits: Bits = None,
) -> None:
    """Fuse the aligned modalities into volumes of their own; with --image, fuse a few images without a study."""
    own = {"modality": modality, "method": method, "window": window, "colour-method": colour_method, "bits": bits}
    given = [f"--{name}" for name, value in own.items() if value is not None]
    if image:
        _fuse_images(options, image, modality or [], method, window or [], colour_method, bits or 8)
    elif given:
        raise ConfigError(
            f"{', '.join(given)} can only be given with --image", hint="A study's fusion is set in its radfuse.yaml."
        )
    else:
        _fuse_study(options)


def _fuse_study(options: StudyOptions) -> None:
    from radfuse.run.study import plan_study

    with options.open() as session:
        if options.dry_run:
            return print_plan(plan_study(session, "fuse"), options)
        session.fuse()
        finish(session, options)


def _fuse_images(
    options: StudyOptions,
    images: list[Path],
    modalities: list[str],
    method: str | None,
    windows: list[str],
    colour_method: str | None,
    bits: int,
) -> None:
    import json

    from radfuse.run.device import choose_device
    from radfuse.run.fuse_images import Request, fuse_images, parse_window, scales

    _refuse_a_studys_options(options)
    if options.study is None:
        raise ConfigError("--image needs the name of a file to write", hint="For example -o fused.png.")
    request = Request.of(
        images,
        options.study,
        modalities,
        method,
        colour_method,
        options.set_ or [],
        dict(map(parse_window, windows)),
        bits,
    )
    record = fuse_images(request, choose_device(options.device or "auto"))
    for line in scales(request, record):
        typer.echo(line, err=True)
    typer.echo(json.dumps(record, indent=1) if options.as_json else f"fused: {request.output}")


def _refuse_a_studys_options(options: StudyOptions) -> None:
    default = StudyOptions()
    given = [f.name for f in fields(options) if getattr(options, f.name) != getattr(default, f.name)]
    foreign = [name for name in given if name not in SHARED]
    if foreign:
        told = ["the study's config" if name == "config" else "--" + name.replace("_", "-") for name in foreign]
        raise ConfigError(f"with --image there is no study: {', '.join(told)} cannot be given")
