"""`radfuse ibsi`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from radfuse.run.ibsi import Scorecard


def ibsi(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with the phantoms and the reference maps of IBSI-2; default: RADFUSE_DATA."),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write every compared value into this file.")] = None,
) -> None:
    """Compare features and filters with the reference values of the Image Biomarker Standardisation Initiative."""
    from radfuse.run.ibsi import score, write_scorecard

    card = score(data)
    _print(card)
    if csv is not None:
        write_scorecard(csv, card)
        typer.echo(f"every value in {csv}")
    if len(card.failed) or any(row.passed is False for row in card.filters):
        raise typer.Exit(1)


def _print(card: "Scorecard") -> None:
    counts = card.summary()
    names = list(dict.fromkeys(counts["configuration"]))
    width = max(map(len, counts["family"]))
    typer.echo(f"IBSI-1: passed/compared\n{'':<{width}}" + "".join(f"{name:>10}" for name in names))
    for family, rows in counts.groupby("family", sort=False):
        found = {row["configuration"]: f"{row['passed']}/{row['compared']}" for row in rows.to_dict("records")}
        typer.echo(f"{family:<{width}}" + "".join(f"{found.get(name, '-'):>10}" for name in names))
    kinds = (
        ("features of PyRadiomics", card.total(in_pyradiomics=True)),
        ("features and mergings it lacks", card.total(in_pyradiomics=False)),
        ("all values, with image processing", card.total()),
    )
    for what, (passed, compared, rounded) in kinds:
        typer.echo(f"{what}: {passed} of {compared} pass, {rounded} of them after rounding to 3 figures")
    for row in card.failed.to_dict("records"):
        typer.echo(
            f"FAIL {row['configuration']} {row['tag']} ({row['code'] or 'no code'}): {row['value']:.6g}, "
            f"reference {row['reference']:g} +- {row['tolerance']:g}"
        )
    if card.left_out:
        typer.echo(card.left_out)
    _print_filters(card)


def _print_filters(card: "Scorecard") -> None:
    if not card.filters:
        typer.echo("IBSI-2 was not run: its reference maps are not in the folder")
        return
    typer.echo("\nIBSI-2: filters")
    for kind, what in (("map", "response maps within 1 % of their range"), ("feature", "features of filtered images")):
        rows = [row for row in card.filters if row.kind == kind]
        compared = [row for row in rows if row.passed is not None]
        without = f", {len(rows) - len(compared)} without a reference" if len(rows) > len(compared) else ""
        typer.echo(f"{what}: {sum(bool(row.passed) for row in compared)} of {len(compared)} pass{without}")
    for row in card.filters:
        if row.passed is False:
            typer.echo(f"FAIL {row.test} {row.what}: {row.value:.6g}, reference {row.reference:g} +- {row.tolerance:g}")
