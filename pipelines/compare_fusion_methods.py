"""Does any fusion method help on this cohort? Every method, every set of modalities, the same folds.

Fuses by every method that needs no more than a minute for a volume, measures each image, judges it by itself, and
prints AUC, interval and the p of the best of so many: against permuted outcomes, and against the best single modality.
Methods that the config gives settings of their own join the others.

python pipelines/compare_fusion_methods.py configs/sts.yaml STUDY --set cohort.root=/where/the/cohort/is
"""

from pathlib import Path
from typing import Annotated

import typer

from radfuse.cli.progress import Bars
from radfuse.config import read_config
from radfuse.run.comparing_methods import compare_methods


def compare_fusion_methods(
    config: Path,
    study: Path,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a setting.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method; may be repeated.")] = None,
    seconds: Annotated[float, typer.Option(help="Leave out methods slower than this for one volume.")] = 60.0,
    permutations: Annotated[int, typer.Option(min=19, help="Of the outcome.")] = 99,
    repeats: Annotated[int, typer.Option(min=1, help="Of the cross-validation, in each permutation.")] = 1,
    run: Annotated[str, typer.Option(help="Name of the run inside the study folder.")] = "methods",
) -> None:
    """Compare the fusion methods on one cohort."""
    found = compare_methods(
        read_config(config, set_ or []), study, run, Bars(),
        methods=method or (), seconds=seconds, permutations=permutations, repeats=repeats,
        tell=lambda line: typer.echo(line, err=True),
    )  # fmt: skip
    typer.echo(found.table.round(3).to_string(index=False))
    for name, reason in found.left_out.items():
        typer.echo(f"left out: {name}: {reason}")
    typer.echo(found.reading)


if __name__ == "__main__":
    typer.run(compare_fusion_methods)
