"""`radfuse align`."""

from radfuse.cli.finish import finish
from radfuse.cli.options import StudyOptions, study_command


@study_command
def align(options: StudyOptions) -> None:
    """Put every subject's modalities on one grid: read, register, match resolution."""
    with options.open() as session:
        if options.dry_run:
            return finish(session, options, plan=["align"])
        session.align()
        finish(session, options)
