"""`radfuse fusion`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radfuse.cli.options import Device

if TYPE_CHECKING:
    from radfuse.fuse.training import Progress

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

    typer.echo(f"weights: {train_network(config, output, device, set_ or [], _tell)}")


def _tell(progress: "Progress") -> None:
    if progress.step % 10 == 0 or progress.step == 1:
        typer.echo(f"step {progress.step}: loss {progress.loss:.4f}", err=True)
