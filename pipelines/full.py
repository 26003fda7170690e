"""A whole study: from a config to compared AUCs, as `radfuse run` does it, written out stage by stage.

python pipelines/full.py configs/sts.yaml STUDY --set cohort.root=/where/the/cohort/is
"""

from pathlib import Path
from typing import Annotated

import typer

from radfuse.config import read_config
from radfuse.run.session import Session
from radfuse.run.study import harmonize_study, train_study


def full(config: Path, study: Path, set_: Annotated[list[str] | None, typer.Option("--set")] = None) -> None:
    """Align, fuse, extract, look at the scanners, judge; then say what was found and who failed."""
    with Session(read_config(config, set_ or []), study) as session:
        session.align()
        session.fuse()
        session.extract()
        typer.echo(harmonize_study(session))
        judged = train_study(session, "all")
        typer.echo(judged.auc[["arm", "auc", "ci_low", "ci_high", "n", "events"]].to_string(index=False))
        typer.echo(judged.verdict)
        for problem in session.ledger.failures():
            typer.echo(f"left out: {problem.subject}: {problem.what}")


if __name__ == "__main__":
    typer.run(full)
