"""Learn what `sparse` and `mdlatlrr` know of patches, from made-up phantoms; writes the weights and their card.

python pipelines/learn_fusion_dictionary.py dictionary -o radfuse/fuse/weights
python pipelines/learn_fusion_dictionary.py projection -o radfuse/fuse/weights
"""

import platform
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer

from radfuse.fuse.patch_learning import RECIPES, PatchLearning, card, learn

NAMES = {"dictionary": "sparse_dictionary", "projection": "mdlatlrr_projection"}


class What(StrEnum):
    """The atoms of `sparse`, or the details of `mdlatlrr`."""

    DICTIONARY = "dictionary"
    PROJECTION = "projection"


def learn_fusion_dictionary(
    what: What,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the weights and their card.")],
    phantoms: Annotated[int | None, typer.Option(help="To learn from.")] = None,
    held_out_phantoms: Annotated[int | None, typer.Option(help="To judge by.")] = None,
    patches: Annotated[int | None, typer.Option(help="To learn from.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Of coding patches and fitting atoms.")] = None,
    seed: Annotated[int, typer.Option(help="Decides phantoms and patches.")] = 0,
) -> None:
    """Learn by the shipped recipe, or a smaller one."""
    changed = {"phantoms": phantoms, "held_out_phantoms": held_out_phantoms, "patches": patches, "rounds": rounds}
    given = {name: value for name, value in changed.items() if value is not None}
    config = PatchLearning(**{**RECIPES[what].model_dump(), **given, "seed": seed})
    torch.set_num_threads(1)
    learned = learn(config)
    options = "".join(
        f" --{name.replace('_', '-')} {value}" for name, value in {**given, **({"seed": seed} if seed else {})}.items()
    )
    text = card(
        config,
        learned,
        command=f"python pipelines/learn_fusion_dictionary.py {what}{options} -o {output}",
        environment=f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, one thread",
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{NAMES[what]}.safetensors").write_bytes(learned.content)
    (output / f"{NAMES[what]}.md").write_text(text, encoding="utf-8")
    typer.echo(text)


if __name__ == "__main__":
    typer.run(learn_fusion_dictionary)
