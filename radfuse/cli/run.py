"""`radfuse run`."""

from radfuse.cli.finish import finish
from radfuse.cli.options import StudyOptions, study_command


@study_command
def run(options: StudyOptions) -> None:
    """Run every stage, from the scans to compared AUCs and the report."""
    from radfuse.run.study import run_study

    with options.open() as session:
        if options.dry_run:
            return finish(session, options, plan=["align", "fuse", "extract"])
        finish(session, options, judged=run_study(session))
