"""The last lines of a command: the AUC table, what failed, where to look, and the exit code."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from radfuse.cli.options import StudyOptions

if TYPE_CHECKING:
    from radfuse.data.cohort import Problem
    from radfuse.run.judging import Judged
    from radfuse.run.session import Session


def finish(session: "Session", options: StudyOptions, *, judged: "Judged | None" = None) -> None:
    """Print the outcome of a study command and leave with 1 when subjects failed."""
    failures = session.failures()
    # What no record tells, such as an MLflow that refused.
    failures += [problem for problem in (judged.failed if judged is not None else ()) if problem not in failures]
    if options.as_json:
        typer.echo(json.dumps(_summary(session, failures, judged), indent=1))
        return _leave(failures)
    if judged is not None:
        print_auc(judged, options)
    else:
        typer.echo(f"results in {session.store.root}")
    tell_failures(failures)


def print_auc(judged: "Judged", options: StudyOptions) -> None:
    """Print the table of arms, the verdict, and where to look."""
    if options.as_json:
        return typer.echo(json.dumps(judged.summary(), indent=1))
    from rich.console import Console
    from rich.table import Table

    table = Table(title="AUC: pairs within a fold, averaged over folds and repeats; intervals by patient bootstrap")
    for name, justify in (("arm", "left"), ("fusion", "left"), ("modalities", "left"), ("classifier", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name in ("auc", "95 % interval", "n", "events"):
        table.add_column(name, justify="right")
    sites = judged.tables.get("sites_together")
    by_pairs = {} if sites is None else dict(zip(sites["arm"], sites["auc_by_pairs"], strict=True))
    if by_pairs:  # the title's folds are sites, and a small one counts as much as a large one
        table.title = "AUC: pairs within a site, every site counting alike; intervals by patient bootstrap"
        table.add_column("by pairs", justify="right")
    for row in judged.auc.to_dict("records"):
        interval = f"{row['ci_low']:.2f} to {row['ci_high']:.2f}"
        numbers = [f"{row['auc']:.3f}", interval, str(row["n"]), str(row["events"])]
        numbers += [f"{by_pairs[row['arm']]:.3f}"] if row["arm"] in by_pairs else []
        table.add_row(row["arm"], row["fusion"], row["modalities"], row["classifier"], *numbers)
    console = Console(highlight=False) if _wide() else Console(highlight=False, width=140)
    console.print(table)
    if judged.verdict:
        console.print(judged.verdict)
    for name in ("controls", "permuted"):
        for line in judged.tables[name]["reading"] if name in judged.tables else ():
            console.print(line)
    for what, where in judged.places.items():
        typer.echo(f"{what}: {where}")


def tell_failures(failures: "Sequence[Problem]") -> None:
    """Name every failure and leave with 1 when there is one."""
    if failures:
        typer.echo(f"{len(failures)} failure{'s' if len(failures) > 1 else ''}; the others finished:", err=True)
    for failure in failures:
        typer.echo(f"  {failure.subject}: {failure.what}", err=True)
        if failure.hint:
            typer.echo(f"    {failure.hint}", err=True)
    _leave(failures)


def as_json(failures: "Sequence[Problem]") -> list[dict[str, str]]:
    """Give failures as plain JSON values."""
    return [{"subject": p.subject, "what": p.what, "hint": p.hint} for p in failures]


def _leave(failures: "Sequence[Problem]") -> None:
    if failures:
        raise typer.Exit(1)


def print_plan(plan: dict[str, dict[str, int]], options: StudyOptions) -> None:
    """Say what would be reused and what computed."""
    if options.as_json:
        return typer.echo(json.dumps({"plan": plan}, indent=1))
    for stage, counts in plan.items():
        time = f", about {counts['seconds']} s at most" if counts.get("seconds") else ""
        typer.echo(f"{stage}: reuse {counts['reuse']}, redo {counts['redo']}{time}")


def _summary(session: "Session", failures: "Sequence[Problem]", judged: "Judged | None") -> dict[str, Any]:
    summary: dict[str, Any] = {"run": str(session.store.root), "seconds": session.seconds}
    summary["failures"] = as_json(failures)
    return summary | (judged.summary() if judged is not None else {})


def _wide() -> bool:
    import shutil
    import sys

    return sys.stdout.isatty() and shutil.get_terminal_size().columns >= 100
