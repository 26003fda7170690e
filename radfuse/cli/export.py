"""`radfuse export`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from radfuse.cli.options import AsJson


def export(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A study folder, a run in one (STUDY/runs/main), or what train --features made."
        ),
    ] = Path("."),
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")] = Path("export"),
    arm: Annotated[
        list[str] | None, typer.Option(help="An arm of the run, or all; may be repeated. Default: the primary one.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="An Ed25519 private key (PEM) to sign with; without one only hashes protect it."),
    ] = None,
    fingerprints: Annotated[
        bool, typer.Option(help="Hold salted hashes of the study's images, to recognise its own patients later.")
    ] = True,
    with_rows: Annotated[
        bool, typer.Option("--with-rows", help="Export models too that keep feature rows of patients (svm).")
    ] = False,
    run: Annotated[str, typer.Option("--run", help="Name of the run inside the study folder.")] = "main",
    as_json: AsJson = False,
) -> None:
    """Write models of a finished run into one sealed folder that predicts elsewhere, without the study.

    It holds settings, fitted models, versions and a card, and no patient. `radfuse predict FOLDER` uses it; given
    --key, `radfuse predict FOLDER --trust PUBLIC.pem` makes sure who made it.
    """
    from radfuse.run.export import export_run
    from radfuse.run.fitted import FittedRun

    done = export_run(FittedRun.open(place, run), arm or (), output, key, fingerprints=fingerprints, rows=with_rows)
    if as_json:
        told = {"export": str(done.folder), "notes": list(done.notes), **done.manifest.model_dump(mode="json")}
        return typer.echo(json.dumps(told, indent=1))
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)
    for name, found in done.manifest.arms.items():
        auc = found.judged.get("auc")
        typer.echo(name if auc is None else f"{name}  AUC {auc:.3f} in the study")
    if done.manifest.signed_by is not None:
        typer.echo(f"signed by: {done.manifest.signed_by}")
    typer.echo(f"export: {done.folder}")
