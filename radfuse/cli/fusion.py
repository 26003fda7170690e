"""`radfuse fusion`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radfuse.cli.fusion_evaluate import evaluate
from radfuse.cli.options import Device

if TYPE_CHECKING:
    from radfuse.fuse.training import Progress

app = typer.Typer(no_args_is_help=True)


@app.callback()
def fusion() -> None:
    """Train the networks that fuse volumes, and judge fused images."""


app.command()(evaluate)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="Training YAML; see configs/fusion/mdafuse.yaml.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the weights and their card.")] = Path("."),
    device: Device = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a setting.", metavar="KEY=VALUE")] = None,
    redo: Annotated[bool, typer.Option("--redo", help="Begin again, replacing what is in the folder.")] = False,
    study: Annotated[Path | None, typer.Option("--study", help="Study folder whose mlflow.db records it.")] = None,
) -> None:
    """Train a fusion network self-supervised on co-registered volumes, and write weights with a card."""
    from radfuse.run.fusion_training import train_network

    weights = train_network(config, output, device, set_ or [], _tell, study, redo=redo, resumed=_resumed)
    typer.echo(f"weights: {weights}")


def _resumed(step: int) -> None:
    typer.echo(f"goes on from step {step}", err=True)


def _tell(progress: "Progress") -> None:
    if progress.validation is not None:
        best = "the best so far" if progress.best_step == progress.step else f"best at step {progress.best_step}"
        typer.echo(f"step {progress.step}: validation {progress.validation:.4f}, {best}", err=True)
    elif progress.step % 10 == 0 or progress.step == 1:
        typer.echo(f"step {progress.step}: loss {progress.loss:.4f}", err=True)
