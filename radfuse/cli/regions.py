"""What the commands print of the regions that were foreseen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from radfuse.run.preflight import Foreseen

MANY, SMALLEST = 12, 5
WORDS = {"fails": "the subject will fail", "no value": "its features will be missing", "few": "measured all the same"}


def print_regions(found: "Sequence[Foreseen]") -> None:
    """Print one table of the regions that need attention and of the smallest others, then how many come to what."""
    if not found:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Regions, in voxels: as drawn, on the common grid, and as measured")
    for name in ("subject", "region", "in", "drawn on"):
        table.add_column(name)
    for name in ("drawn", "aligned", "not in view", "measured", "box"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    shown = found if len(found) <= MANY else _worth_seeing(found)
    for each in shown:
        unseen = f"{each.outside:.1%}" if each.outside else ""
        drawn, aligned, measured = (
            "" if count is None else str(count)
            for count in (each.voxels_drawn, each.voxels_aligned, each.voxels_measured)
        )
        source = each.drawn_on if each.labels in ("", "1") else f"{each.drawn_on} ({each.labels})"
        told = f"{each.verdict}: {each.why}" if each.verdict else ""
        row = (each.subject, each.region, _few_words(each.measured_in), source)
        table.add_row(*row, drawn, aligned, unseen, measured, each.box, told)
    Console(highlight=False, width=160).print(table)
    if len(shown) < len(found):
        typer.echo(f"{len(found) - len(shown)} more, larger and without a remark: --regions FILE.csv writes every row")
    typer.echo(summary(found))


def _worth_seeing(found: "Sequence[Foreseen]") -> "list[Foreseen]":
    remarks = [each for each in found if each.verdict or each.outside]
    others = [each for each in found if not each.verdict and not each.outside]
    others.sort(key=lambda each: each.voxels_measured or 0)
    kept = {id(each) for each in [*remarks, *others[:SMALLEST]]}
    return [each for each in found if id(each) in kept]


def warn_of_regions(found: "Sequence[Foreseen]") -> None:
    """Before hours are spent, say on standard error what is not going to be measured, or hardly."""
    for each in found:
        if each.verdict:
            typer.echo(f"{each.subject}, region {each.region}: {each.why} [{WORDS[each.verdict]}]", err=True)
    if any(each.verdict for each in found):
        typer.echo(summary(found), err=True)


def summary(found: "Sequence[Foreseen]") -> str:
    """Count the regions by what becomes of them."""
    counts = {verdict: sum(each.verdict == verdict for each in found) for verdict in ("fails", "no value", "few")}
    said = [f"{counts['fails']} fail", f"{counts['no value']} will have no value", f"{counts['few']} are small"]
    return f"{len(found)} region rows of {len({each.subject for each in found})} subjects: {', '.join(said)}"


def _few_words(names: str) -> str:
    """Count the fused volumes instead of naming them."""
    listed = [name for name in names.split(", ") if name]
    fused = sum(name.startswith("fused-") for name in listed)
    return ", ".join([*(name for name in listed if not name.startswith("fused-")), *([f"{fused} fused"] * bool(fused))])
