"""`radfuse demo`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from radfuse.cli.options import AsJson, Jobs


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put everything.")] = Path("radfuse-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another phantom cohort.")] = 0,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """Make a phantom cohort with a known truth and run every stage on it: no data needed, minutes on two cores."""
    from radfuse.cli.finish import finish
    from radfuse.cli.options import StudyOptions
    from radfuse.run.demo import oracle_auc, write_demo
    from radfuse.run.study import run_study

    options = StudyOptions(config=write_demo(folder, seed), jobs=jobs, as_json=as_json)
    with options.open() as session:
        judged = run_study(session)
        oracle = f"AUC {oracle_auc(folder):.3f}, by whoever knows what was planted"
        finish(session, options, judged=replace(judged, places={"oracle": oracle, **judged.places}))
