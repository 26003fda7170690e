"""`radfuse align`."""

from radfuse.cli.finish import finish, print_plan
from radfuse.cli.options import StudyOptions, study_command
from radfuse.cli.settings import warn_of_settings


@study_command
def align(options: StudyOptions) -> None:
    """Put every subject's modalities on one grid: read, register, match resolution."""
    from radfuse.run.study import plan_study

    with options.open() as session:
        if options.dry_run:
            return print_plan(plan_study(session, "align"), options)
        warn_of_settings(session.config)
        session.align()
        finish(session, options)
