"""`radfuse fusion evaluate`."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radfuse.cli.finish import tell_failures
from radfuse.cli.options import STUDY_FILE, AsJson, Quiet, StudyOptions, listener_for
from radfuse.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from radfuse.run.fusion_quality import Judgement

PAIRS_OUTPUT = Path("fusion_quality.csv")
PER_TABLE = 9
NOTICED = 0.05
LEGEND = (
    "Higher is better, but for MSE (lower) and rSFe (nearest 0); SD, AG and SF are the image's own. These check that "
    "fusing kept its sources; which fused image predicts, `radfuse report` tells."
)
FILES = "Files instead of a study"

Fused = Annotated[Path | None, typer.Option(help="Judge this file, with --image.", rich_help_panel=FILES)]
Sources = Annotated[list[Path] | None, typer.Option("--image", help="A source; repeat it.", rich_help_panel=FILES)]
Pairs = Annotated[
    Path | None,
    typer.Option(help="CSV with the columns a, b, fused; perhaps name, set, c, d, low, high.", rich_help_panel=FILES),
]
Modalities = Annotated[
    list[str] | None,
    typer.Option("--modality", help="What the sources are, in order: CT, PET, MR_T1, ...", rich_help_panel=FILES),
]
Windows = Annotated[
    list[str] | None,
    typer.Option(
        "--window", metavar="NAME=LOW:HIGH", help="Values of a source volume that are [0, 1].", rich_help_panel=FILES
    ),
]
Coarser = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="For QNR: how many times wider the functional image's own pixels are than these; default 1.",
        rich_help_panel=FILES,
    ),
]


def evaluate(
    config: Annotated[Path, typer.Argument(help="The YAML of a study whose run has been fused.")] = STUDY_FILE,
    study: Annotated[Path | None, typer.Option("--study", help="Study folder; default: as for `radfuse fuse`.")] = None,
    run: Annotated[str, typer.Option("--run", help="Name of the run inside the study folder.")] = "main",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Overrides that the run was made with.", metavar="KEY=VALUE")
    ] = None,
    subject: Annotated[list[str] | None, typer.Option("--subject", help="Only this subject; may be repeated.")] = None,
    fused: Fused = None,
    image: Sources = None,
    pairs: Pairs = None,
    modality: Modalities = None,
    window: Windows = None,
    coarser: Coarser = None,
    convention: Annotated[
        str, typer.Option(help="standard, or mdafuse to compare with that paper's table.")
    ] = "standard",
    metrics: Annotated[
        str, typer.Option(help="Names separated by commas, or all; default: all but the slow FMI.")
    ] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV to write; means go beside it.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure how well fused images keep their sources: of a study's run, of single files, or of a CSV of pairs."""
    from radfuse.run import fusion_quality as quality
    from radfuse.run.fuse_images import parse_window

    measuring = quality.Measuring(
        convention,  # type: ignore[arg-type]  # checked there, with a clear message
        tuple(name.strip() for name in metrics.split(",") if name.strip()),
        tuple(modality or ()),
        dict(map(parse_window, window or ())),
        coarser or 1,
    )
    listener = listener_for(StudyOptions(as_json=as_json, quiet=quiet))
    options = StudyOptions(config=config, study=study, run=run, set_=set_, subject=subject)
    _refuse_a_mixture(options, fused, image, pairs, {"--modality": modality, "--coarser": coarser})
    if pairs is not None:
        found = quality.judge_files(quality.read_pairs(pairs), measuring, output or PAIRS_OUTPUT, listener)
    elif fused is not None:
        triple = quality.Triple(fused, tuple(image or ()), fused.name)
        found = quality.judge_files([triple], measuring, output)
    else:
        found = quality.judge_study(
            options.read_config(), options.folder, run, measuring, only=subject or (), output=output, listener=listener
        )
    print_judgement(found, as_json)


def _refuse_a_mixture(
    options: StudyOptions,
    fused: Path | None,
    image: list[Path] | None,
    pairs: Path | None,
    of_files: Mapping[str, object],
) -> None:
    if (fused is None) != (not image):
        raise ConfigError("--fused and --image belong together", hint="--fused F.png --image A.png --image B.png")
    if fused is not None and pairs is not None:
        raise ConfigError("--fused and --pairs exclude each other", hint="Add the file as a row of the CSV.")
    files = fused is not None or pairs is not None
    if files and options != StudyOptions():
        raise ConfigError("with --fused or --pairs there is no study: leave out its config, --run, --set and --subject")
    given = [name for name, value in of_files.items() if value is not None]
    if not files and given:
        raise ConfigError(f"{given[0]} is for files: a study knows its own scans")


def print_judgement(found: "Judgement", as_json: bool) -> None:
    """Print means per set, what has no value and why, and where to look; leave with 1 when something failed."""
    if as_json:
        typer.echo(json.dumps(found.summary(), indent=1, allow_nan=False))
        if found.failed:
            raise typer.Exit(1)
        return
    if found.judged:
        _print_means(found)
        for line in (*_remarks(found), *found.notes, LEGEND):
            typer.echo(line)
    for path in found.files:
        typer.echo(f"written: {path}")
    tell_failures(found.failed)


def _print_means(found: "Judgement") -> None:
    from rich.console import Console

    from radfuse.fuse.quality import METRICS

    means = found.means
    names = [name for name in METRICS if name in means]
    console = Console(highlight=False, width=140)
    for first in range(0, len(names), PER_TABLE):
        console.print(_table(means, names[first : first + PER_TABLE], found.convention))


def _table(means: "pd.DataFrame", names: list[str], convention: str) -> "Table":
    from rich.table import Table

    table = Table(title=f"Fusion quality, means, {convention} convention")
    table.add_column("set", justify="left", overflow="fold")
    for name in ("n", *names):
        table.add_column(name, justify="right")
    for row in means.to_dict("records"):
        table.add_row(str(row["set"]), str(row["n"]), *(_number(name, row[name]) for name in names))
    return table


def _number(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.4f}" if name == "MSE" else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _remarks(found: "Judgement") -> list[str]:
    """Say what was judged, what has no value and why, and what lies outside the sanity box."""
    lines = [f"judged: {found.judged[0].quality.region}"] if len(found.judged) == 1 else []
    for metric in found.judged[0].quality.values:
        reasons = [each.quality.reasons[metric] for each in found.judged if metric in each.quality.reasons]
        if reasons:
            lines.append(f"no {metric} for {len(reasons)} of {len(found.judged)}: {reasons[0]}")
    most = max(each.quality.clipped for each in found.judged)
    if found.convention == "standard" and most > NOTICED:
        lines.append(f"values outside [0, 1] were clipped, up to {most:.0%} of an image: look at the windows")
    for name in dict.fromkeys(each.set for each in found.judged):
        own = [each for each in found.judged if each.set == name]
        flagged = [each for each in own if each.quality.outside]
        if flagged:
            first = f"{flagged[0].name}: {'; '.join(flagged[0].quality.outside)}"
            lines.append(f"outside the sanity box: {len(flagged)} of {len(own)} in {name}, such as {first}")
    return lines
