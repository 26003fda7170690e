"""`radfuse fusion`."""

from pathlib import Path
from typing import Annotated

import typer

from radfuse.cli.options import Device

app = typer.Typer(no_args_is_help=True)


@app.callback()
def fusion() -> None:
    """Train the networks that fuse volumes."""


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="Training YAML; see configs/fusion/mdafuse.yaml.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the weights and their card.")] = Path("."),
    device: Device = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a setting.", metavar="KEY=VALUE")] = None,
) -> None:
    """Train a fusion network self-supervised on co-registered volumes, and write weights with a card."""
    from radfuse.run.fusion_training import train_network

    typer.echo(f"weights: {train_network(config, output, device, set_ or [])}")
