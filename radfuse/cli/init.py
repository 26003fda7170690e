"""`radfuse init`."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    manifest: Annotated[Path, typer.Argument(help="CSV with one row per image: subject, modality, image, mask.")],
    tables: Annotated[list[Path] | None, typer.Option("--table", help="Table with one row per subject.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Column to predict; default: a guess to be checked.")] = None,
    study: Annotated[
        Path | None, typer.Option("--study", "-o", help="Folder to make; default: the manifest's.")
    ] = None,
) -> None:
    """Write a commented radfuse.yaml for a manifest, with parameter files beside it."""
    from radfuse.run.init import write_study

    path = write_study(manifest, tables or [], outcome, study or manifest.resolve().parent)
    typer.echo(f"wrote {path}; look it over, then: cd {path.parent} && radfuse validate && radfuse run")
