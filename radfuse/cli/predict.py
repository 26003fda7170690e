"""`radfuse predict`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radfuse.cli.options import AsJson, Jobs

if TYPE_CHECKING:
    from radfuse.run.predict import Predicted


def predict(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A study folder, a run in one (STUDY/runs/main), what train --features made, or an export.",
        ),
    ] = Path("."),
    *,
    manifest: Annotated[Path | None, typer.Option(help="New patients: subject, modality, image, mask.")] = None,
    features: Annotated[
        Path | None, typer.Option(help="Instead: their features, as `radfuse extract` writes them, unharmonised.")
    ] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option("--table", "--subjects", help="Their scanners and facts; may be repeated. Default: the manifest."),
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option(help="An arm of the run, or all; may be repeated. Default: the primary one.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The CSV to write.")] = Path("predictions.csv"),
    run: Annotated[str, typer.Option("--run", help="Name of the run inside the study folder.")] = "main",
    trust: Annotated[
        Path | None, typer.Option(help="Of an export: the public key (PEM) that must have signed it.")
    ] = None,
    allow_other_versions: Annotated[
        bool, typer.Option("--allow-other-versions", help="Of an export: work with other libraries; scores may differ.")
    ] = False,
    jobs: Jobs = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda: where networks run.", metavar="DEVICE")] = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Score new patients from their images, by the models of a finished run or of an export.

    They pass the run's own settings: alignment, fusion, extraction, harmonising, model. No outcome is needed; where the
    tables tell it, the AUC on these patients is printed too. Exit code 1 when somebody could not be scored.
    """
    from radfuse.cli.finish import tell_failures
    from radfuse.cli.options import StudyOptions, listener_for
    from radfuse.errors import ConfigError
    from radfuse.run.exported import open_predictor
    from radfuse.run.predict import predict_measured, predict_patients

    given = manifest or features
    if given is None or (manifest and features):
        raise ConfigError("give --manifest or --features, one of them", hint="Images or features of the new patients.")
    options = StudyOptions(jobs=jobs, device=device, as_json=as_json, quiet=quiet)
    opened = open_predictor(place, run, options.overrides, trust, allow_other_versions=allow_other_versions)
    work = predict_measured if features else predict_patients
    found = work(opened, given, table or (), arm or (), output, listener_for(options))
    _tell(found, as_json)
    tell_failures(found.failed)


def _tell(found: "Predicted", as_json: bool) -> None:
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    if as_json:
        return typer.echo(json.dumps(_summary(found), indent=1))
    width = {name: int(found.scores[name].str.len().max()) for name in ("subject", "arm")}
    for row in found.scores.to_dict("records"):
        flags = [f"without {row['missing']}"] if row["missing"] else []
        flags += [f"harmonised: {row['harmonised']}"] if row["harmonised"] not in ("", "yes", "no") else []
        flags += ["seen in training"] if row["seen_in_training"] else []
        said = "no score" if row["error"] else f"{row['score']:.3f}"
        who = f"{row['subject']:{width['subject']}}  {row['arm']:{width['arm']}}"
        typer.echo(f"{who}  {said:8}  {'; '.join(flags)}".rstrip())
    typer.echo("A score is what a model says: a probability only as far as the run's report shows it calibrated.")
    if found.external is not None:
        for row in found.external.to_dict("records"):
            known = row["ci_low"] == row["ci_low"]
            interval = f" ({row['ci_low']:.2f} to {row['ci_high']:.2f} by DeLong)" if known else " (no interval)"
            value = f"{row['auc']:.3f}{interval}" if row["auc"] == row["auc"] else "not defined by one outcome"
            who = f"{row['n']} patients, {row['events']} events"
            typer.echo(f"external AUC of {row['arm']}: {value}, {who}")
    for what, where in found.places.items():
        typer.echo(f"{what}: {where}")


def _summary(found: "Predicted") -> dict[str, object]:
    external = found.external.to_json(orient="records", double_precision=15) if found.external is not None else "null"
    return {
        "scores": json.loads(found.scores.to_json(orient="records", double_precision=15)),
        "external": json.loads(external),
        "failures": [{"subject": p.subject, "what": p.what, "hint": p.hint} for p in found.failed],
        "notes": list(found.notes),
        "files": dict(found.places),
    }
