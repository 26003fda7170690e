"""A whole study: from a config to compared AUCs, as `radfuse run` does it, written out stage by stage.

python pipelines/full.py configs/sts.yaml STUDY --set cohort.root=/where/the/cohort/is
"""

from pathlib import Path
from typing import Annotated

import typer

from radfuse.config import read_config
from radfuse.run.session import Session
from radfuse.run.stability import stability_study
from radfuse.run.study import harmonize_study, train_study


def full(config: Path, study: Path, set_: Annotated[list[str] | None, typer.Option("--set")] = None) -> None:
    """Align, fuse, extract, measure again where training asks for it, harmonise, judge; then say what was found."""
    with Session(read_config(config, set_ or []), study) as session:
        session.align()
        session.fuse()
        session.extract()
        if session.config.train.stability is not None:
            stability_study(session)
        typer.echo(harmonize_study(session))
        judged = train_study(session, "all")
        typer.echo(judged.auc[["arm", "auc", "ci_low", "ci_high", "n", "events"]].to_string(index=False))
        typer.echo(judged.verdict)
        for problem in session.failures():
            typer.echo(f"failed: {problem.subject}: {problem.what}")


if __name__ == "__main__":
    typer.run(full)
